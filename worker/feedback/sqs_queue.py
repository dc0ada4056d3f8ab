"""The SQS queue of SES's events: received in batches of ten with a long poll, deleted when they are applied.

What is received is hidden from everybody for a while; what is not deleted by then comes again. The client's region and
endpoint follow from the URL of the queue, unless the environment names an endpoint.
"""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from config.aws_clients import BotoErrors, aws_session, sqs_client, trouble_of
from config.errors import TryLater

#: So long a message that was received is hidden.
HIDDEN_SECONDS = 30
#: Most messages of one call, by SQS's own rule.
BATCH = 10
_WAIT_SECONDS = 10
# When a call comes back full, so many follow side by side.
_MORE_CALLS = 7

# Account and name; an endpoint of another kind may have more before them.
_LEAST_PARTS = 2
_MANY_DIGITS = 18
_SHOWN = 200
_NOT_SQS = "what answers at the queue's URL is not SQS: correct [feedback] queue_url"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*")
_REGION_IN_HOST = re.compile(r"(?:^|\.)(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.")


class QueueAway(TryLater):
    """The queue does not answer, or does not let us."""


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """One message that was received."""

    body: str = field(repr=False)
    receipt: str = field(repr=False)
    #: When it came to the queue, by SQS's clock, epoch ms; 0 = not told.
    sent_at_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read brought."""

    messages: tuple[QueueMessage, ...]
    #: There was not more.
    is_end: bool


class SqsQueue:
    """A connection to one queue; opened with the first call, ended with `close()`."""

    def __init__(self, url: str, region: str = "", *, wait_seconds: int = _WAIT_SECONDS) -> None:
        #: Its name for the log.
        self.source = url
        self._url = url
        self._region = region_of(url) or region
        self._wait_seconds = wait_seconds
        self._opened: AbstractAsyncContextManager[Any] | None = None
        self._client: Any = None

    async def receive(self) -> Batch:
        """What is there, at most 80; waits a while when there is nothing. Raises QueueAway."""
        first = await self._received(self._wait_seconds)
        if len(first) < BATCH:
            return Batch(tuple(first), is_end=True)
        more = await asyncio.gather(*(self._received(0) for _ in range(_MORE_CALLS)), return_exceptions=True)
        found, is_end = list(first), False
        for one in more:
            if isinstance(one, list):  # what another call brought is hidden already and has to be applied
                found += one
                is_end = is_end or not one
            elif not isinstance(one, QueueAway):
                raise one
        return Batch(tuple(found), is_end)

    async def _received(self, wait_seconds: int) -> list[QueueMessage]:
        answer = await self._asked(
            "receive_message",
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=HIDDEN_SECONDS,
            AttributeNames=["SentTimestamp"],
        )
        return _messages_of(answer)

    async def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Takes them away for good; how many SQS did not: these come again. Raises QueueAway."""
        groups = [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]
        return sum(await asyncio.gather(*(self._deleted(group) for group in groups)))

    async def _deleted(self, group: Sequence[QueueMessage]) -> int:
        entries = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(group)]
        answer = await self._asked("delete_message_batch", Entries=entries)
        return len(_rows(answer, "Failed"))

    async def _asked(self, operation: str, **parameters: Any) -> Any:
        try:
            client = await self._ready()
            answer = await getattr(client, operation)(QueueUrl=self._url, **parameters)
        except BotoErrors as error:
            trouble = trouble_of(error)
            remedy = remedy_of(trouble.code)
            words = f"the queue of SES's events does not answer: {trouble.code}{remedy and ': '}{remedy}"
            raise QueueAway(words, detail=f"{operation}: {trouble.detail}") from error
        except Exception as error:  # the client's own mistakes about answers that are none of SQS's
            raise QueueAway(_NOT_SQS, detail=f"{operation}: {type(error).__name__}: {error}") from error
        if not _is_of_sqs(answer):
            raise QueueAway(_NOT_SQS, detail=f"{operation}: {str(answer)[:_SHOWN]}")
        return answer

    async def _ready(self) -> Any:
        if self._client is None:
            endpoint = "" if os.environ.get("AWS_ENDPOINT_URL_SQS") else endpoint_of(self._url)
            opened = sqs_client(aws_session(self._region), wait_seconds=self._wait_seconds, endpoint_url=endpoint)
            self._client = await opened.__aenter__()
            self._opened = opened
        return self._client

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(None, None, None)
            self._opened = self._client = None


#: SQS's codes, as its JSON and its query protocol spell them → what to do. The beginning of a code counts.
_REMEDIES: Mapping[str, str] = {
    "QueueDoesNotExist": "correct [feedback] queue_url",
    "AWS.SimpleQueueService.NonExistentQueue": "correct [feedback] queue_url",
    "InvalidAddress": "correct [feedback] queue_url",
    "AccessDenied": "allow these keys sqs:ReceiveMessage and sqs:DeleteMessage on it",
    "Expired": "renew the AWS keys, or set this machine's clock",
    "InvalidSignature": "correct the AWS keys, or set this machine's clock",
    "SignatureDoesNotMatch": "correct the AWS keys, or set this machine's clock",
    "RequestExpired": "set this machine's clock",
    "InvalidClientTokenId": "correct the AWS keys",
    "UnrecognizedClient": "correct the AWS keys",
    "NoCredentials": "give this process AWS keys or a role",
    "PartialCredentials": "give this process AWS keys or a role",
    "EndpointConnectionError": "look at the network, or correct [feedback] queue_url",
    "KMS": "allow these keys kms:Decrypt with the queue's key",
}


def remedy_of(code: str) -> str:
    """What to do about an error of SQS; "" for what passes or is not known."""
    return next((remedy for begin, remedy in _REMEDIES.items() if code.startswith(begin)), "")


def _rows(answer: Any, name: str) -> list[dict[str, Any]]:
    rows = answer.get(name) if isinstance(answer, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _is_of_sqs(answer: Any) -> bool:
    """Whether it can be SQS's: a page of a proxy, which the client takes for an empty answer, would prove much."""
    about = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
    if not isinstance(about, dict):
        return False
    return bool(about.get("RequestId")) or "json" in str((about.get("HTTPHeaders") or {}).get("content-type", ""))


def _messages_of(answer: Any) -> list[QueueMessage]:
    """Raises QueueAway for what has no receipt: nothing could be done with it."""
    rows = _rows(answer, "Messages")
    if not all(_text(one.get("ReceiptHandle")) for one in rows):
        raise QueueAway(_NOT_SQS, detail="a message without a receipt")
    return [QueueMessage(_text(one.get("Body")), _text(one["ReceiptHandle"]), _sent_at_ms(one)) for one in rows]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _sent_at_ms(message: Mapping[str, Any]) -> int:
    attributes = message.get("Attributes")
    told = _text(attributes.get("SentTimestamp")) if isinstance(attributes, dict) else ""
    return int(told) if told.isascii() and told.isdecimal() and len(told) < _MANY_DIGITS else 0


def url_mistake(url: str) -> str:
    """Why this cannot be the URL of a queue, in words; "" = it may be."""
    if url.startswith("arn:"):
        return "is an ARN: give the queue's URL"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        return "must begin with https:// and the name of a host"
    if len([part for part in parts.path.split("/") if part]) < _LEAST_PARTS:
        return "must end with the account and the queue's name: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
    return ""


def region_of(url: str) -> str:
    """The region that the URL of a queue names; "" = it names none."""
    found = _REGION_IN_HOST.search(urlsplit(url).hostname or "")
    return (found[1] or found[2]) if found else ""


def endpoint_of(url: str) -> str:
    """Where the queue is asked for: its URL without the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
