"""A small SMTP client on asyncio that keeps to what is measured: no pipelining, every reply is waited for.

`python -m bench.smtp_client` is the load where Postfix's smtp-source is not installed: N messages over S sessions.
"""

import argparse
import asyncio
import itertools
from dataclasses import dataclass
from typing import Self

HELLO = "bench.example.com"


class UnexpectedReply(Exception):  # noqa: N818 - what happened, not whose fault
    """The server refused what it should have accepted."""

    def __init__(self, reply: "Reply") -> None:
        super().__init__(f"{reply.code} {reply.text}")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Reply:
    """Code and text of the last line."""

    code: int
    text: str

    def expect(self, code: int) -> Self:
        """Raises UnexpectedReply for another code."""
        if self.code != code:
            raise UnexpectedReply(self)
        return self


class Connection:
    """One SMTP session. Lost connections are ConnectionError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, *, host: str = "127.0.0.1") -> Self:
        """Connected, greeted and introduced."""
        connection = cls(*await asyncio.open_connection(host, port))
        try:
            (await connection.reply()).expect(220)
            (await connection.say(f"EHLO {HELLO}")).expect(250)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def say(self, line: str) -> Reply:
        """One command and its reply."""
        self._writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def reply(self) -> Reply:
        """The next reply; of several lines the last."""
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise ConnectionResetError("the server left")
            if line[3:4] != b"-":
                return Reply(int(line[:3]), line[4:].decode("utf-8", "replace").strip())

    async def envelope(self, sender: str, *recipients: str) -> None:
        """MAIL, RCPT and DATA, until the server waits for the message. Raises UnexpectedReply."""
        (await self.say(f"MAIL FROM:<{sender}>")).expect(250)
        for recipient in recipients:
            (await self.say(f"RCPT TO:<{recipient}>")).expect(250)
        (await self.say("DATA")).expect(354)

    async def content(self, content: bytes) -> Reply:
        """The message with its final dot; content has CRLF ends, no line with a dot in front. Returns the reply."""
        self._writer.write(content + b".\r\n")
        await self._writer.drain()
        return await self.reply()

    async def quit(self) -> None:
        """Says goodbye and closes."""
        await self.say("QUIT")
        self.abort()

    def abort(self) -> None:
        """Closes without a word."""
        self._writer.transport.abort()


def message_of(size_bytes: int, subject: str = "bench") -> bytes:
    """Headers and a body of that many bytes in lines of 80, as smtp-source makes it."""
    head = f"From: <app@example.com>\r\nTo: <list@example.net>\r\nSubject: {subject}\r\n\r\n".encode()
    lines, rest = divmod(size_bytes, 80)
    return head + (b"X" * 78 + b"\r\n") * lines + (b"X" * max(0, rest - 2) + b"\r\n" if rest else b"")


async def run_load(port: int, messages: int, sessions: int, size_bytes: int, *, one_per_connection: bool) -> None:
    """Sends that many messages over that many sessions. Raises what went wrong first."""
    content, numbers = message_of(size_bytes), itertools.count()

    async def session() -> None:
        connection: Connection | None = None
        while (number := next(numbers)) < messages:
            connection = connection or await Connection.open(port)
            await connection.envelope("app@example.com", f"{number}list@example.net")
            (await connection.content(content)).expect(250)
            if one_per_connection:
                await connection.quit()
                connection = None
        if connection:
            await connection.quit()

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(session())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.smtp_client")
    for name in ("port", "messages", "sessions", "size-bytes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--one-per-connection", action="store_true")
    options = parser.parse_args()
    asyncio.run(
        run_load(
            options.port,
            options.messages,
            options.sessions,
            options.size_bytes,
            one_per_connection=options.one_per_connection,
        )
    )


if __name__ == "__main__":
    main()
