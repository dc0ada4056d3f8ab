"""A call of SQS as it was read, and how one is refused; the wire is in sqs.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.caller import ACCOUNT_ID
from simulator.queues import NamedQueue
from simulator.simulated import Simulated

PREFIX = "/sqs"


class SqsRefused(Exception):  # noqa: N818 -- named after what the caller gets, as everywhere in this house
    """The call is answered with an error."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it says, and where it came from."""

    simulated: Simulated
    parameters: Mapping[str, Any]
    #: scheme and host as the client sees them
    origin: str
    region: str

    def queue(self) -> NamedQueue:
        """The queue that QueueUrl names; raises SqsRefused."""
        name = str(self.parameters.get("QueueUrl", "")).rstrip("/").rpartition("/")[2]
        found = self.simulated.routes.queues.get(name)
        if found is None:
            raise SqsRefused("QueueDoesNotExist", "The specified queue does not exist.")
        return found

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number of the call; raises SqsRefused."""
        value = self.parameters.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise SqsRefused(
                "InvalidParameterValue",
                f"Value {value} for parameter {name} is invalid. Reason: Must be between {lowest} and {highest}.",
            )
        return value

    def url_of(self, queue: NamedQueue) -> str:
        """Where the queue is, as the client reaches it."""
        return f"{self.origin}{PREFIX}/{ACCOUNT_ID}/{queue.name}"

    def names(self, parameter: str) -> list[str]:
        """A list of texts of the call."""
        found = self.parameters.get(parameter)
        return [str(name) for name in found] if isinstance(found, list) else []
