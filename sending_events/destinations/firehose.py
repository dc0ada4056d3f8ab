"""Kind `firehose`: one record a line to a Data Firehose stream, as SES does.

A successful answer may have records in it that were not taken; exactly these are given again. The credentials of the
environment are used: the role that SES would assume (IAMRoleARN) is kept and not assumed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from config.errors import TryLater
from sending_events.destinations.aws_targets import AwsCalls, region_of, results_of
from sending_events.destinations.parts import Taken, refuse_larger, requests

# PutRecordBatch: 500 records and 4 MiB a call, 1,000 KiB a record before base64, the line end included.
_MOST_RECORDS = 500
_MOST_BYTES = 4_000_000
_LARGEST_RECORD_BYTES = 1_000 * 1024 - 1


class FirehoseDestination:
    """Gives records to one delivery stream."""

    def __init__(self, name: str, target: Mapping[str, Any], aws: AwsCalls) -> None:
        self.name = name
        arn = str(target["DeliveryStreamARN"])
        self._region = region_of(arn)
        self._stream = arn.rpartition("/")[2]
        self._aws = aws
        self._taken = Taken()

    async def take(self, records: Sequence[bytes]) -> None:
        refuse_larger(records, _LARGEST_RECORD_BYTES, "Firehose")
        rest = self._taken.rest_of(records)
        for request in requests(rest, most=_MOST_RECORDS, most_bytes=_MOST_BYTES, size_of=_size):
            await self._put(request)
        self._taken.forget(records)

    async def _put(self, request: Sequence[bytes]) -> None:
        answer = await self._aws.call(
            "firehose",
            self._region,
            "put_record_batch",
            DeliveryStreamName=self._stream,
            Records=[{"Data": record + b"\n"} for record in request],
        )
        results = results_of(answer, "RequestResponses", len(request), "Firehose")
        codes = {number: one["ErrorCode"] for number, one in enumerate(results) if one.get("ErrorCode")}
        if answer.get("FailedPutCount") and not codes:
            raise TryLater("Firehose did not take all records and does not say which")
        self._taken.add([record for number, record in enumerate(request) if number not in codes])
        if codes:
            raise TryLater(
                f"Firehose did not take {len(codes)} of {len(request)} records: {next(iter(codes.values()))}"
            )


def _size(record: bytes) -> int:
    return len(record) + len(b"\n")
