"""How events get from accepted calls into queues: configuration set, topic, subscription, queue.

Theory of operation
1. Events stay in the feed until somebody looks at a queue; then those that are old enough are carried over, by what
   is wired at that moment. Whatever is wired anew carries over first, so old events take the old way.
2. The account begins with one topic and one queue, both `ses-events`, wired with each other: the events of every call
   go there, whatever its configuration set. A set made by the API sends to its own topics beside that one.
3. A topic publishes only what its policy lets SES publish, and a queue takes only what its policy lets the topic send;
   the rest goes nowhere, as with the real services, and is counted.
"""

from collections.abc import Callable

import orjson

from simulator.caller import ACCOUNT_ID
from simulator.event_sets import EventSet
from simulator.events import AcceptedCall, line_of
from simulator.feed import Feed
from simulator.ids import new_request_id
from simulator.mailbox import Happening
from simulator.policies import allows
from simulator.queues import Queues, queue_arn
from simulator.topics import EVENT_SUBJECT, Subscription, Topic, envelope, topic_arn

#: the topic and the queue that are there from the start
FIRST_NAME = "ses-events"


class EventRoutes:
    """The wiring of one account; `clock` never goes back, `unix_clock` dates what is published."""

    def __init__(self, feed: Feed, queues: Queues, clock: Callable[[], float], unix_clock: Callable[[], float]) -> None:
        self._feed = feed
        self._clock = clock
        self._unix_clock = unix_clock
        self.queues = queues
        self.topics: dict[str, Topic] = {}
        self.sets: dict[str, EventSet] = {}
        #: what was published and reached no queue, because a policy did not allow it or the queue is gone
        self.undelivered = 0
        self._position = 0
        self._wire_first()

    def _wire_first(self) -> None:
        topic = self.topics[topic_arn(FIRST_NAME)] = Topic(topic_arn(FIRST_NAME))
        topic.attributes["Policy"] = _policy("ses.amazonaws.com", "sns:Publish", topic.arn)
        queue = self.queues.create(FIRST_NAME, {})
        queue.attributes["Policy"] = _policy("sns.amazonaws.com", "sqs:SendMessage", queue_arn(FIRST_NAME))
        self._first = topic.subscribe(queue_arn(FIRST_NAME))

    @property
    def position(self) -> int:
        """Events of the feed that were carried over."""
        return self._position

    def set_raw(self, *, is_raw: bool) -> None:
        """Whether the first queue gets bare events from now on."""
        self._first.attributes["RawMessageDelivery"] = "true" if is_raw else "false"

    def carry_all(self) -> None:
        """Everything that is old enough; before anything is wired anew."""
        while self.carry():
            pass

    def carry(self) -> bool:
        """A bounded part of what is old enough; whether there was anything."""
        found, following = self._feed.read_happenings(self._position)
        self._position = following
        for call, happening in found:
            self._publish_event(call, happening)
        return bool(found)

    def _publish_event(self, call: AcceptedCall, happening: Happening) -> None:
        to = dict.fromkeys([self._first.topic_arn])
        own = self.sets.get(call.configuration_set or "")
        if own is not None:
            to |= dict.fromkeys(own.topics_of(happening.kind))
        source = f"arn:aws:ses:{call.caller.region}:{ACCOUNT_ID}:configuration-set/{call.configuration_set or ''}"
        for arn in to:
            topic = self.topics.get(arn)
            if topic is not None and _may(topic.attributes, "ses.amazonaws.com", "sns:Publish", source):
                self.publish(topic, lambda: line_of(call, happening).decode(), EVENT_SUBJECT)
            else:
                self.undelivered += 1

    def publish(self, topic: Topic, text: Callable[[], str], subject: str | None) -> str:
        """Into the queue of every subscription, as it is set now; returns the id of the notification."""
        message_id, sent_ms, now = new_request_id(), int(self._unix_clock() * 1000), self._clock()
        for subscription in topic.subscriptions:
            queue = self.queues.by_arn(subscription.endpoint)
            if queue is None or not _may(queue.attributes, "sns.amazonaws.com", "sqs:SendMessage", topic.arn):
                self.undelivered += 1
                continue
            queue.messages.put(_body(subscription, message_id, sent_ms, text, subject), sent_ms, now, now)
        self.queues.wake()
        return message_id


def _body(
    subscription: Subscription, message_id: str, sent_ms: int, text: Callable[[], str], subject: str | None
) -> Callable[[], str]:
    as_set_now = Subscription(
        subscription.arn, subscription.topic_arn, subscription.endpoint, dict(subscription.attributes)
    )
    return lambda: envelope(as_set_now, message_id, sent_ms, text(), subject)


def _may(attributes: dict[str, str], service: str, action: str, source_arn: str) -> bool:
    return allows(
        attributes.get("Policy", ""), service=service, action=action, source_arn=source_arn, account=ACCOUNT_ID
    )


def _policy(service: str, action: str, resource: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
        "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT_ID}},
    }
    return orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()
