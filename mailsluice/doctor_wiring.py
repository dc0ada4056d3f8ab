"""The way of SES's events back to us: configuration set, event destination, topic, subscription, queue.

Theory of operation
1. Each part is looked at in the order in which the next one needs it, and with `repairs` what is missing is made at
   once, so that the next look finds it. Making is repeatable: a second run changes nothing.
2. Nothing that is there is taken away or narrowed: a destination of ours gets the event types that it lacks, a policy
   gets one more statement, and what belongs to others, another installation among them, is never touched.
3. What the settings do not name gets the name `mailsluice-feedback`; the lines to be written into the settings come
   out of it at the end.
Only the default route's region and account are looked at. An error of AWS that is no answer to the question ends the
look with one finding that tells it.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from config.aws_clients import BotoErrors, error_code
from config.settings import Settings
from config.settings_source import variable_of
from mailsluice.doctor_policies import Grant, denial, is_allowed, is_granted, with_grant
from mailsluice.doctor_report import Finding, fail, ok, warn

NAME = "mailsluice-feedback"
#: Beginning of the names of our statements in policies.
STATEMENT = "MailsluiceFeedback"
#: What SES's oldest API can be asked for and we have a use for; delays cannot be asked for there.
EVENT_TYPES = ("send", "reject", "bounce", "complaint", "delivery", "renderingFailure")
#: As long as SQS allows: a reader that is away for days loses nothing.
QUEUE_ATTRIBUTES = {
    "MessageRetentionPeriod": "1209600",
    "ReceiveMessageWaitTimeSeconds": "20",
    "VisibilityTimeout": "60",
}
#: More than this many waiting events look as if nobody reads them.
MANY_WAITING = 10_000
_FIX = "`mailsluice doctor --fix` does it"
_NO_SET = ("ConfigurationSetDoesNotExist", "ConfigurationSetDoesNotExistException")
_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NO_TOPIC = ("NotFound", "NotFoundException")


@dataclass(frozen=True, slots=True)
class SetUpClients:
    """The clients of one region and account."""

    ses: Any
    sns: Any
    sqs: Any


@dataclass(slots=True)
class Wiring:
    """What is named, found or made so far."""

    configuration_set: str
    queue_url: str
    #: A simulated account sends the events of every call to its queue, whatever is wired.
    is_simulated: bool = False
    queue_arn: str = ""
    queue_policy: str = ""
    topic_arn: str = ""
    #: Lines for mailsluice.toml.
    to_write: list[str] = field(default_factory=list)

    @property
    def account(self) -> str:
        """The account's number, out of an ARN of its own."""
        return self.queue_arn.split(":")[4] if self.queue_arn else ""


async def check_wiring(
    clients: SetUpClients, settings: Settings, wiring: Wiring, *, repairs: bool
) -> AsyncIterator[Finding]:
    """Every finding as it is made; with `repairs` the missing parts are made."""
    try:
        async for finding in _queue(clients, wiring, repairs=repairs):
            yield finding
        async for finding in _configuration_set(clients, settings, wiring, repairs=repairs):
            yield finding
        if wiring.configuration_set and wiring.queue_arn:
            async for finding in _topic(clients, wiring, repairs=repairs):
                yield finding
    except BotoErrors as error:
        code, text = error_code(error)
        yield fail("AWS", f"{code}: {text}", "allow these calls in the credentials' policy, or correct the region")


async def _queue(clients: SetUpClients, wiring: Wiring, *, repairs: bool) -> AsyncIterator[Finding]:
    if not wiring.queue_url and not repairs:
        variable = variable_of("feedback", "queue_url")
        yield fail("queue", "no queue is named, so nothing that SES tells is heard", f"set {variable}, or {_FIX}")
        return
    attributes = await _queue_attributes(clients, wiring.queue_url) if wiring.queue_url else None
    if attributes is None and not repairs:
        yield fail("queue", f"{wiring.queue_url} is not there, or may not be read", _FIX)
        return
    if attributes is None:
        name = wiring.queue_url.rstrip("/").rpartition("/")[2] or NAME
        answer = await clients.sqs.create_queue(QueueName=name, Attributes=QUEUE_ATTRIBUTES)
        if answer["QueueUrl"] != wiring.queue_url:
            wiring.queue_url = answer["QueueUrl"]
            wiring.to_write += ["[feedback]", f'queue_url = "{wiring.queue_url}"']
        attributes = await _queue_attributes(clients, wiring.queue_url) or {}
        yield ok("queue", f"made: {wiring.queue_url}")
    else:
        yield ok("queue", wiring.queue_url)
    wiring.queue_arn, wiring.queue_policy = attributes.get("QueueArn", ""), attributes.get("Policy", "")
    waiting = int(attributes.get("ApproximateNumberOfMessages", 0))
    if waiting > MANY_WAITING:
        yield warn("queue", f"{waiting:,} events wait in it", "start `mailsluice feedback`, or look at its log")
    if key := attributes.get("KmsMasterKeyId"):
        yield warn("queue", f"it is encrypted with {key}", "let the key's policy allow SNS to use it")


async def _queue_attributes(clients: SetUpClients, url: str) -> dict[str, str] | None:
    try:
        answer = await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    except BotoErrors as error:
        if error_code(error)[0] in _NO_QUEUE:
            return None
        raise
    return dict(answer.get("Attributes", {}))


async def _configuration_set(
    clients: SetUpClients, settings: Settings, wiring: Wiring, *, repairs: bool
) -> AsyncIterator[Finding]:
    about, variable = "configuration set", variable_of("relay", "ses_configuration_set")
    if not wiring.configuration_set and not repairs:
        if wiring.is_simulated:
            yield ok(about, "none is needed: the simulator tells of every call")
        else:
            text = "no set is named: SES tells of a call only if its identity has a default set"
            yield warn(about, text, f"set {variable}, or {_FIX}")
        return
    name = wiring.configuration_set or NAME
    if await _destinations(clients, name) is not None:
        yield ok(about, name)
    elif repairs:
        await clients.ses.create_configuration_set(ConfigurationSet={"Name": name})
        yield ok(about, f"made: {name}")
    else:
        yield fail(about, f"SES has no configuration set {name}", f"correct {variable}, or {_FIX}")
        return
    wiring.configuration_set = name
    if name != settings.relay.ses_configuration_set:
        wiring.to_write += ["[relay]", f'ses_configuration_set = "{name}"']
    bare = [route for route, one in settings.routes.items() if not one.ses_configuration_set]
    if bare and not settings.relay.ses_configuration_set:
        yield warn(about, f"routes without one: {', '.join(bare)}", "give each the set of its own account and region")


async def _destinations(clients: SetUpClients, name: str) -> list[dict[str, Any]] | None:
    """The set's event destinations; None = there is no such set."""
    try:
        answer = await clients.ses.describe_configuration_set(
            ConfigurationSetName=name, ConfigurationSetAttributeNames=["eventDestinations"]
        )
    except BotoErrors as error:
        if error_code(error)[0] in _NO_SET:
            return None
        raise
    return [one for one in answer.get("EventDestinations", []) if one and one.get("Name")]


async def _topic(clients: SetUpClients, wiring: Wiring, *, repairs: bool) -> AsyncIterator[Finding]:
    about = "event destination"
    found = await _destinations(clients, wiring.configuration_set) or []
    ours = await _leading_to(clients, found, wiring.queue_arn)
    if ours is None and not repairs:
        yield fail(about, "none of the set leads by a topic to the queue", _FIX)
        return
    wiring.topic_arn = await _topic_of(clients, ours)
    async for finding in _subscription(clients, wiring, repairs=repairs):
        yield finding
    async for finding in _grants(clients, wiring, repairs=repairs):
        yield finding
    # Last: SES tries the topic when a destination is made, and refuses one that it may not publish to.
    async for finding in _event_types(clients, wiring, ours, repairs=repairs):
        yield finding


async def _leading_to(clients: SetUpClients, found: list[dict[str, Any]], queue_arn: str) -> dict[str, Any] | None:
    """The destination whose topic has our queue, else the one that we made and that lacks it."""
    with_topic = [one for one in found if one.get("SNSDestination")]
    for one in with_topic:
        if queue_arn in await _queues_of(clients, one["SNSDestination"]["TopicARN"]):
            return one
    return next((one for one in with_topic if one["Name"] == NAME), None)


async def _queues_of(clients: SetUpClients, topic_arn: str) -> list[str]:
    """ARNs of the queues that subscribed to a topic."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = await clients.sns.list_subscriptions_by_topic(TopicArn=topic_arn, **token)
        except BotoErrors as error:
            if error_code(error)[0] in _NO_TOPIC:
                return found
            raise
        found += [one["Endpoint"] for one in page.get("Subscriptions", []) if one["Protocol"] == "sqs"]
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


async def _topic_of(clients: SetUpClients, ours: dict[str, Any] | None) -> str:
    """The destination's topic; without one that of our name, which is made."""
    if ours is not None:
        return str(ours["SNSDestination"]["TopicARN"])
    return str((await clients.sns.create_topic(Name=NAME))["TopicArn"])


async def _subscription(clients: SetUpClients, wiring: Wiring, *, repairs: bool) -> AsyncIterator[Finding]:
    if wiring.queue_arn in await _queues_of(clients, wiring.topic_arn):
        yield ok("topic", f"{wiring.topic_arn}, and the queue gets what it publishes")
    elif repairs:
        await clients.sns.subscribe(TopicArn=wiring.topic_arn, Protocol="sqs", Endpoint=wiring.queue_arn)
        yield ok("topic", f"made: the queue gets what {wiring.topic_arn} publishes")
    else:
        yield fail("topic", f"the queue has not subscribed to {wiring.topic_arn}", _FIX)


async def _grants(clients: SetUpClients, wiring: Wiring, *, repairs: bool) -> AsyncIterator[Finding]:
    _, partition, _, region, *_ = wiring.queue_arn.split(":")
    set_arn = f"arn:{partition}:ses:{region}:{wiring.account}:configuration-set/{wiring.configuration_set}"
    publish = Grant("ses.amazonaws.com", "sns:Publish", wiring.topic_arn, set_arn, wiring.account, STATEMENT)
    topic = await clients.sns.get_topic_attributes(TopicArn=wiring.topic_arn)
    policy = topic["Attributes"].get("Policy", "")
    if repairs and not is_allowed(policy, publish):
        await clients.sns.set_topic_attributes(
            TopicArn=wiring.topic_arn, AttributeName="Policy", AttributeValue=with_grant(policy, publish)
        )
    for finding in _granted("topic's policy", "SES may publish", policy, publish, repairs=repairs):
        yield finding
    put = Grant("sns.amazonaws.com", "sqs:SendMessage", wiring.queue_arn, wiring.topic_arn, wiring.account, STATEMENT)
    if repairs and not is_allowed(wiring.queue_policy, put):
        attributes = {"Policy": with_grant(wiring.queue_policy, put)}
        await clients.sqs.set_queue_attributes(QueueUrl=wiring.queue_url, Attributes=attributes)
    for finding in _granted("queue's policy", "the topic may send to it", wiring.queue_policy, put, repairs=repairs):
        yield finding


def _granted(about: str, what: str, policy: str, grant: Grant, *, repairs: bool) -> Iterator[Finding]:
    """How it is, or will be once our statement is there."""
    look = "look at its statements with Effect Deny: none is changed here"
    if not is_allowed(policy, grant):
        yield ok(about, f"made: {what}") if repairs else fail(about, f"it does not say that {what}", _FIX)
    elif is_granted(policy, grant):
        yield ok(about, what)
    match denial(policy, grant):
        case "sure":
            yield fail(about, f"a statement denies that {what}", look)
        case "perhaps":
            yield warn(about, f"a statement may deny that {what}", look)
        case "none":
            pass


async def _event_types(
    clients: SetUpClients, wiring: Wiring, ours: dict[str, Any] | None, *, repairs: bool
) -> AsyncIterator[Finding]:
    about = "event destination"
    wanted = {
        "Name": NAME,
        "Enabled": True,
        "MatchingEventTypes": list(EVENT_TYPES),
        "SNSDestination": {"TopicARN": wiring.topic_arn},
    }
    if ours is None:
        await clients.ses.create_configuration_set_event_destination(
            ConfigurationSetName=wiring.configuration_set, EventDestination=wanted
        )
        yield ok(about, f"made: {NAME}, with {', '.join(EVENT_TYPES)}")
        return
    has = list(ours.get("MatchingEventTypes", []))
    missing = [one for one in EVENT_TYPES if one not in has]
    if ours.get("Enabled") and not missing:
        yield ok(about, f"{ours['Name']}, with {', '.join(has)}")
    elif repairs:
        await clients.ses.update_configuration_set_event_destination(
            ConfigurationSetName=wiring.configuration_set,
            EventDestination={**wanted, "Name": ours["Name"], "MatchingEventTypes": [*has, *missing]},
        )
        yield ok(about, f"mended: {ours['Name']} is enabled and has {', '.join(EVENT_TYPES)}")
    else:
        flaw = f"lacks {', '.join(missing)}" if missing else "is not enabled"
        yield fail(about, f"{ours['Name']} {flaw}", _FIX)
