"""Every way in which SES says no, and what it means for a send: one table by text, one by code. Pure.

The text decides first: SES uses MessageRejected for a paused account as well, and InvalidParameterValue for everything
from a recipient to a tag; v2 says BadRequestException and TooManyRequestsException to all of it. A text that is not
known leaves the code its ordinary meaning, and a code that is not known is temporary for its message alone.

Account trouble (paused, credentials, clock, missing set) is never the recipient's fault: an operator can mend it, a
bounce can not be taken back. So these rows carry words that tell the operator what to do. A permission that lacks is
the operator's matter too, but SES does not tell whether it lacks for this sender alone.

Sources: botocore models of ses 2010-12-01 and sesv2 2019-09-27, developer guide ("Amazon SES API errors", "Errors
related to the sending quotas"), common errors of the AWS query API, and texts recorded from the real service.
"""

from dataclasses import dataclass
from typing import Literal

#: address: perhaps one recipient of the batch; recipient: certainly an address. content, count: the whole message.
#: rate, daily quota: later. account, denied, identity: an operator. ses: SES is out of order. message: nobody knows,
#: only this message waits. rule: whoever wrote the rules.
Kind = Literal[
    "address", "recipient", "content", "count", "rate", "daily quota", "account", "denied", "identity", "ses",
    "message", "rule",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a refusal is about, and what the operator is told."""

    kind: Kind
    words: str = ""


# Which settings and permissions of AWS stand behind the words.
_PAUSED_BY_AWS = "AWS paused sending of this account; its owner has a message from AWS that says why"
_SUSPENDED = "AWS suspended this account; its owner has a message from AWS that says why"
_PAUSED_BY_OWNER = "the account's owner paused sending (UpdateAccountSendingEnabled, or a full pause in the console)"
_NO_SET = "the SES configuration set of this route does not exist; check ses_configuration_set"
_SET_PAUSED = "sending is paused for the SES configuration set of this route (UpdateConfigurationSetSendingEnabled)"
_MAPPED_SET = "SES does not take a configuration set of [relay] configuration_sets; check what stands there"
_KEY_UNKNOWN = "AWS does not know the access key; check the credentials of this route"
_KEY_WRONG = "the secret key does not fit the access key; check the credentials of this route"
_KEY_EXPIRED = "the temporary credentials have expired and were not renewed; check the role or profile of this route"
_KEY_MISSING = "there are no credentials to sign with; check the AWS environment of the workers"
_FORBIDDEN = "the credentials may not send; allow ses:SendRawEmail and ses:SendEmail for this route's user or role"
_DENIED = f"{_FORBIDDEN}, and for this sender: the policy's resources and its condition ses:FromAddress"
_CLOCK = "the clock of this host is wrong: AWS refuses the signature's time"
_LIMIT = "a limit of the SES account is exceeded that is not the sending rate"
_NOT_VERIFIED = "SES does not know the sender as a verified identity of this account and region"
_MAIL_FROM = "the custom MAIL FROM domain of the sender's identity has no MX record that SES accepts"
_FOREIGN = "this is no answer to a send; check what stands between the workers and SES"

#: Ours: the configuration set that SES does not take is not that of the route. SES's own code and text follow in words.
MAPPED_SET = "RuleConfigurationSet"

# Beginning of SES's text → its meaning, whatever the code is; tried for the codes of _SPEAKING only.
TEXTS: dict[str, Meaning] = {
    # the account
    "Sending paused for this account": Meaning("account", _PAUSED_BY_AWS),
    "Sending suspended for this account": Meaning("account", _SUSPENDED),
    "Configuration set <": Meaning("account", _NO_SET),
    "Signature expired": Meaning("account", _CLOCK),
    "Signature not yet current": Meaning("account", _CLOCK),
    # the sender, or recipients of an account in the sandbox: see named_addresses
    "Email address is not verified": Meaning("identity", _NOT_VERIFIED),
    # limits
    "Maximum sending rate exceeded": Meaning("rate"),
    "Rate exceeded": Meaning("rate"),
    "Too many requests": Meaning("rate"),
    "Daily message quota exceeded": Meaning("daily quota"),
    "Daily sending quota exceeded": Meaning("daily quota"),
    # the number of addresses, of the call or of a header
    "Recipient count exceeds": Meaning("count"),
    # an address, and only its own recipient
    "Address blacklisted": Meaning("recipient"),
    "Domain contains": Meaning("recipient"),
    "Domain ends with dot": Meaning("recipient"),
    "Domain starts with dot": Meaning("recipient"),
    "Illegal address": Meaning("recipient"),
    "Invalid domain name": Meaning("recipient"),
    "Local address": Meaning("recipient"),
    "Missing final '@domain'": Meaning("recipient"),
    "Missing local name": Meaning("recipient"),
    # the content: no recipient can have it as it is
    "Duplicate header": Meaning("content"),
    "Empty header name": Meaning("content"),
    "Expected '": Meaning("content"),
    "Header section too long": Meaning("content"),
    "Illegal filename": Meaning("content"),
    "Invalid tag": Meaning("content"),
    "Line too long": Meaning("content"),
    "Message is too long": Meaning("content"),
    "Message length is": Meaning("content"),
    "Message too long": Meaning("content"),
    "Missing required header": Meaning("content"),
    "Missing start boundary": Meaning("content"),
    "Tag name": Meaning("content"),
    "Tag value": Meaning("content"),
    "The tag name": Meaning("content"),
    "The tag value": Meaning("content"),
    "Unsupported attachment": Meaning("content"),
}

CODES: dict[str, Meaning] = {
    # refused for good: v1, then v2
    "MessageRejected": Meaning("address"),
    "InvalidParameterValue": Meaning("address"),
    "ValidationError": Meaning("address"),
    "InvalidParameterCombination": Meaning("content"),
    "MissingParameter": Meaning("content"),
    "BadRequestException": Meaning("address"),
    "MessageRejectedException": Meaning("address"),
    "ValidationException": Meaning("address"),
    # too fast, or enough for today
    "Throttling": Meaning("rate"),
    "ThrottlingException": Meaning("rate"),
    "TooManyRequestsException": Meaning("rate"),
    # the account, an operator has to act
    "AccountSendingPausedException": Meaning("account", _PAUSED_BY_OWNER),
    "AccountSuspendedException": Meaning("account", _SUSPENDED),
    "SendingPausedException": Meaning("account", _PAUSED_BY_OWNER),
    "ConfigurationSetDoesNotExist": Meaning("account", _NO_SET),
    "ConfigurationSetDoesNotExistException": Meaning("account", _NO_SET),
    "ConfigurationSetSendingPausedException": Meaning("account", _SET_PAUSED),
    "InvalidConfigurationSet": Meaning("account", _NO_SET),
    "NotFoundException": Meaning("account", _NO_SET),
    "LimitExceeded": Meaning("account", _LIMIT),
    "LimitExceededException": Meaning("account", _LIMIT),
    MAPPED_SET: Meaning("rule", _MAPPED_SET),
    "NoCredentials": Meaning("account", _KEY_MISSING),  # ours: there was nothing to sign with
    "MissingAuthenticationToken": Meaning("account", _KEY_MISSING),
    "MissingAuthenticationTokenException": Meaning("account", _KEY_MISSING),
    "OptInRequired": Meaning("account", _FORBIDDEN),
    "UnauthorizedOperation": Meaning("account", _FORBIDDEN),
    "ExpiredToken": Meaning("account", _KEY_EXPIRED),
    "ExpiredTokenException": Meaning("account", _KEY_EXPIRED),
    "IncompleteSignature": Meaning("account", _KEY_WRONG),
    "IncompleteSignatureException": Meaning("account", _KEY_WRONG),
    "InvalidClientTokenId": Meaning("account", _KEY_UNKNOWN),
    "UnrecognizedClientException": Meaning("account", _KEY_UNKNOWN),
    "SignatureDoesNotMatch": Meaning("account", _KEY_WRONG),
    "InvalidSignatureException": Meaning("account", _KEY_WRONG),
    "RequestExpired": Meaning("account", _CLOCK),
    "RequestTimeTooSkewed": Meaning("account", _CLOCK),
    # the account or only the sender: SES names an identity in either case
    "AccessDenied": Meaning("denied", _DENIED),
    "AccessDeniedException": Meaning("denied", _DENIED),
    # the sender
    "FromEmailAddressNotVerified": Meaning("identity", _NOT_VERIFIED),
    "FromEmailAddressNotVerifiedException": Meaning("identity", _NOT_VERIFIED),
    "MailFromDomainNotVerified": Meaning("identity", _MAIL_FROM),
    "MailFromDomainNotVerifiedException": Meaning("identity", _MAIL_FROM),
    # SES itself
    "InternalFailure": Meaning("ses"),
    "InternalServerError": Meaning("ses"),
    "InternalServiceErrorException": Meaning("ses"),
    "InternalServiceError": Meaning("ses"),
    "RequestTimeout": Meaning("ses"),
    "RequestTimeoutException": Meaning("ses"),
    "ServiceUnavailable": Meaning("ses"),
    "ServiceUnavailableException": Meaning("ses"),
    # answers to operations that are never called here: somebody answers for SES, and wrongly
    "ConfigurationSetAlreadyExists": Meaning("message", _FOREIGN),
    "EventDestinationAlreadyExists": Meaning("message", _FOREIGN),
    "EventDestinationDoesNotExist": Meaning("message", _FOREIGN),
    "InvalidCloudWatchDestination": Meaning("message", _FOREIGN),
    "InvalidFirehoseDestination": Meaning("message", _FOREIGN),
    "InvalidSNSDestination": Meaning("message", _FOREIGN),
}

UNKNOWN_CODE = Meaning(
    "message", "nobody here knows this answer of SES; the message is tried again until it is too old"
)

# Codes that say different things by their text; any other code means one thing.
_SPEAKING = frozenset(
    {
        "AccountSendingPausedException",
        "BadRequestException",
        "InvalidParameterValue",
        "LimitExceeded",
        "LimitExceededException",
        "MessageRejected",
        "MessageRejectedException",
        "SendingPausedException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "ValidationError",
        "ValidationException",
    }
)

_IDENTITIES = "identities failed the check"


def meaning_of(code: str, text: str) -> Meaning:
    """What a code and its text mean in an answer to a send; total."""
    if code in _SPEAKING:
        for beginning, meaning in TEXTS.items():
            if text.startswith(beginning):
                return meaning
    return CODES.get(code, UNKNOWN_CODE)


def words_of(code: str, text: str) -> str:
    """What the operator is told about a refusal: our words, else SES's own."""
    return meaning_of(code, text).words or text or code


def is_about_configuration_set(code: str, text: str) -> bool:
    """Whether the configuration set of the call does not exist, or its sending is paused."""
    return meaning_of(code, text).words in {_NO_SET, _SET_PAUSED}


def named_addresses(text: str, *, is_cut: bool) -> frozenset[str]:
    """The identities that SES's text names as not verified, lower case, without display names.

    `is_cut`: the text ends where we stopped reading, so its last name may be half of one.
    """
    _, found, rest = text.partition(_IDENTITIES)
    pieces = rest.partition(":")[2].split(",") if found else []
    if is_cut and pieces:
        pieces.pop()
    return frozenset(_bare(piece) for piece in pieces if piece.strip())


def _bare(piece: str) -> str:
    return piece.rpartition("<")[2].strip().removesuffix(">").strip().lower()
