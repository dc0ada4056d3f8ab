"""How SES says no: one row for each kind of refusal, in the form of both wires.

Codes and statuses are those of the botocore models (ses 2010-12-01, sesv2 2019-09-27) and of recorded answers.
The texts stand where the check is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of error answer: its code and HTTP status on the v1 (Query) and the v2 (rest-json) wire."""

    query_code: str
    query_status: int
    rest_code: str
    rest_status: int


INVALID = Refusal("InvalidParameterValue", 400, "BadRequestException", 400)
MISSING_MEMBER = Refusal("ValidationError", 400, "BadRequestException", 400)
MALFORMED = Refusal("MalformedInput", 400, "SerializationException", 400)
REJECTED = Refusal("MessageRejected", 400, "MessageRejected", 400)
PAUSED = Refusal("MessageRejected", 400, "SendingPausedException", 400)
OWNER_PAUSED = Refusal("AccountSendingPausedException", 400, "SendingPausedException", 400)
SUSPENDED = Refusal("MessageRejected", 400, "AccountSuspendedException", 400)
NO_SUCH_SET = Refusal("ConfigurationSetDoesNotExist", 400, "NotFoundException", 404)
SET_PAUSED = Refusal("ConfigurationSetSendingPausedException", 400, "SendingPausedException", 400)
SAME_SET = Refusal("ConfigurationSetAlreadyExists", 400, "AlreadyExistsException", 400)
INVALID_SET = Refusal("InvalidConfigurationSet", 400, "BadRequestException", 400)
TOO_MANY = Refusal("LimitExceeded", 400, "LimitExceededException", 400)
NO_SUCH_DESTINATION = Refusal("EventDestinationDoesNotExist", 400, "NotFoundException", 404)
SAME_DESTINATION = Refusal("EventDestinationAlreadyExists", 400, "AlreadyExistsException", 400)
NO_SUCH_TOPIC = Refusal("InvalidSNSDestination", 400, "BadRequestException", 400)
NOT_SUPPRESSED = Refusal("NotFoundException", 404, "NotFoundException", 404)
#: of SNS
INVALID_PARAMETER = Refusal("InvalidParameter", 400, "InvalidParameter", 400)
NOT_FOUND = Refusal("NotFound", 404, "NotFound", 404)
EMPTY_BATCH = Refusal("EmptyBatchRequest", 400, "EmptyBatchRequest", 400)
LARGE_BATCH = Refusal("TooManyEntriesInBatchRequest", 400, "TooManyEntriesInBatchRequest", 400)
LONG_BATCH = Refusal("BatchRequestTooLong", 400, "BatchRequestTooLong", 400)
SAME_ENTRY = Refusal("BatchEntryIdsNotDistinct", 400, "BatchEntryIdsNotDistinct", 400)
INVALID_ENTRY = Refusal("InvalidBatchEntryId", 400, "InvalidBatchEntryId", 400)
FORBIDDEN = Refusal("AccessDenied", 403, "AccessDeniedException", 403)
EXPIRED = Refusal("ExpiredToken", 403, "ExpiredTokenException", 403)
THROTTLED = Refusal("Throttling", 400, "TooManyRequestsException", 429)
UNKNOWN_OPERATION = Refusal("InvalidAction", 400, "UnknownOperationException", 404)
INTERNAL = Refusal("InternalFailure", 500, "InternalFailure", 500)
UNAVAILABLE = Refusal("ServiceUnavailable", 503, "ServiceUnavailable", 503)

RATE_EXCEEDED = "Maximum sending rate exceeded."
QUOTA_EXCEEDED = "Daily message quota exceeded."
_INBOX = "For more information, please check the inbox of the email address associated with your AWS account."
PAUSED_TEXT = f"Sending paused for this account. {_INBOX}"
SUSPENDED_TEXT = f"Sending suspended for this account. {_INBOX}"
EXPIRED_TEXT = "The security token included in the request is expired"


#: the figure of GET /violations that a refusal adds to; what is not here adds to `other_refusals`
COUNTED_AS: Mapping[Refusal, str] = {
    INVALID: "malformed",
    MISSING_MEMBER: "malformed",
    MALFORMED: "malformed",
    REJECTED: "unverified",
    PAUSED: "paused",
    OWNER_PAUSED: "paused",
    SUSPENDED: "paused",
}


class Refused(Exception):  # noqa: N818 -- named after what the caller gets, as everywhere in this house
    """The call is answered with an error; `text` is what the client reads, `members` stand beside it on the v1 wire."""

    def __init__(self, refusal: Refusal, text: str, members: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.text = text
        self.members = members or {}
