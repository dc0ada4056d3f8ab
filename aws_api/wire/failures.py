"""Why an operation is not carried out, before it is put into the words of a protocol.

Handlers and checks raise these; the protocol of the service (rest_json.py, query.py) knows how its clients expect them.
A `TryLater` of anybody (the spool, a content store) becomes a 503, which clients repeat by themselves.
"""

from collections.abc import Mapping
from typing import Final, Literal

from config.errors import Refused

#: What is wrong with who asks. Each protocol has its own names for them.
Cause = Literal["no_signature", "incomplete", "unknown_key", "wrong_signature", "wrong_time"]


class OperationRefused(Refused):
    """The operation ends with this error of its model, or with one that every service has."""

    def __init__(self, code: str, reason: str, *, detail: str = "", members: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, detail=detail)
        #: Name of the error on the wire, for instance MessageFrozen.
        self.code = code
        #: What the error's model has beside the message, for instance ConfigurationSetName.
        self.members: Mapping[str, str] = members or {}


class NotAdmitted(Refused):
    """Who asks has not shown that they may."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause: Cause = cause


#: Status of the errors that are in no model, because every service has them.
STATUS_OF_COMMON: Final[dict[str, int]] = {
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "SerializationException": 400,
    "UnknownOperationException": 404,
    "RequestTimeoutException": 408,
    "RequestEntityTooLargeException": 413,
    "InternalFailure": 500,
    "ServiceUnavailableException": 503,
}
