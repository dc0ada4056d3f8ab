"""A function's answer before it is understood: how large it may be, and how an error inside the function looks."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from worker.functions.failures import InvocationFailed

#: WorkMail's limit for the answer of a Run Lambda function; Lambda's own is 6 MB.
MAX_ANSWER_BYTES = 256 * 1024
_UNSHOWN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")


async def read_bounded(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """The whole answer of a stream. Raises InvocationFailed for one that is too large, not reading on."""
    pieces, room_bytes = [], MAX_ANSWER_BYTES
    while piece := await read(room_bytes + 1):
        pieces.append(piece)
        room_bytes -= len(piece)
        if room_bytes < 0:
            raise too_large()
    return b"".join(pieces)


def too_large() -> InvocationFailed:
    """What an answer beyond MAX_ANSWER_BYTES is."""
    return InvocationFailed(f"the answer is larger than {MAX_ANSWER_BYTES // 1024} KB")


def failure_of(payload: bytes) -> InvocationFailed:
    """What a function left that ended with an error."""
    try:
        answer = orjson.loads(payload)
    except orjson.JSONDecodeError:
        answer = None
    return InvocationFailed(error_of(answer if isinstance(answer, dict) else {}))


def error_of(answer: Mapping[str, Any]) -> str:
    """An error inside a function in words: errorType and errorMessage as every Lambda runtime writes them."""
    parts = [answer.get("errorType"), answer.get("errorMessage")]
    words = ": ".join(one_line(part, 300) for part in parts if isinstance(part, str) and part)
    return f"the function failed: {words}" if words else "the function failed"


def one_line(text: str, at_most: int) -> str:
    """Bounded, without line ends, other control characters and half characters."""
    line = _UNSHOWN.sub(" ", text[: 2 * at_most]).strip()
    return line if len(line) <= at_most else f"{line[: at_most - 1]}…"
