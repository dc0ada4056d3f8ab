"""Where mail ends in a bench: a stand-in for SES, or a mail server, that only counts and is as cheap as can be.

`Sink("ses")` and `Sink("smtp")` start it as a process of its own (`python -m bench.sink`) and ask it over its
standard input. Each arrival is stamped with the monotonic clock, which all processes of a machine share; the first
recipient's local part is the key, so that the sender knows its message again. The simulator is the faithful SES and
costs several times as much: what is measured here is the way to SES.
"""

import argparse
import asyncio
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import orjson
import uvloop

HOUSE = Path(__file__).resolve().parents[1]
_RECIPIENT = re.compile(rb"Destinations\.member\.1=([^%&@]+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT = (
    b'<SendRawEmailResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><SendRawEmailResult><MessageId>'
    b"%016x-00000000-0000-0000-0000-000000000000-000000</MessageId></SendRawEmailResult><ResponseMetadata>"
    b"<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></SendRawEmailResponse>"
)
_QUOTA = (
    b'<GetSendQuotaResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><GetSendQuotaResult>'
    b"<Max24HourSend>-1.0</Max24HourSend><MaxSendRate>1000000.0</MaxSendRate>"
    b"<SentLast24Hours>0.0</SentLast24Hours></GetSendQuotaResult></GetSendQuotaResponse>"
)


class Arrivals:
    """What came: how many, the last when, and each when."""

    def __init__(self) -> None:
        self.count = 0
        self.last_at = 0.0
        self.stamps: dict[str, float] = {}

    def arrived(self, key: bytes) -> int:
        """One more; its number."""
        self.count += 1
        self.last_at = time.monotonic()
        if key.startswith(b"t"):  # only what is timed: a million stamps are of no use
            self.stamps[key.decode("ascii", "replace")] = self.last_at
        return self.count

    def told(self, command: str) -> dict[str, Any]:
        """The answer to a line on standard input."""
        if command == "reset":
            self.__init__()  # type: ignore[misc]
        if command == "stamps":
            return self.stamps
        return {"count": self.count, "last_at": self.last_at}


class SesProtocol(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, as the relay speaks it; every send is accepted."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._data = bytearray()
        self._whole_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._data and len(self._data) >= self._whole_at:
            if not self._whole_at:
                head_end = self._data.find(b"\r\n\r\n")
                if head_end < 0:
                    return
                length = _LENGTH.search(self._data, 0, head_end + 2)
                self._whole_at = head_end + 4 + (int(length[1]) if length else 0)
                continue
            self._answer(self._whole_at)
            del self._data[: self._whole_at]
            self._whole_at = 0

    def _answer(self, end: int) -> None:
        if self._data.find(b"Action=GetSendQuota", 0, end) >= 0:
            body = _QUOTA
        else:
            found = _RECIPIENT.search(self._data, 0, end)
            body = _SENT % self._arrivals.arrived(found[1] if found else b"")
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


class SmtpProtocol(asyncio.Protocol):
    """As much of SMTP as Postfix's client needs; every message is accepted."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._data = bytearray()
        self._is_in_content = False
        self._key = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._data:
            mark = b"\r\n.\r\n" if self._is_in_content else b"\r\n"
            at = self._data.find(mark)
            if at < 0:
                return
            line = bytes(self._data[:at])
            del self._data[: at + len(mark)]
            self._transport.write(self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        if self._is_in_content:
            self._is_in_content = False
            self._arrivals.arrived(self._key)
            return b"250 2.0.0 taken\r\n"
        verb = line[:4].upper()
        if verb == b"RCPT":
            self._key = line.partition(b"<")[2].partition(b"@")[0]
        if verb == b"DATA":
            self._is_in_content = True
            return b"354 go on\r\n"
        if verb == b"QUIT":
            return b"221 bye\r\n"
        return b"250-sink\r\n250 8BITMIME\r\n" if verb == b"EHLO" else b"250 ok\r\n"


PROTOCOLS: dict[str, type[SesProtocol] | type[SmtpProtocol]] = {"ses": SesProtocol, "smtp": SmtpProtocol}


async def serve(kind: str) -> None:
    """Listens on a free port, tells it, then answers one line for each line of standard input until that ends."""
    arrivals, loop = Arrivals(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: PROTOCOLS[kind](arrivals), "127.0.0.1", 0, backlog=1024)
    _print({"port": server.sockets[0].getsockname()[1]})
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        _print(arrivals.told(line.decode().strip()))


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


class Sink:
    """The sink's process as the bench sees it. It ends with the block, or when the bench dies (end of its input)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sink", self._kind], cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port: int = self._read()["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def reset(self) -> None:
        """Forgets what came."""
        self._ask("reset")

    def arrived(self) -> tuple[int, float]:
        """How many came, and when the last (time.monotonic)."""
        answer = self._ask("count")
        return answer["count"], answer["last_at"]

    def stamps(self) -> dict[str, float]:
        """First recipient's local part → when it came; only those that begin with t."""
        return self._ask("stamps")

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = orjson.loads(self._process.stdout.readline())
        return answer


def wait_for_arrivals(arrived: Any, wanted: int, *, patience_seconds: float = 60.0) -> float:
    """When the last of so many came. Fails when nothing comes for that long."""
    seen, changed_at = -1, time.monotonic()
    for _ in itertools.count():
        count, last_at = arrived()
        if count >= wanted:
            return float(last_at)
        if count != seen:
            seen, changed_at = count, time.monotonic()
        assert time.monotonic() - changed_at < patience_seconds, f"{count} of {wanted} arrived, and no more come"
        time.sleep(0.05)
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sink")
    parser.add_argument("kind", choices=sorted(PROTOCOLS))
    uvloop.run(serve(parser.parse_args().kind))


if __name__ == "__main__":
    main()
