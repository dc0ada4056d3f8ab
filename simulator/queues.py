"""The queues of the account by name, with their attributes, and the waiting for messages."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulator.caller import ACCOUNT_ID, DEFAULT_REGION
from simulator.queue import Queue

#: far above what a reader leaves lying; the feed behind the first queue has a bound of its own
KEPT_MESSAGES = 200_000
MAX_QUEUES = 1000
QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
#: attribute: (default, lowest, highest), all in seconds or bytes
NUMBERS: Mapping[str, tuple[int, int, int]] = {
    "DelaySeconds": (0, 0, 900),
    "MaximumMessageSize": (262_144, 1024, 1_048_576),
    "MessageRetentionPeriod": (345_600, 60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 0, 20),
    "VisibilityTimeout": (30, 0, 43_200),
}
TEXTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "SqsManagedSseEnabled")


@dataclass(slots=True)
class NamedQueue:
    """A queue with what was set about it."""

    name: str
    messages: Queue
    attributes: dict[str, str] = field(default_factory=dict)

    def number(self, attribute: str) -> int:
        """An attribute of NUMBERS, or its default."""
        return int(self.attributes.get(attribute, NUMBERS[attribute][0]))


class Queues:
    """All queues; `clock` in seconds, never going back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_name: dict[str, NamedQueue] = {}
        self._news = asyncio.Event()
        self.is_closed = False

    def create(self, name: str, attributes: Mapping[str, str]) -> NamedQueue:
        """A new queue."""
        made = self._by_name[name] = NamedQueue(name, Queue(KEPT_MESSAGES), dict(attributes))
        return made

    def get(self, name: str) -> NamedQueue | None:
        return self._by_name.get(name)

    def delete(self, name: str) -> None:
        self._by_name.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def by_arn(self, arn: str) -> NamedQueue | None:
        """The queue that an ARN names, in any region."""
        parts = arn.split(":")
        return self._by_name.get(parts[5]) if len(parts) == 6 and parts[2] == "sqs" else None

    def wake(self) -> None:
        """Something came: whoever waits looks again."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Let everybody go who waits."""
        self.is_closed = True
        self.wake()

    async def news(self, seconds: float) -> None:
        """Return at the next `wake`, or when the time is up."""
        news = self._news
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await news.wait()
        except TimeoutError:
            return


def queue_arn(name: str, region: str = DEFAULT_REGION) -> str:
    """The ARN of a queue of the account."""
    return f"arn:aws:sqs:{region}:{ACCOUNT_ID}:{name}"
