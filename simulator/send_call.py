"""One send as it was asked for, the same for both wires; nothing in it has been checked yet."""

import binascii
from dataclasses import dataclass

from simulator.refusals import MALFORMED, Refused

#: 10 MB on the v1 API and 40 MB on v2, both measured on the base64 text (SES service quotas)
V1_MAX_ENCODED_BYTES = 10 * 1024 * 1024
V2_MAX_ENCODED_BYTES = 40 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SendCall:
    """A raw message with the parameters beside it; None stands for a parameter that was not given."""

    raw: bytes
    source: str | None
    destinations: tuple[str, ...] | None
    configuration_set: str | None
    tags: tuple[tuple[str, str], ...] | None
    max_encoded_bytes: int


def decode_base64(text: bytes) -> bytes:
    """Decode strictly, but let line breaks and blanks inside pass: the 2011 clients wrap their base64."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        text = text.translate(None, b" \t\r\n")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise Refused(MALFORMED, "The message content is not valid base64.") from error
