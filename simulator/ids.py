"""Ids in the forms that SES gives them; random, but not secret: nothing here is guarded by an id."""

import random
import re

SES_MESSAGE_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{6}")


def new_request_id() -> str:
    """A random id in the form of a UUID, at a third of the cost of uuid.uuid4()."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def new_ses_message_id(accepted_ms: int) -> str:
    """For example 00000131d51d6b36-1d4f9293-0aee-4503-b573-9ae4e70e9e38-000000: milliseconds, UUID, six digits."""
    return f"{accepted_ms:016x}-{new_request_id()}-000000"


def accepted_ms_of(ses_message_id: str) -> int | None:
    """The milliseconds inside an id, or None where the text has not the form of one."""
    return int(ses_message_id[:16], 16) if SES_MESSAGE_ID.fullmatch(ses_message_id) else None
