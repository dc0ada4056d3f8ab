"""The clients of chaos: they send and send again until they hear 250, as real clients do, and remember everything.

Every message has a number that is in its header and in each of its addresses, so all copies of it are recognised,
whatever spool message or SES call they came by. A try that ended after the final dot without a 250 is in doubt: the
message may have been taken all the same (RFC 1047), and the next try is then a second one.
"""

import asyncio
import itertools
import random
import re
from dataclasses import dataclass, field

from bench.smtp_client import Connection, Reply, UnexpectedReply

TRY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
_NUMBER = re.compile(r"c(\d+)\.r\d+@")

# (share, value), shares add up to 1: most mail is small; some goes to the content store, some in several batches.
SIZES_BYTES = ((0.88, 1000), (0.1, 20_000), (0.02, 200_000))
RECIPIENTS = ((0.88, 1), (0.1, 3), (0.02, 120))


@dataclass(slots=True)
class Sending:
    """One message as its client knows it."""

    number: int
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    #: Of the 250; empty while there was none.
    message_id: str = ""
    tries: int = 0
    #: Tries that ended after the final dot without a 250.
    doubtful_tries: int = 0
    #: A 5xx: never right in chaos.
    refusal: str = ""


def new_sending(number: int, chance: random.Random) -> Sending:
    """The next message of a client."""
    count = drawn(RECIPIENTS, chance.random())
    recipients = tuple(f"c{number}.r{index}@example.net" for index in range(count))
    lines = drawn(SIZES_BYTES, chance.random()) // 72
    head = f"From: app@example.com\r\nTo: list@example.net\r\nMessage-ID: <chaos.{number}@example.com>\r\n"
    content = f"{head}X-Chaos-Number: {number}\r\nSubject: chaos\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * lines
    return Sending(number, recipients, content)


def drawn(table: tuple[tuple[float, int], ...], chance: float) -> int:
    """The value whose share of [0, 1) holds `chance`."""
    for share, value in table:
        if chance < share:
            return value
        chance -= share
    return table[-1][1]


def number_of(address: str) -> int | None:
    """The number of the message that an address belongs to; None for somebody else's address."""
    found = _NUMBER.match(address)
    return int(found[1]) if found else None


class Clients:
    """Some clients, each with a connection of its own, that together send `per_second` messages."""

    def __init__(self, port: int, *, clients: int, per_second: float, seed: int) -> None:
        self._port = port
        self._clients = clients
        self._pause_seconds = clients / per_second
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._must_stop = False
        self.sendings: list[Sending] = []

    def stop(self) -> None:
        """No new messages; what is not answered yet is still sent until it is."""
        self._must_stop = True

    def run(self) -> None:
        """Sends until `stop`; for a thread of its own."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        connection: Connection | None = None
        while not self._must_stop:
            sending = new_sending(next(self._numbers), self._random)
            self.sendings.append(sending)
            connection = await self._deliver(sending, connection)
            await asyncio.sleep(self._pause_seconds * 2 * self._random.random())
        if connection:
            connection.abort()

    async def _deliver(self, sending: Sending, connection: Connection | None) -> Connection | None:
        pause = FIRST_PAUSE_SECONDS
        while not sending.message_id and not sending.refusal:
            sending.tries += 1
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    connection = connection or await Connection.open(self._port)
                    await connection.envelope("app@example.com", *sending.recipients)
                    sending.doubtful_tries += 1
                    reply = await connection.content(sending.content)
                learn(sending, reply)
            except UnexpectedReply as refused:
                learn(sending, refused.reply)
            except (OSError, TimeoutError, ValueError):  # ValueError: a reply that was cut off
                pass
            if not sending.message_id:
                if connection:
                    connection.abort()
                connection = None
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return connection


def learn(sending: Sending, reply: Reply) -> None:
    """What a reply to a whole try means; the try was counted as doubtful when its content was begun."""
    if reply.code == 250:
        sending.message_id = reply.text.rpartition(" ")[2]
        sending.doubtful_tries -= 1
    elif reply.code >= 500:
        sending.refusal = f"{reply.code} {reply.text}"
