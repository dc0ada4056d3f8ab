"""Kind `sns`: one notification a record to a topic, with SES's subject; ten go in one call.

A topic is tried when the destination is made (`confirm_topic`), as SES does it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from config.errors import Refused, TryLater
from sending_events.destinations.aws_targets import AwsCalls, AwsFailed, region_of
from sending_events.destinations.parts import Taken, refuse_larger, requests

SUBJECT = "Amazon SES Email Event Notification"
CONFIRMATION = "Successfully validated SNS topic for Amazon SES event publishing."
# PublishBatch: ten messages, 256 KiB together; the subjects are counted in.
_MOST_RECORDS = 10
_MOST_BYTES = 256 * 1024
_EXTRA_BYTES = len(SUBJECT) + 20
#: Codes of one entry that say that its message can never be published.
_NEVER = frozenset({"InvalidParameter", "InvalidParameterValue"})
#: Codes of a call that say that the topic is not ours to publish to: any other failure may pass.
_NO_TOPIC = frozenset(
    {"AuthorizationError", "AccessDenied", "InvalidParameter", "InvalidParameterValue", "NotFound", "EndpointDisabled"}
)


class SnsDestination:
    """Publishes to one standard topic."""

    def __init__(self, name: str, target: Mapping[str, Any], aws: AwsCalls) -> None:
        self.name = name
        self.part_records = 10 * _MOST_RECORDS
        self._topic = str(target["TopicARN"])
        self._aws = aws
        self._taken = Taken()

    async def take(self, records: Sequence[bytes]) -> None:
        refuse_larger(records, _MOST_BYTES - _EXTRA_BYTES, "SNS")
        rest = self._taken.rest_of(records)
        for request in requests(rest, most=_MOST_RECORDS, most_bytes=_MOST_BYTES, size_of=_size):
            await self._publish(request)
        self._taken.forget(records)

    async def _publish(self, request: Sequence[bytes]) -> None:
        answer = await self._aws.call(
            "sns",
            region_of(self._topic),
            "publish_batch",
            TopicArn=self._topic,
            PublishBatchRequestEntries=[
                {"Id": str(number), "Message": record.decode(), "Subject": SUBJECT}
                for number, record in enumerate(request)
            ],
        )
        failed = _failed(answer, len(request))
        self._taken.add([record for number, record in enumerate(request) if number not in failed])
        if any(code in _NEVER for code in failed.values()):
            raise Refused("SNS does not take this event")
        if failed:
            raise TryLater(f"SNS did not take {len(failed)} of {len(request)} events: {next(iter(failed.values()))}")


def _failed(answer: Mapping[str, Any], events: int) -> dict[int, str]:
    """Number of an event → why it was not taken. Raises TryLater when the answer does not tell of each event."""
    told = [{str(one.get("Id")) for one in answer.get(member) or ()} for member in ("Successful", "Failed")]
    if told[0] & told[1] or told[0] | told[1] != {str(number) for number in range(events)}:
        raise TryLater("SNS did not say what became of the events")
    return {int(one["Id"]): str(one.get("Code", "")) for one in answer.get("Failed") or ()}


def _size(record: bytes) -> int:
    return len(record) + _EXTRA_BYTES


async def confirm_topic(aws: AwsCalls, topic_arn: str) -> None:
    """Publishes what SES publishes to a new topic. Raises Refused when it cannot be used, else TryLater."""
    try:
        await aws.call("sns", region_of(topic_arn), "publish", TopicArn=topic_arn, Message=CONFIRMATION)
    except AwsFailed as error:
        if error.code in _NO_TOPIC:
            raise Refused(error.reason, detail=error.detail) from error
        raise
