"""Topics, who subscribed to them, and the envelope that a notification comes in. Subscribers are queues only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from simulator.caller import ACCOUNT_ID, DEFAULT_REGION
from simulator.ids import new_request_id

EVENT_SUBJECT = "Amazon SES Email Event Notification"
_SNS = f"https://sns.{DEFAULT_REGION}.amazonaws.com"


@dataclass(slots=True)
class Subscription:
    """A queue that gets what is published to a topic."""

    arn: str
    topic_arn: str
    #: ARN of the queue
    endpoint: str
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def is_raw(self) -> bool:
        """Whether the queue gets the bare text and no envelope."""
        return self.attributes.get("RawMessageDelivery", "false").lower() == "true"


@dataclass(slots=True)
class Topic:
    """A topic with its attributes, `Policy` among them."""

    arn: str
    attributes: dict[str, str] = field(default_factory=dict)
    subscriptions: list[Subscription] = field(default_factory=list)

    def subscribe(self, queue_arn: str, attributes: Mapping[str, str] | None = None) -> Subscription:
        """The subscription of a queue, made anew unless it is there."""
        for known in self.subscriptions:
            if known.endpoint == queue_arn:
                return known
        made = Subscription(f"{self.arn}:{new_request_id()}", self.arn, queue_arn, dict(attributes or {}))
        self.subscriptions.append(made)
        return made


def topic_arn(name: str, region: str = DEFAULT_REGION) -> str:
    """The ARN of a topic of the account."""
    return f"arn:aws:sns:{region}:{ACCOUNT_ID}:{name}"


def envelope(subscription: Subscription, message_id: str, sent_ms: int, text: str, subject: str | None) -> str:
    """What a queue gets; the signature is made up, nobody verifies one that came through a queue."""
    if subscription.is_raw:
        return text
    written = {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": subscription.topic_arn,
        **({"Subject": subject} if subject else {}),
        "Message": text,
        "Timestamp": datetime.fromtimestamp(sent_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{sent_ms % 1000:03d}Z",
        "SignatureVersion": "1",
        "Signature": "c2ltdWxhdGVk",
        "SigningCertURL": f"{_SNS}/SimpleNotificationService-simulated.pem",
        "UnsubscribeURL": f"{_SNS}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}",
    }
    return orjson.dumps(written).decode()
