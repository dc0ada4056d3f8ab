"""Kind `webhook`: events as a signed HTTPS POST, so many in one body, in order.

What the receiver's answer means is the table below. Taken is 2xx only; 413 and 422 say that the content is to blame,
so the publisher finds the event by halving and puts it aside as a dead letter; everything else, also 400 and 401, is
as likely to be a receiver that is set up wrongly, and is tried again after the publisher's growing pause, or the
Retry-After of the answer when that is longer. The URL's path and query are never told: secrets stand there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from config.errors import Refused, TryLater
from sending_events.destinations.outbound_http import HttpAnswer
from sending_events.destinations.parts import Taken, requests
from sending_events.destinations.signature import Secrets, signature

DEFAULT_BATCH = 100
DEFAULT_BATCH_BYTES = 1024 * 1024
DEFAULT_TIMEOUT_SECONDS = 10.0
#: Status → what it says. The others are in _words.
WORDS: Mapping[int, str] = {
    401: "does not know us: HTTP 401",
    403: "does not let us in: HTTP 403",
    404: "is not there: HTTP 404",
    410: "is gone for good: HTTP 410",
    429: "asks for fewer calls: HTTP 429",
}
_CONTENT_REFUSED = {413: "finds it too large", 422: "cannot use it"}
# Seconds until a receiver that is gone is asked again.
_GONE_SECONDS = 300.0
# format → (before, between, after, content type)
_FORMATS = {
    "json": (b"[", b",", b"]", "application/json"),
    "ndjson": (b"", b"\n", b"\n", "application/x-ndjson"),
}


class Posting(Protocol):
    """What is needed of OutboundHttp."""

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        time_limit_seconds: float = 10,
        max_answer_bytes: int = 4096,
    ) -> HttpAnswer:
        """See OutboundHttp.post."""
        ...


class WebhookDestination:
    """Posts to one URL."""

    def __init__(
        self,
        name: str,
        target: Mapping[str, Any],
        secrets: Secrets,
        http: Posting,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._url = str(target["Url"])
        self._secrets = secrets
        self._http = http
        self._clock = clock
        self._format = _FORMATS[str(target.get("Format") or "json")]
        self._batch_bytes = int(target.get("BatchBytes") or DEFAULT_BATCH_BYTES)
        self._timeout_seconds = float(target.get("TimeoutSeconds") or DEFAULT_TIMEOUT_SECONDS)
        #: One request a part: none is cut off in the middle because those before it were slow.
        self.part_records = int(target.get("BatchSize") or DEFAULT_BATCH)
        self._taken = Taken()
        self._failures = 0

    async def take(self, records: Sequence[bytes]) -> None:
        rest = self._taken.rest_of(records)
        for batch in requests(rest, most=self.part_records, most_bytes=self._batch_bytes, size_of=_size):
            await self._post(batch)
            self._taken.add(batch)
        self._taken.forget(records)

    async def _post(self, batch: Sequence[bytes]) -> None:
        before, between, after, content_type = self._format
        body = before + between.join(batch) + after
        self._failures += 1  # also of a call that is cancelled
        headers = {
            "Content-Type": content_type,
            "X-Sluice-Signature": signature(await self._secrets.read(), int(self._clock()), body),
            "X-Sluice-Destination": self.name,
            "X-Sluice-Event-Count": str(len(batch)),
            "X-Sluice-Attempt": str(self._failures),
        }
        try:
            answer = await self._http.post(self._url, body, headers, time_limit_seconds=self._timeout_seconds)
        except Refused as error:  # set up wrongly: no event is to blame
            raise TryLater(error.reason, detail=error.detail) from error
        self._judge(answer, len(batch))
        self._failures = 0

    def _judge(self, answer: HttpAnswer, events: int) -> None:
        """Raises what an answer says, unless it says that the events were taken."""
        if 200 <= answer.status < 300:
            return
        if words := _CONTENT_REFUSED.get(answer.status):
            self._failures = 0
            what = "the event" if events == 1 else f"{events} events together"
            raise Refused(f"the webhook refuses {what}: it {words} (HTTP {answer.status})")
        after_seconds = _GONE_SECONDS if answer.status == 410 else self._retry_after(answer)
        raise TryLater(f"the webhook {_words(answer.status)}", after_seconds=after_seconds)

    def _retry_after(self, answer: HttpAnswer) -> float | None:
        text = answer.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            at = parsedate_to_datetime(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return max(0.0, (at - datetime.fromtimestamp(self._clock(), UTC)).total_seconds())
        except (ValueError, OverflowError, TypeError):  # a zone of days, a year beyond all
            return None


def _words(status: int) -> str:
    if 300 <= status < 400:
        return f"sends us elsewhere, which is not followed: HTTP {status}"
    return WORDS.get(status, f"answers HTTP {status}")


def _size(record: bytes) -> int:
    return len(record) + len(b",")
