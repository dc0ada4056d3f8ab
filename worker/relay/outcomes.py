"""What SES's answer to one call means for its batch.

Theory of operation
1. An HTTP answer with a message id: Accepted. It is SES's mail now.
2. An HTTP answer with an error code: the tables of refusals.py, the text first where SES uses a code twice.
3. No answer, or one that is not SES's (cut, HTML, 500, 502, 504), once the request was written: Unknown. Not so for
   the few answers by which a proxy or load balancer says that it passed nothing on: Unavailable.
4. The request was not written to its end: Unavailable.
5. What SES refuses for good may be about one of several recipients: Split, and batches.py looks for the one.
A code that nobody knows is temporary: bounded by the message's age, visible in `mailsluice queue`.
"""

import html
import re
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from worker.relay.refusals import meaning_of

Scope = Literal["", "message", "account", "denied", "identity", "rule"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """SES took the batch."""

    ses_message_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """SES refuses this batch for good."""

    code: str
    reason: str
    #: What it refuses: perhaps one recipient only; the content, so no recipient can have it; or the number of
    #: addresses, which for a batch of at most 50 means those of the headers.
    about: Literal["address", "content", "count"] = "address"


@dataclass(frozen=True, slots=True)
class Split:
    """SES refused the batch, and some of its recipients may get the message in another one."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """SES refuses for now: rate or daily quota."""

    code: str
    reason: str
    is_daily: bool = False


@dataclass(frozen=True, slots=True)
class Unavailable:
    """SES certainly did not take the batch, for a reason that may pass."""

    code: str
    reason: str
    #: Whose matter it is. "": SES or the way to it is out of order. account: nothing of this account is sent until
    #: an operator acts. denied: the credentials may not send, perhaps only not as this sender. identity: this sender
    #: is not verified. message: a code that nobody knows, so only this message waits for it. rule: what a rule says
    #: of this part of the message, so only that waits.
    scope: Scope = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call ended without an answer: SES may have taken the batch."""

    code: str
    reason: str


Outcome = Accepted | Rejected | Split | Throttled | Unavailable | Unknown

# Answers of proxies and load balancers that say "not here": the request did not reach SES.
_NOT_PASSED_ON = {301, 302, 307, 308, 503}

MAX_REASON_CHARACTERS = 500
# Our own words, where SES said nothing.
NOT_REACHED, NOT_FROM_SES = "SES cannot be reached", "without SES's answer"
_MESSAGE_ID = re.compile(r"[0-9A-Za-z._-]{1,120}")


def of_answer(status: int, error_type: str, body: bytes) -> Outcome:
    """The outcome of a complete HTTP answer; `error_type` is the header x-amzn-ErrorType of v2, or ""."""
    values = _json(body)
    if status == 200:
        ses_message_id = _member(values, "MessageId") or _element(body, b"MessageId")
        if _MESSAGE_ID.fullmatch(ses_message_id):
            return Accepted(ses_message_id)
        return Unknown("BadAnswer", "HTTP 200 without SES's message id")
    code, reason = code_and_reason(error_type, values, body)
    if code:
        return of_code(code, reason)
    if status in _NOT_PASSED_ON or 400 <= status < 500:
        return Unavailable(f"HTTP{status}", f"HTTP {status} {NOT_FROM_SES}; check the endpoint and the proxies")
    return Unknown(f"HTTP{status}", f"HTTP {status} {NOT_FROM_SES}")


def of_code(code: str, reason: str) -> Rejected | Throttled | Unavailable:
    """The outcome of an error code and its text; the HTTP status adds nothing to them."""
    match meaning_of(code, reason).kind:
        case "recipient":
            return Rejected(code, reason)
        case "address" | "content" | "count" as about:
            return Rejected(code, reason, about)
        case "rate":
            return Throttled(code, reason)
        case "daily quota":
            return Throttled(code, reason, is_daily=True)
        case "account" | "denied" | "identity" | "message" | "rule" as scope:
            return Unavailable(code, reason, scope)
        case "ses":
            return Unavailable(code, reason)


def unavailable_of_record(code: str, reason: str) -> Unavailable:
    """The outcome of a recorded attempt that SES did not take: whose matter it was shows in code and words."""
    if reason.startswith(NOT_REACHED) or NOT_FROM_SES in reason:
        return Unavailable(code, reason)
    known = of_code(code, reason)
    return known if isinstance(known, Unavailable) else Unavailable(code, reason)


def code_and_reason(error_type: str, values: dict[str, Any], body: bytes) -> tuple[str, str]:
    """v2 has the code in a header (`Name:http://…`), or as `code` or `__type`; v1 has elements."""
    if code := error_type or _member(values, "code", "__type"):
        return _shown(code.partition(":")[0].rpartition("#")[2]), _shown(_member(values, "message", "Message"))
    error = body.partition(b"<Error>")[2]
    return _element(error, b"Code"), _element(error, b"Message")


def _json(body: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(body) if body.lstrip()[:1] == b"{" else None
    except orjson.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) else {}


def _member(values: dict[str, Any], *names: str) -> str:
    """The first of these members that is a text."""
    return next((values[name] for name in names if isinstance(values.get(name), str)), "")


def _element(body: bytes, name: bytes) -> str:
    """The text of the first element of this name. SES's answers have neither attributes there nor CDATA."""
    _, start, rest = body.partition(b"<" + name + b">")
    text, end, _ = rest.partition(b"</" + name + b">")
    return _shown(html.unescape(text.decode("utf-8", "replace"))) if start and end else ""


def _shown(text: str) -> str:
    """On one line, printable, and no longer than anybody reads."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(character for character in line if character.isprintable())
    return line[:MAX_REASON_CHARACTERS]
