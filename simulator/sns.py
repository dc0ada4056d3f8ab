"""The Query operations of SNS on topics and their subscriptions, as far as SES's events need them. Queues only."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import orjson

from simulator.caller import ACCOUNT_ID
from simulator.query_calls import QueryCall, entries, members, texts_of
from simulator.refusals import (
    EMPTY_BATCH,
    INVALID_ENTRY,
    INVALID_PARAMETER,
    LARGE_BATCH,
    LONG_BATCH,
    NOT_FOUND,
    SAME_ENTRY,
    Refused,
)
from simulator.topics import Subscription, Topic, topic_arn

NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_TOPIC_ATTRIBUTES = frozenset({"Policy", "DisplayName", "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion"})
_SUBSCRIPTION_ATTRIBUTES = frozenset({"RawMessageDelivery"})
_MAX_TOPICS = 1000
_MAX_BATCH, _MAX_BATCH_BYTES = 10, 256 * 1024
_ENTRY = re.compile(r"PublishBatchRequestEntries\.member\.([0-9]{1,4})\.")
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def create_topic(call: QueryCall) -> str:
    """A new topic, or the one of that name."""
    name, routes = call.text("Name"), call.simulated.routes
    if not _TOPIC_NAME.fullmatch(name):
        raise Refused(INVALID_PARAMETER, "Invalid parameter: Topic Name")
    arn = topic_arn(name, call.region)
    if arn not in routes.topics:
        if len(routes.topics) >= _MAX_TOPICS:
            raise Refused(INVALID_PARAMETER, f"The simulator keeps {_MAX_TOPICS} topics.")
        attributes = call.attributes("Attributes.entry", _TOPIC_ATTRIBUTES)
        routes.topics[arn] = Topic(arn, {"Policy": default_policy(arn), **attributes})
    return f"<TopicArn>{arn}</TopicArn>"


def default_policy(arn: str) -> str:
    """What a new topic allows: everything for what acts on behalf of its owner, SES included."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["SNS:Publish", "SNS:Subscribe", "SNS:GetTopicAttributes", "SNS:SetTopicAttributes"],
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT_ID}},
    }
    return orjson.dumps({"Version": "2008-10-17", "Statement": [statement]}).decode()


def delete_topic(call: QueryCall) -> str:
    """With everything that subscribed to it."""
    call.simulated.routes.carry_all()
    call.simulated.routes.topics.pop(call.text("TopicArn"), None)
    return ""


def list_topics(call: QueryCall) -> str:
    """All at once."""
    return members("Topics", [f"<TopicArn>{arn}</TopicArn>" for arn in call.simulated.routes.topics])


def get_topic_attributes(call: QueryCall) -> str:
    """Those that were set, and what it is."""
    topic = _topic(call)
    known = {
        **topic.attributes,
        "TopicArn": topic.arn,
        "Owner": ACCOUNT_ID,
        "SubscriptionsConfirmed": str(len(topic.subscriptions)),
        "SubscriptionsPending": "0",
    }
    return entries("Attributes", known)


def set_topic_attributes(call: QueryCall) -> str:
    """One at a time."""
    topic, name = _topic(call), call.text("AttributeName")
    if name not in _TOPIC_ATTRIBUTES:
        raise Refused(INVALID_PARAMETER, "Invalid parameter: AttributeName")
    call.simulated.routes.carry_all()
    topic.attributes[name] = call.text("AttributeValue")
    return ""


def subscribe(call: QueryCall) -> str:
    """A queue; it needs no confirmation."""
    topic = _topic(call)
    if call.text("Protocol") != "sqs":
        raise Refused(INVALID_PARAMETER, "Invalid parameter: the simulator's topics have queues as subscribers only")
    endpoint = call.text("Endpoint")
    if call.simulated.routes.queues.by_arn(endpoint) is None:
        raise Refused(INVALID_PARAMETER, "Invalid parameter: SQS endpoint ARN")
    call.simulated.routes.carry_all()
    made = topic.subscribe(endpoint, call.attributes("Attributes.entry", _SUBSCRIPTION_ATTRIBUTES))
    return f"<SubscriptionArn>{made.arn}</SubscriptionArn>"


def unsubscribe(call: QueryCall) -> str:
    """One that is not there is no mistake."""
    arn = call.text("SubscriptionArn")
    call.simulated.routes.carry_all()
    for topic in call.simulated.routes.topics.values():
        topic.subscriptions[:] = [one for one in topic.subscriptions if one.arn != arn]
    return ""


def list_subscriptions_by_topic(call: QueryCall) -> str:
    """All at once."""
    return members(
        "Subscriptions",
        [
            texts_of(
                {
                    "TopicArn": one.topic_arn,
                    "Protocol": "sqs",
                    "SubscriptionArn": one.arn,
                    "Owner": ACCOUNT_ID,
                    "Endpoint": one.endpoint,
                }
            )
            for one in _topic(call).subscriptions
        ],
    )


def get_subscription_attributes(call: QueryCall) -> str:
    """What was set, and whose it is."""
    one = _subscription(call)
    known = {
        "RawMessageDelivery": "false",
        **one.attributes,
        "TopicArn": one.topic_arn,
        "SubscriptionArn": one.arn,
        "Protocol": "sqs",
        "Endpoint": one.endpoint,
        "PendingConfirmation": "false",
    }
    return entries("Attributes", known)


def set_subscription_attributes(call: QueryCall) -> str:
    """One at a time."""
    one, name = _subscription(call), call.text("AttributeName")
    if name not in _SUBSCRIPTION_ATTRIBUTES:
        raise Refused(INVALID_PARAMETER, "Invalid parameter: AttributeName")
    call.simulated.routes.carry_all()
    one.attributes[name] = call.text("AttributeValue")
    return ""


def publish(call: QueryCall) -> str:
    """A text to all subscribers."""
    topic, text = _topic(call), call.text("Message")
    message_id = call.simulated.routes.publish(topic, lambda: text, call.text("Subject") or None)
    return f"<MessageId>{message_id}</MessageId>"


def publish_batch(call: QueryCall) -> str:
    """Up to ten texts to all subscribers, in their order; one without a text fails by itself."""
    topic, batch = _topic(call), _batch(call)
    published, failed = [], []
    for one in batch:
        if one.text:
            message_id = call.simulated.routes.publish(topic, partial(str, one.text), one.subject)
            published.append(texts_of({"Id": one.id, "MessageId": message_id}))
        else:
            told = {"Id": one.id, "Code": INVALID_PARAMETER.query_code, "Message": "Invalid parameter: Empty message"}
            failed.append(texts_of({**told, "SenderFault": "true"}))
    return members("Successful", published) + members("Failed", failed)


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    text: str
    subject: str | None


def _batch(call: QueryCall) -> list[_Entry]:
    """The entries in the order of their numbers. Raises Refused for what is wrong with all of it."""
    found = {int(match[1]): match[0] for name in call.fields if (match := _ENTRY.match(name))}
    batch = [
        _Entry(call.text(f"{start}Id"), call.text(f"{start}Message"), call.text(f"{start}Subject") or None)
        for _, start in sorted(found.items())
    ]
    if not batch:
        raise Refused(EMPTY_BATCH, "The batch request doesn't contain any entries.")
    if len(batch) > _MAX_BATCH:
        raise Refused(LARGE_BATCH, "The batch request contains more entries than permissible.")
    if len({one.id for one in batch}) < len(batch):
        raise Refused(SAME_ENTRY, "Two or more batch entries in the request have the same Id.")
    if not all(_ENTRY_ID.fullmatch(one.id) for one in batch):
        raise Refused(INVALID_ENTRY, "The Id of a batch entry in a batch request doesn't abide by the specification.")
    if sum(len(one.text.encode()) for one in batch) > _MAX_BATCH_BYTES:
        raise Refused(LONG_BATCH, "The length of all the batch messages put together is more than the limit.")
    return batch


def _topic(call: QueryCall) -> Topic:
    found = call.simulated.routes.topics.get(call.text("TopicArn"))
    if found is None:
        raise Refused(NOT_FOUND, "Topic does not exist")
    return found


def _subscription(call: QueryCall) -> Subscription:
    arn = call.text("SubscriptionArn")
    for one in _subscriptions(call.simulated.routes.topics):
        if one.arn == arn:
            return one
    raise Refused(NOT_FOUND, "Subscription does not exist")


def _subscriptions(topics: Mapping[str, Topic]) -> Iterator[Subscription]:
    for topic in topics.values():
        yield from topic.subscriptions
