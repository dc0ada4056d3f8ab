"""What the send operations refuse, by what is wrong; each API has a code of its own for it.

The texts are SES's where they are on record, and stand where the check is made.
"""

from collections.abc import Mapping
from typing import Final, Literal

from aws_api.wire.failures import OperationRefused
from config.errors import Refused

Api = Literal["v1", "v2"]
#: A parameter or the content; who sends; the configuration set.
Fault = Literal["invalid", "rejected", "no_such_set"]

CODES: Final[Mapping[Fault, Mapping[Api, str]]] = {
    "invalid": {"v1": "InvalidParameterValue", "v2": "BadRequestException"},
    "rejected": {"v1": "MessageRejected", "v2": "MessageRejected"},
    "no_such_set": {"v1": "ConfigurationSetDoesNotExist", "v2": "NotFoundException"},
}


class SendRefused(Refused):
    """The sender must change something."""

    def __init__(self, reason: str, fault: Fault = "invalid", members: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.fault: Fault = fault
        self.members = members or {}

    def of(self, api: Api) -> OperationRefused:
        """As this API says it; v2's errors have no members beside the text."""
        return OperationRefused(CODES[self.fault][api], self.reason, members=self.members if api == "v1" else None)
