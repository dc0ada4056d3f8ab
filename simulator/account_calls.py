"""Query operations on the account beside its sends: the table of all, identities, and who is asking."""

from collections.abc import Callable, Mapping

from simulator import set_calls, sns
from simulator.caller import ACCOUNT_ID
from simulator.identities import is_verified
from simulator.query_calls import QueryCall, members, texts_of
from simulator.query_wire import escaped


def list_identities(call: QueryCall) -> str:
    """Those of the settings; a domain has no @."""
    kind = call.text("IdentityType")
    wanted = [
        one
        for one in call.simulated.settings.verified_identities
        if not kind or ("@" in one) == (kind == "EmailAddress")
    ]
    return members("Identities", map(escaped, wanted))


def get_identity_verification_attributes(call: QueryCall) -> str:
    """Outside the sandbox and without identities in the settings everybody is verified."""
    settings = call.simulated.settings
    known = frozenset(one.lower() for one in settings.verified_identities)
    is_anybody = not (settings.sandbox or known)
    good = [one for one in call.texts("Identities") if is_anybody or one.lower() in known or is_verified(one, known)]
    told = "".join(
        f"<entry>{texts_of({'key': one})}<value><VerificationStatus>Success</VerificationStatus></value></entry>"
        for one in good
    )
    return f"<VerificationAttributes>{told}</VerificationAttributes>"


def get_caller_identity(_call: QueryCall) -> str:
    """The one account."""
    arn = f"arn:aws:iam::{ACCOUNT_ID}:user/simulated"
    return texts_of({"Arn": arn, "UserId": "AIDAISIMULATED", "Account": ACCOUNT_ID})


SES, STS = "http://ses.amazonaws.com/doc/2010-12-01/", "https://sts.amazonaws.com/doc/2011-06-15/"
#: action: (namespace of the answer, what makes the result)
ACTIONS: Mapping[str, tuple[str, Callable[[QueryCall], str]]] = {
    "ListIdentities": (SES, list_identities),
    "GetIdentityVerificationAttributes": (SES, get_identity_verification_attributes),
    "CreateConfigurationSet": (SES, set_calls.create_set),
    "DeleteConfigurationSet": (SES, set_calls.delete_set),
    "ListConfigurationSets": (SES, set_calls.list_sets),
    "DescribeConfigurationSet": (SES, set_calls.describe_set),
    "CreateConfigurationSetEventDestination": (SES, set_calls.create_destination),
    "UpdateConfigurationSetEventDestination": (SES, set_calls.update_destination),
    "DeleteConfigurationSetEventDestination": (SES, set_calls.delete_destination),
    "GetCallerIdentity": (STS, get_caller_identity),
    "CreateTopic": (sns.NAMESPACE, sns.create_topic),
    "DeleteTopic": (sns.NAMESPACE, sns.delete_topic),
    "ListTopics": (sns.NAMESPACE, sns.list_topics),
    "GetTopicAttributes": (sns.NAMESPACE, sns.get_topic_attributes),
    "SetTopicAttributes": (sns.NAMESPACE, sns.set_topic_attributes),
    "Subscribe": (sns.NAMESPACE, sns.subscribe),
    "Unsubscribe": (sns.NAMESPACE, sns.unsubscribe),
    "ListSubscriptionsByTopic": (sns.NAMESPACE, sns.list_subscriptions_by_topic),
    "GetSubscriptionAttributes": (sns.NAMESPACE, sns.get_subscription_attributes),
    "SetSubscriptionAttributes": (sns.NAMESPACE, sns.set_subscription_attributes),
    "Publish": (sns.NAMESPACE, sns.publish),
    "PublishBatch": (sns.NAMESPACE, sns.publish_batch),
}
