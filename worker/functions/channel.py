"""Our end of the channel to a function's process: frames of four bytes length (big-endian) and text.

Nothing is read unless a reply is due. So what somebody writes unasked stays in the socket, where `is_quiet` and
`has_more` see it before the next message would get it for an answer.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from worker.functions.raw_answer import too_large

_CHUNK_BYTES = 64 * 1024


class Channel:
    """A socket that is used by one call at a time. Built inside a running event loop; owns `end`."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = end
        self._unread = bytearray()
        self._is_busy = False
        self._is_closed = False

    @property
    def is_quiet(self) -> bool:
        """Whether the other side has neither written anything unasked nor gone."""
        return not self._unread and self._glance() is None

    @property
    def has_more(self) -> bool:
        """Whether something was written that nobody has read."""
        return bool(self._unread or self._glance())

    async def send(self, *frames: bytes) -> None:
        """Raises OSError when the other side went."""
        with self._busy():
            text = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
            await self._loop.sock_sendall(self._socket, text)

    async def receive(self, limit_bytes: int) -> bytes:
        """The next frame. Raises OSError when the other side went, InvocationFailed when the frame is too large."""
        size_bytes = int.from_bytes(await self._take(4), "big")
        if size_bytes > limit_bytes:
            raise too_large()
        return await self._take(size_bytes)

    def close(self) -> None:
        """A call that is under way gets an OSError."""
        self._is_closed = True
        if self._is_busy:  # a closed descriptor would tell the event loop nothing
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()

    async def _take(self, size_bytes: int) -> bytes:
        while len(self._unread) < size_bytes:
            with self._busy():
                chunk = await self._loop.sock_recv(self._socket, _CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError
            self._unread += chunk
        taken = bytes(self._unread[:size_bytes])
        del self._unread[:size_bytes]
        return taken

    def _glance(self) -> bytes | None:
        """None = nothing to be read, b"" = the end."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConnectionResetError

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self._check_open()
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False
            if self._is_closed:
                self._socket.close()
