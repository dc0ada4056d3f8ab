"""A server that speaks Lambda's Invoke on a real socket, well or badly, and keeps what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

ANSWER = b'{"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": true}]}'
HANG = b"hang"
RESET = b"reset"


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes


@dataclass
class InvokeServer:
    """Set `answer`, call, and look at `requests`."""

    url: str = ""
    #: Status line and header lines, without the line ends around them; HANG and RESET instead of a body do so.
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = ANSWER
    #: Sent without a length, until the client leaves.
    is_endless: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    #: Pieces of an endless body that the client took.
    pieces_sent: int = 0

    def says(self, status: str, body: bytes = b"", **headers: str) -> None:
        """The answer from now on; header names with _ for -."""
        self.status, self.body, self.is_endless = status, body, False
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                self.requests.append(await _read_request(reader))
                if self.body == RESET:
                    writer.transport.abort()
                    return
                if self.body == HANG:
                    await reader.read()  # until the client gives up
                    return
                await self._write_answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _write_answer(self, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers.items())]
        if not self.is_endless and "Content-Length" not in self.headers:
            lines.append(f"Content-Length: {len(self.body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + self.body)
        while self.is_endless:
            self.pieces_sent += 1
            writer.write(b"x" * 65536)
            await writer.drain()
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def invoke_server() -> AsyncIterator[InvokeServer]:
    """Listens on a free port until the block ends."""
    state = InvokeServer()
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        await asyncio.sleep(0)
