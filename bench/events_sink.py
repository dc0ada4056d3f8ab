"""Where events end in a bench: Firehose and webhooks in one process that counts, and one path that never answers.

`python -m bench.events_sink` prints its port. `GET /figures` tells what came since the last one: how many events, when
the last one, and of webhooks how long each took since it was written (the first part of an event's id is the server's
clock at that moment, and all is one machine).
"""

import asyncio
import re
import time

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EVENTS = re.compile(rb"\r\nx-sluice-event-count: *(\d+)", re.IGNORECASE)
_EVENT_ID = re.compile(rb'"eventId":"(\d+)-')
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n%s"


class Figures:
    def __init__(self) -> None:
        self.events = 0
        self.last_at = 0.0
        self.delays_ms: list[float] = []

    def told(self) -> bytes:
        answer = orjson.dumps({"events": self.events, "last_at": self.last_at, "delays_ms": self.delays_ms})
        self.delays_ms = []
        return answer

    def arrived(self, head: bytes, body: bytes) -> bytes:
        now_ms = time.time() * 1000
        self.last_at = time.monotonic()
        if found := _EVENTS.search(head):
            self.events += int(found[1])
            self.delays_ms += [now_ms - int(one[1]) for one in _EVENT_ID.finditer(body)]
            return b""
        events = body.count(b'"Data"')
        self.events += events
        results = b",".join([b'{"RecordId":"x"}'] * events)
        return b'{"FailedPutCount":0,"Encrypted":false,"RequestResponses":[%s]}' % results


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, figures: Figures) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if b"hang" in head.split(b"\r\n", 1)[0]:
                await reader.read()
                return
            answer = figures.told() if head.startswith(b"GET /figures") else figures.arrived(head, body)
            writer.write(_OK % (len(answer), answer))
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    figures = Figures()
    server = await asyncio.start_server(lambda r, w: _serve(r, w, figures), "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
