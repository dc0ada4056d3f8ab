"""What a sender said about a message beside its bytes and its envelope: SES's own parameters of a send.

A call of the API gives them as parameters, any message as `X-SES-*` headers. A parameter beats the header of the same
meaning and replaces it, tags as a whole (SendRawEmail reference, "Tags"). They are read once, when the message is
accepted, and kept with it: what somebody changes in the headers later says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

#: What SES's SMTP interface calls itself in the tag ses:operation.
SMTP_OPERATION = "SendSmtpEmail"


@dataclass(frozen=True, slots=True)
class SendParameters:
    """Empty = not said."""

    #: SendRawEmail, SendEmail or SMTP_OPERATION; "" = not a sender's mail, or accepted before this was kept.
    operation: str = ""
    #: One of ours (sending_events), which is not SES's.
    configuration_set: str = ""
    #: (name, value), each name once.
    tags: tuple[tuple[str, str], ...] = ()
    #: Sending authorization, passed through to SES.
    source_arn: str = ""
    from_arn: str = ""
    return_path_arn: str = ""

    def encode(self) -> dict[str, Any]:
        """For the JSON of a message; empty fields are left out."""
        return {short: value for name, short in _SHORT.items() if (value := getattr(self, name))}

    @classmethod
    def decode(cls, values: Mapping[str, Any]) -> "SendParameters":
        """The inverse; of a message without any, all are empty."""
        if len(values) == 1 and "op" in values:  # nearly always
            return nothing_said(values["op"])
        found = {name: values[short] for name, short in _SHORT.items() if short in values}
        if "tags" in found:
            found["tags"] = tuple((name, value) for name, value in found["tags"])
        return cls(**found)


_SHORT = {
    "operation": "op",
    "configuration_set": "set",
    "tags": "tags",
    "source_arn": "sarn",
    "from_arn": "farn",
    "return_path_arn": "rarn",
}

#: Of a message whose sender said nothing.
NO_PARAMETERS = SendParameters()


@lru_cache(maxsize=8)
def nothing_said(operation: str) -> SendParameters:
    """Of a message whose sender said nothing but how it is sent; made once."""
    return SendParameters(operation)
