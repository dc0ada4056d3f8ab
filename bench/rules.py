"""What rules and functions cost: `python -m bench.rules`.

- rules: CPU of judging a message (facts and first verdict), no Redis, no network; a message of 1 KB and one of 20 KB,
  both with an attachment, by 0, 10 and 250 rules. Senders, subjects, headers and attachments are asked for; the last
  rule matches and adds a header, so that there is a verdict to write.
- function: a synchronous Python function that answers at once, in 1 and in 4 processes that are warm, each with one
  caller that asks again as soon as it has the answer: from the event to the bytes of the answer.
- added, waiting: the same on a whole line, and what messages cost that wait for a function that fails (rules_line.py).
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bench.figures import aligned, percentile
from bench.relay_rows import Measured, rows_table
from bench.rules_line import QUICK, LineOptions, added, waiting
from config.settings import Settings
from spool.records import Message
from spool.states import Place, RecipientState
from worker.functions.answer import read_answer
from worker.functions.event import event_of
from worker.functions.local import LocalFunctions
from worker.rules.choice import first_verdict
from worker.rules.facts import Facts
from worker.rules.patterns import parse_pattern
from worker.rules.records import AddHeader, Condition, Decide, Function, Rule, RuleSet

NUMBERS_OF_RULES = (0, 10, 250)
SIZES_BYTES = (1_000, 20_000)
PROCESSES = (1, 4)
_ROUNDS = 5
_NO_OP = """\
def handler(event, context):
    return {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": True}]}
"""


# -- rules


def rules_table(messages: int) -> str:
    """CPU of each number of rules and size, the median of some rounds of so many messages."""
    rows = [["rules", *(f"{size // 1000} KB, CPU a message" for size in SIZES_BYTES)]]
    for number in NUMBERS_OF_RULES:
        rule_set = rules_of(number)
        costs = [cpu_microseconds(rule_set, content_of(size), messages) for size in SIZES_BYTES]
        rows.append([str(number), *(f"{cost:.0f} µs" for cost in costs)])
    return aligned(rows)


def cpu_microseconds(rule_set: RuleSet, content: bytes, messages: int) -> float:
    """Of one message."""
    settings, message, rounds = Settings(), message_of(content), []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        for _ in range(messages):
            first_verdict(rule_set, Facts(message, content), message, settings)
        rounds.append((time.process_time() - begin) / messages * 1e6)
    return statistics.median(rounds)


def rules_of(number: int) -> RuleSet:
    """So many rules; all but the last one ask and do not match."""
    asking = [_rule_that_asks(index) for index in range(number - 1)]
    last = [Rule(number - 1, "last", (), changes=(AddHeader("X-Team", "a"),))] if number else []
    return RuleSet("bench", (*asking, *last), "")


def _rule_that_asks(index: int) -> Rule:
    name, change = f"rule {index}", (AddHeader("X-Never", "a"),)
    match index % 5:
        case 0:
            return Rule(index, name, (), senders=(parse_pattern(f"u{index}@example.org"),), changes=change)
        case 1:
            return Rule(index, name, (), recipients=(parse_pattern(f"*.d{index}.example"),), changes=change)
        case 2:
            asked = Condition("SUBJECT", "CONTAINS", (f"invoice {index}",))
        case 3:
            asked = Condition("HEADER", "EQUALS", (f"team {index}",), header="X-Mailer")
        case _:
            asked = Condition("ATTACHMENT_NAME", "ENDS_WITH", (f".x{index}",))
    return Rule(index, name, (), conditions=(asked,), changes=change)


def content_of(size_bytes: int) -> bytes:
    """A message with a text and an attachment that is what is missing to the size."""
    head = (
        b"Received: from app.example.com by mx.example.com; Tue, 2 Jan 2024 10:00:00 +0000\r\n"
        b"From: App <app@example.com>\r\nTo: Ann <ann@example.net>\r\nSubject: =?utf-8?q?Your_order_n=C2=B0_12?=\r\n"
        b"Date: Tue, 2 Jan 2024 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nX-Mailer: shop\r\n"
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nThank you.\r\n"
        b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="order.pdf"\r\n\r\n'
    )
    line, end = b"A" * 76 + b"\r\n", b"--b--\r\n"
    return head + line * ((size_bytes - len(head) - len(end)) // len(line)) + end


def message_of(content: bytes) -> Message:
    """One recipient, as a worker has it before its first step."""
    return Message(
        message_id="0000018cc820a900-00000000-0000-4000-8000-000000000000-000000",
        sender="app@example.com",
        recipients=("ann@example.net",),
        states=(RecipientState.WAITING,),
        place=Place.LEASED,
        accepted_at_ms=0,
        size_bytes=len(content),
        door="smtp",
        header_message_id="<1@example.com>",
        user="app",
        client_address="192.0.2.1",
        helo="app",
        is_auto_submitted=False,
        content_ref="",
        rounds=0,
        failures=0,
        crashes=0,
        reason="",
        until_ms=0,
    )


# -- a function


def function_table(calls: int) -> str:
    """Latency and rate of each number of processes."""
    rows = [["warm processes", "callers", "calls/s", "p50", "p99"]]
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        file = Path(folder) / "app.py"
        file.write_text(_NO_OP)
        for processes in PROCESSES:
            seconds, latencies = asyncio.run(called(f"file:{file}:handler", processes, calls))
            shown = [f"{percentile(latencies, one) * 1000:.2f} ms" for one in (50, 99)]
            rows.append([str(processes), str(processes), f"{len(latencies) / seconds:,.0f}", *shown])
    return aligned(rows)


async def called(target: str, processes: int, calls: int) -> tuple[float, Sequence[float]]:
    """Seconds in all, and of each call; the processes have been started by calls before."""
    function, local = Function(target, concurrency=processes), LocalFunctions(Settings())
    content = content_of(1_000)
    message = message_of(content)
    latencies: list[float] = []

    async def ask(times: int) -> None:
        for _ in range(times):
            begin = time.perf_counter()
            payload = event_of(
                Facts(message, content), message, message.recipients, direction="OUTBOUND", invocation_id="0" * 32
            )
            answer = await local.invoke(
                function, rule="bench", payload=payload, invocation_id="0" * 32, seconds=function.timeout_seconds
            )
            fates = read_answer(
                answer,
                direction="OUTBOUND",
                recipients=dict(enumerate(message.recipients)),
                others=(),
                fallback=Decide("DROP"),
                is_local=lambda _: False,
            )
            assert fates.decisions[0][0] == Decide("DEFAULT")
            latencies.append(time.perf_counter() - begin)

    async def all_callers(times: int) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(ask(times) for _ in range(processes)))
        return time.perf_counter() - begin

    try:
        await all_callers(20)
        latencies.clear()
        return await all_callers(calls // processes), latencies
    finally:
        await local.close()


def _shown(rows: Iterable[Measured]) -> Iterator[Measured]:
    """The rows; each is printed as soon as it is measured."""
    for row in rows:
        print("  " + "; ".join(row.cells), flush=True)
        yield row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few messages and calls: does it work")
    parser.add_argument("--only", choices=("rules", "function", "added", "waiting"), action="append", help="this part")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started here is ended
    messages, calls = (50, 80) if arguments.quick else (2000, 4000)
    options = QUICK if arguments.quick else LineOptions()
    tables: dict[str, tuple[str, Callable[[], str]]] = {
        "rules": ("Judging a message", lambda: rules_table(messages)),
        "function": ("A function of this machine that answers at once", lambda: function_table(calls)),
        "added": ("From the client's 250 to SES; one worker", lambda: rows_table(list(_shown(added(options))))),
        "waiting": (
            "While messages wait for a function that fails",
            lambda: rows_table(list(_shown(waiting(options)))),
        ),
    }
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}.")
    if (busy := os.getloadavg()[0]) > 1:
        print(f"The machine is busy with other work (load {busy:.1f}): figures are worse than they could be.")
    for name in arguments.only or tables:
        title, measured = tables[name]
        print(f"\n{title}", flush=True)
        print(measured(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
