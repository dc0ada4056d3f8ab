"""The line that `bench.relay` measures: real processes with production settings, the simulator as SES.

The simulator keeps the account's limits and stamps every accepted call, so what is measured is what SES would have
seen. Mail is put into the spool in groups, as a door does it, only faster.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count, islice
from typing import Any

import orjson

from bench.processes import cpu_seconds
from bench.spooled import places
from sending_events.records import EventRecord
from spool.nudge import Nudger
from spool.records import NewMessage, new_message_id
from spool.store import Spool
from tests.forking import executed
from tests.line import FAST, Line, Program

GROUP = 500
IDS_A_NUDGE = 50
# Parking a million recipients on two cores takes minutes.
PATIENCE_SECONDS = 1800.0
# Messages that the gate has just released, or that a worker has in its hands.
MOVING_AT_MOST = 60


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the simulator accepted; `at` is Unix time."""

    at: float
    recipients: int
    message_id: str


class RelayLine(Line):
    """Simulator, gateway, feedback and workers; what the tests shorten is as in production."""

    start_process = staticmethod(executed)

    def __init__(self, *, rate: float, **settings: str) -> None:
        super().__init__(SLUICE_SIMULATOR_MAX_SEND_RATE=str(rate), **settings)
        for name in set(FAST) - {"SLUICE_LOG_FORMAT"} - set(settings):
            del self.environment[name]

    def start_feedback(self) -> Program:
        """The process that reads SES's events; workers and it must be told where they are."""
        self.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = self.simulator_url
        return self.start("feedback")

    def start_workers(self, number: int) -> None:
        """Each is ready when this returns."""
        for _ in range(number):
            self.worker()

    def deposit(self, new: Iterable[NewMessage]) -> int:
        """Puts messages into the spool and nudges the workers; how many they were."""
        return int(self.run(lambda spool: self._accept(spool, new)))

    async def _accept(self, spool: Spool, new: Iterable[NewMessage]) -> int:
        nudger, total = Nudger(spool.redis, self.settings), 0
        source = iter(new)
        while group := list(islice(source, GROUP)):
            await asyncio.gather(*(spool.accept(message) for message in group))
            for start in range(0, len(group), IDS_A_NUDGE):
                nudger.process([message.message_id for message in group[start : start + IDS_A_NUDGE]])
            total += len(group)
        await nudger.drain()
        return total

    def wait_until_parked(self) -> float:
        """Until the workers have looked at all mail and nearly all of it waits; the seconds that it took."""
        started, quiet = time.monotonic(), 0
        while quiet < 3:
            found = self.run(places)
            quiet = quiet + 1 if found["due"] + found["leased"] <= MOVING_AT_MOST else 0
            assert time.monotonic() < started + PATIENCE_SECONDS, f"not parked: {found}"
            time.sleep(0.2)
        return time.monotonic() - started

    def wait_for_first_call(self, seconds: float = 30.0) -> None:
        """Until the simulator has accepted something."""
        limit = time.monotonic() + seconds
        while not self.counted()["calls"]:
            assert time.monotonic() < limit, f"nothing was sent within {seconds:g} s"
            time.sleep(0.005)

    def counted(self) -> dict[str, int]:
        """Calls and recipients that the simulator accepted."""
        told: dict[str, int] = orjson.loads(self.http("GET", "/ledger/count"))
        return told

    def calls(self) -> list[Call]:
        """What the simulator accepted, oldest first."""
        return calls_of(self.ledger())

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by kind of process; the simulator is not ours."""
        assert self.redis.process
        seconds = {"redis": cpu_seconds(self.redis.process.pid)}
        for program in self.programs:
            if program is not self.simulator and program.is_running():
                kind = program.log_path.name.partition("-")[0]
                seconds[kind] = seconds.get(kind, 0.0) + cpu_seconds(program.pid)
        return seconds

    def redis_info(self, section: str, name: str) -> int:
        """A number of Redis's INFO."""
        told = self.redis.call("INFO", section).decode()
        return int(told.partition(f"{name}:")[2].split()[0])


def calls_of(ledger: Iterable[dict[str, Any]]) -> list[Call]:
    """The simulator's ledger as values."""
    return [
        Call(
            datetime.fromisoformat(entry["accepted_at"]).timestamp(),
            len(entry["destinations"]),
            entry["tags"].get("sluice-batch", "").rpartition(".")[0],
        )
        for entry in ledger
    ]


def new_messages(sizes: Iterable[int], *, sender: str = "app@example.com", lane: str = "") -> Iterator[NewMessage]:
    """A message for each number of recipients; no two recipients are equal."""
    header = f"X-Sluice-Lane: {lane}\r\n" if lane else ""
    head = f"From: {sender}\r\nTo: list@example.net\r\n{header}Subject: bench\r\n\r\n"
    content = head.encode() + (b"x" * 70 + b"\r\n") * 6
    for number, size in zip(count(), sizes):
        message_id = new_message_id()
        yield NewMessage(
            message_id=message_id,
            sender=sender,
            recipients=tuple(f"r{index}.{number}@example.net" for index in range(size)),
            content=content,
            header_message_id=f"{message_id}@example.com",
            event=EventRecord("accepted", message_id, time.time_ns() // 1_000_000).encode(),
        )


def even_sizes(recipients: int, a_message: int) -> list[int]:
    """Messages of the same size that together have so many recipients; the last may be smaller."""
    whole, rest = divmod(recipients, a_message)
    return [a_message] * whole + [rest] * bool(rest)


def latencies(accepted_at: dict[str, float], calls: Sequence[Call]) -> list[float]:
    """Seconds from acceptance (message_id → Unix time) to the last call of each of these messages."""
    sent_at = {call.message_id: call.at for call in calls if call.message_id in accepted_at}
    return [sent_at[one] - accepted_at[one] for one in accepted_at if one in sent_at]
