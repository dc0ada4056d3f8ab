"""The head of a runner's reply, understood.

The handler can write on the channel too: nothing is taken for granted, and all that no runner writes is a ValueError.
"""

import json
from dataclasses import dataclass

#: A name of 100 characters and a message of 4,096, six bytes each at most, and the rest.
MAX_HEAD_BYTES = 32 * 1024
#: So many characters a runner sends of an error's text, and of its type.
MESSAGE_CHARACTERS = 4096
TYPE_CHARACTERS = 100
_OUTCOMES = ("ready", "answer", "too large", "error")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a runner; what its outcome does not need is empty."""

    outcome: str
    #: What the request had as `call`.
    call: str
    #: Of the module, when it is ready.
    file: str
    #: Of the error.
    type: str
    message: str
    #: The process ends behind this reply.
    is_last: bool


def reply_of(head: bytes) -> Reply:
    """Raises ValueError for what no runner writes."""
    try:
        fields = json.loads(head)
    except RecursionError as error:
        raise ValueError("the head is nested too deeply") from error
    if not isinstance(fields, dict) or fields.get("outcome") not in _OUTCOMES:
        raise ValueError("the head has no known outcome")
    texts = {name: fields.get(name, "") for name in ("call", "file", "type", "message")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("the head has something else where a text should be")
    return Reply(fields["outcome"], **texts, is_last=fields.get("is_last") is True)
