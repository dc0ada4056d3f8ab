"""What SES's answer to one call means for its batch.

Theory of operation
1. An HTTP answer with a message id: Accepted. It is SES's mail now.
2. An HTTP answer with an error code: the table below, code first, then the text for codes that SES uses twice.
3. No answer, or one that is not SES's (cut, HTML, 500, 502, 504), once the request was written: Unknown. Not so for
   the few answers by which a proxy or load balancer says that it passed nothing on: Unavailable.
4. The request was not written to its end: Unavailable.
A code that is not in the table is temporary: bounded by the message's age, visible in `mailsluice queue`. Account
trouble (paused, wrong credentials, missing set) is temporary as well, and no recipient expires because of it: an
operator can mend it, a bounce can not be taken back. Sources: contracts of SES v1 and v2 (botocore models, developer
guide "Amazon SES API errors").
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson


@dataclass(frozen=True, slots=True)
class Accepted:
    """SES took the batch."""

    ses_message_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """SES refuses this batch for good."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """SES refuses for now: rate or daily quota."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """SES certainly did not take the batch, for a reason that may pass."""

    code: str
    reason: str
    #: Nothing of this account is sent until an operator acts: paused, credentials, clock, configuration set.
    blames_account: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call ended without an answer: SES may have taken the batch."""

    code: str
    reason: str


Outcome = Accepted | Rejected | Throttled | Unavailable | Unknown
_Kind = Literal["rejected", "throttled", "unavailable", "account"]
_KINDS: dict[_Kind, Callable[[str, str], Rejected | Throttled | Unavailable]] = {
    "rejected": Rejected,
    "throttled": Throttled,
    "unavailable": Unavailable,
    "account": lambda code, reason: Unavailable(code, reason, blames_account=True),
}

CODES: dict[str, _Kind] = {
    # the message or its batch: v1, then v2
    "MessageRejected": "rejected",
    "InvalidParameterValue": "rejected",
    "InvalidParameterCombination": "rejected",
    "MissingParameter": "rejected",
    "BadRequestException": "rejected",
    "MessageRejectedException": "rejected",
    # too fast, or enough for today
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "LimitExceeded": "throttled",
    "LimitExceededException": "throttled",
    # the account, an operator has to act
    "NoCredentials": "account",  # ours: there was nothing to sign with
    "AccountSendingPausedException": "account",
    "AccountSuspendedException": "account",
    "SendingPausedException": "account",
    "ConfigurationSetDoesNotExist": "account",
    "ConfigurationSetSendingPausedException": "account",
    "MailFromDomainNotVerifiedException": "account",
    "NotFoundException": "account",
    "AccessDenied": "account",
    "AccessDeniedException": "account",
    "ExpiredToken": "account",
    "ExpiredTokenException": "account",
    "IncompleteSignature": "account",
    "InvalidClientTokenId": "account",
    "MissingAuthenticationToken": "account",
    "OptInRequired": "account",
    "RequestExpired": "account",
    "SignatureDoesNotMatch": "account",
    "UnrecognizedClientException": "account",
    # SES itself
    "InternalFailure": "unavailable",
    "InternalServerError": "unavailable",
    "ServiceUnavailable": "unavailable",
}

# (code, beginning of the text) for codes with two meanings.
TEXTS: dict[tuple[str, str], _Kind] = {
    ("MessageRejected", "Sending paused for this account"): "account",
    ("MessageRejected", "Sending suspended for this account"): "account",
}

# Answers of proxies and load balancers that say "not here": the request did not reach SES.
_NOT_PASSED_ON = {301, 302, 307, 308, 503}

_MAX_REASON_CHARACTERS = 500
_MESSAGE_ID = re.compile(r"[0-9A-Za-z._-]{1,120}")


def of_answer(status: int, error_type: str, body: bytes) -> Outcome:
    """The outcome of a complete HTTP answer; `error_type` is the header x-amzn-ErrorType of v2, or ""."""
    values = _json(body)
    if status == 200:
        ses_message_id = _member(values, "MessageId") or _element(body, b"MessageId")
        if _MESSAGE_ID.fullmatch(ses_message_id):
            return Accepted(ses_message_id)
        return Unknown("BadAnswer", "HTTP 200 without SES's message id")
    code, reason = _code_and_reason(error_type, values, body)
    if code:
        return of_code(code, reason)
    if status in _NOT_PASSED_ON or 400 <= status < 500:
        return Unavailable(f"HTTP{status}", f"HTTP {status} without SES's answer; check the endpoint and the proxies")
    return Unknown(f"HTTP{status}", f"HTTP {status} without SES's answer")


def of_code(code: str, reason: str) -> Outcome:
    """The outcome of an error code and its text."""
    for (known, beginning), kind in TEXTS.items():
        if code == known and reason.startswith(beginning):
            return _KINDS[kind](code, reason)
    return _KINDS[CODES.get(code, "unavailable")](code, reason)


def _code_and_reason(error_type: str, values: dict[str, Any], body: bytes) -> tuple[str, str]:
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
    return line[:_MAX_REASON_CHARACTERS]
