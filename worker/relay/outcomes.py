"""What SES's answer to one call means for its batch.

Theory of operation
1. An HTTP answer with a message id: Accepted. It is SES's mail now.
2. An HTTP answer with an error code: the table below, code first, then the text for codes that SES uses twice.
3. No answer, or one that is not SES's (cut, HTML, 502, 504) after the request began to be written: Unknown.
4. No connection, so nothing was written: Unavailable.
A code that is not in the table is temporary: bounded by the message's age, visible in `mailsluice queue`. Account
trouble (paused, wrong credentials, missing set) is temporary as well: an operator can mend it, a bounce can not be
taken back. Sources: contracts of SES v1 and v2 (botocore models, developer guide "Amazon SES API errors").
"""

import html
import re
from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call ended without an answer: SES may have taken the batch."""

    code: str
    reason: str


Outcome = Accepted | Rejected | Throttled | Unavailable | Unknown
_Kind = Literal["rejected", "throttled", "unavailable"]
_KINDS: dict[_Kind, type[Rejected | Throttled | Unavailable]] = {
    "rejected": Rejected,
    "throttled": Throttled,
    "unavailable": Unavailable,
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
    "AccountSendingPausedException": "unavailable",
    "AccountSuspendedException": "unavailable",
    "SendingPausedException": "unavailable",
    "ConfigurationSetDoesNotExist": "unavailable",
    "ConfigurationSetSendingPausedException": "unavailable",
    "MailFromDomainNotVerifiedException": "unavailable",
    "NotFoundException": "unavailable",
    "AccessDenied": "unavailable",
    "AccessDeniedException": "unavailable",
    "ExpiredToken": "unavailable",
    "ExpiredTokenException": "unavailable",
    "IncompleteSignature": "unavailable",
    "InvalidClientTokenId": "unavailable",
    "MissingAuthenticationToken": "unavailable",
    "OptInRequired": "unavailable",
    "RequestExpired": "unavailable",
    "SignatureDoesNotMatch": "unavailable",
    "UnrecognizedClientException": "unavailable",
    # SES itself
    "InternalFailure": "unavailable",
    "InternalServerError": "unavailable",
    "ServiceUnavailable": "unavailable",
}

# (code, beginning of the text) for codes with two meanings.
TEXTS: dict[tuple[str, str], _Kind] = {
    ("MessageRejected", "Sending paused for this account"): "unavailable",
}

_MESSAGE_ID = re.compile(rb"<MessageId>\s*([0-9A-Za-z-]{1,120})\s*</MessageId>")
_V2_MESSAGE_ID = re.compile(rb'^\s*\{\s*"MessageId"\s*:\s*"([0-9A-Za-z-]{1,120})"\s*\}\s*$')
_XML_CODE = re.compile(rb"<Error>.*?<Code>([^<]{1,200})</Code>", re.DOTALL)
_XML_TEXT = re.compile(rb"<Error>.*?<Message>([^<]{0,2000})</Message>", re.DOTALL)
_JSON_TEXT = re.compile(rb'"[Mm]essage"\s*:\s*"((?:[^"\\]|\\.){0,2000})"')


def of_answer(status: int, error_type: str, body: bytes) -> Outcome:
    """The outcome of a complete HTTP answer; `error_type` is the header x-amzn-ErrorType of v2, or ""."""
    if status == 200:
        found = _MESSAGE_ID.search(body) or _V2_MESSAGE_ID.match(body)
        return Accepted(found[1].decode()) if found else Unknown("BadAnswer", "SES answered 200 without a message id")
    code, reason = _code_and_reason(error_type, body)
    if not code and status in {500, 503}:
        return Unavailable(f"HTTP{status}", f"SES answered HTTP {status}")
    if not code and (status >= 500 or status < 400):
        return Unknown(f"HTTP{status}", f"HTTP {status} without SES's answer")
    return of_code(code or f"HTTP{status}", reason)


def of_code(code: str, reason: str) -> Outcome:
    """The outcome of an error code and its text."""
    for (known, beginning), kind in TEXTS.items():
        if code == known and reason.startswith(beginning):
            return _KINDS[kind](code, reason)
    return _KINDS[CODES.get(code, "unavailable")](code, reason)


def _code_and_reason(error_type: str, body: bytes) -> tuple[str, str]:
    if error_type:
        text = _JSON_TEXT.search(body)
        return error_type.partition(":")[0], _shown(text[1]) if text else ""
    if code := _XML_CODE.search(body):
        text = _XML_TEXT.search(body)
        return code[1].decode("ascii", "replace"), html.unescape(_shown(text[1])) if text else ""
    return "", ""


def _shown(raw: bytes) -> str:
    return " ".join(raw.decode("utf-8", "replace").split())
