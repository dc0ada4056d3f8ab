"""Work on large bodies in a thread, so that the door's loop goes on; small ones are done at once, which is cheaper."""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

#: Hashing and decoding so much takes about a millisecond.
LARGE_BYTES: Final = 256 * 1024

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def off_loop(
    size_bytes: int, work: Callable[Arguments, Result], *args: Arguments.args, **more: Arguments.kwargs
) -> Result:
    """What the work returns; in a thread when it is about more than LARGE_BYTES."""
    if size_bytes <= LARGE_BYTES:
        return work(*args, **more)
    return await asyncio.to_thread(work, *args, **more)
