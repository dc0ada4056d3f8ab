"""kill -9 of random workers while they send: what is lost, and what is sent twice.

Once with `confirm` and the simulator's own events as feedback: nothing may be doubled. Once with `resend`: only what
an unfinished call had handed over before its worker died. The simulator answers late, so that calls are open when
their worker is killed; the books are those of chaos.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.chaos_kills import Slot
from bench.relay_line import RelayLine, new_messages
from bench.relay_rows import Measured, RelayOptions
from bench.spooled import all_messages, places
from spool.records import Message
from tests.line import accounting

TITLE = "kill -9 of random workers"
SETTINGS = {
    "SLUICE_WORKER_LEASE_SECONDS": "5",
    "SLUICE_WORKER_MAX_CRASHES": "1000",
    "SLUICE_RELAY_CALL_TIMEOUT_SECONDS": "5",
    "SLUICE_RELAY_CONFIRM_SECONDS": "10",
    "SLUICE_SIMULATOR_LATENCY_SECONDS": "0.1",
}
RECIPIENTS = (1, 1, 1, 2, 3)
KILL_PAUSE_SECONDS = (0.3, 1.5)
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Calls whose answer nobody heard, in recipients."""

    unknown: int
    #: Of these, what the simulator had accepted.
    handed_over: int


def measure(options: RelayOptions) -> Iterator[Measured]:
    """Both policies, each on a fresh line."""
    for policy in ("confirm", "resend"):
        for _ in range(options.runs):
            yield _run(policy, options)


def _run(policy: str, options: RelayOptions) -> Measured:
    with RelayLine(rate=0, SLUICE_RELAY_UNKNOWN=policy, **SETTINGS) as line:
        if policy == "confirm":
            line.start_feedback()
        chance = random.Random(options.seed)
        slots = [Slot("worker", line) for _ in range(options.workers)]
        for slot in slots:
            slot.start(wait=True)
        line.deposit(new_messages([chance.choice(RECIPIENTS) for _ in range(options.sends)]))
        started = time.monotonic()
        kills = _kill_until_sent(line, slots, chance, options.sends)
        _wait_until_finished(line, slots)
        seconds, messages = time.monotonic() - started, line.run(all_messages)
        ids, ledger = [one.message_id for one in messages], line.ledger()
        line.wait_for_events(ids)
        account = accounting(messages, set(ids), ledger, line.published())
        doubt = doubt_of(messages, ledger)
        columns: dict[str, str | float] = {
            "policy": policy,
            "messages": len(messages),
            "recipients": account.accepted,
            "kills": kills,
            "seconds": f"{seconds:.0f}",
            "lost": account.lost,
            "duplicates": account.duplicates,
            "recipients of calls without answer": doubt.unknown,
            "of these handed over": doubt.handed_over,
        }
        most = 0 if policy == "confirm" else doubt.handed_over
        wrong = {
            "lost": account.lost > 0 or len(messages) < options.sends or account.by_state != {"sent": account.accepted},
            "duplicates": account.duplicates > most,
            f"books: {account.problems[:3]}": bool(account.problems),
        }
        return Measured(columns, [name for name, is_wrong in wrong.items() if is_wrong])


def _kill_until_sent(line: RelayLine, slots: Sequence[Slot], chance: random.Random, calls: int) -> int:
    """Kills and starts again until the simulator has had as many calls as there are messages; the kills."""
    limit, kills = time.monotonic() + PATIENCE_SECONDS, 0
    while line.counted()["calls"] < calls and line.run(places).total():
        assert time.monotonic() < limit, f"the mail is not sent: {line.run(places)}"
        time.sleep(chance.uniform(*KILL_PAUSE_SECONDS))
        slot = chance.choice(slots)
        slot.kill()
        slot.start(wait=True)
        kills += 1
    return kills


def _wait_until_finished(line: RelayLine, slots: Sequence[Slot]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while (found := line.run(places)).total():
        assert time.monotonic() < limit, f"unfinished mail: {found}"
        for slot in slots:
            if slot.ended_by_itself():
                slot.start()
        time.sleep(0.2)


def doubt_of(messages: Sequence[Message], ledger: Sequence[dict[str, Any]]) -> Doubt:
    """How many recipients calls without an answer had, and how many of these the simulator had accepted."""
    accepted = {entry["tags"].get("sluice-batch", "") for entry in ledger}
    unknown = handed_over = 0
    for message in messages:
        for attempt in message.attempts:
            if attempt.outcome in {None, "unknown"}:
                unknown += len(attempt.recipients)
                handed_over += len(attempt.recipients) * (f"{message.message_id}.{attempt.number}" in accepted)
    return Doubt(unknown, handed_over)
