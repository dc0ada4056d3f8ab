"""Rules on a whole line: what a sync function adds to the way of a mail, and what is spent while 10,000 wait for one.

Real processes with production settings and the simulator as SES; the rule's function is a file on this machine.

- added latency: single mails over one SMTP session, ten a second, from the 250 that the client hears to the simulator's
  time stamp. Rate: messages over 20 SMTP sessions, from the first connection to SES's last time stamp; one worker.
- waiting: a function that fails, so that its messages wait for the next try, 5 s to 5 min apart as they grow older.
  Measured while a mail that only another rule takes is sent every now and then; beside it the same without any waiting.
"""

import smtplib
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.figures import percentile
from bench.load import Load, run_load
from bench.processes import spent
from bench.relay_line import RelayLine, calls_of, new_messages
from bench.relay_rows import Measured
from bench.spooled import rewrite_append_log
from tests.line import wait_until
from tests.servers import free_port

# The account must not be what is measured.
RATE = 5000.0
_SENDER = "app@example.com"
_WORKERS = 2
_CONTENT = b"From: app@example.com\r\nTo: ann@example.net\r\nSubject: reset\r\n\r\nHello.\r\n"
_MARK_RULE = """
[[rule]]
name = "mark"
recipients = "example.org"
action = { type = "ADD_HEADER", name = "X-Team", value = "a" }
"""
_ASK_RULE = """
[[rule]]
name = "ask"
recipients = "example.net"
[rule.action]
type = "RUN_LAMBDA"
mode = "sync"
function = "file:app.py:handler"
timeout_minutes = 240
concurrency = {}
"""
_ANSWERS = """\
def handler(event, context):
    return {"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": True}]}
"""
_FAILS = """\
import os

NOTES = os.open({!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

def handler(event, context):
    os.write(NOTES, b".")
    raise RuntimeError("not now")
"""


@dataclass(frozen=True, slots=True)
class LineOptions:
    """How much is measured."""

    mails: int = 200
    messages: int = 1000
    waiting: int = 10_000
    #: Length of a window, and the mails that are sent meanwhile.
    seconds: float = 60.0
    singles: int = 30
    #: After so long the messages' tries have grown as rare as they become; 0 = that is not measured.
    settled_seconds: float = 600.0


QUICK = LineOptions(mails=20, messages=60, waiting=500, seconds=5.0, singles=10, settled_seconds=0.0)


# -- what a function adds


def added(options: LineOptions) -> Iterator[Measured]:
    """Without rules, with a rule that asks nobody, with a function in one and in four warm processes."""
    plain: Sequence[float] = ()
    ways = {
        "no rules": "",
        "a rule adds a header": _MARK_RULE.replace("example.org", "example.net"),
        "a function, 1 process": _ASK_RULE.format(1),
        "a function, 4 processes": _ASK_RULE.format(4),
    }
    for name, rules in ways.items():
        with _ruled(rules, _ANSWERS) as line:
            line.start_workers(1)
            _send_singles(line, "example.net", 20, 0.0)
            latencies = _send_singles(line, "example.net", options.mails, 0.1)
            plain = plain or latencies
            more = [1000 * (percentile(latencies, one) - percentile(plain, one)) for one in (50, 99)]
            columns: dict[str, str | float] = {
                "way": name,
                "mails": len(latencies),
                **_milliseconds(latencies),
                "added p50": f"{more[0]:+.1f} ms",
                "added p99": f"{more[1]:+.1f} ms",
                "messages/s": f"{_rate(line, options.messages):,.0f}",
            }
            yield Measured(columns)


def _rate(line: RelayLine, messages: int) -> float:
    """Through the whole line."""
    before, started = line.counted()["calls"], time.time()
    run_load(Load(messages, 20, 1024), int(line.environment["SLUICE_SMTP_PORT"]))
    wait_until(lambda: line.counted()["calls"] >= before + messages, "all mail is sent", 900.0)
    return messages / (max(call.at for call in line.calls()) - started)


# -- what waiting costs


def waiting(options: LineOptions) -> Iterator[Measured]:
    """First nobody waits; then all do, young and old."""
    for number in (0, options.waiting):
        with tempfile.TemporaryDirectory(prefix="ms-") as notes:
            calls = Path(notes) / "calls"
            calls.touch()
            with _ruled(_ASK_RULE.format(2) + _MARK_RULE, _FAILS.format(str(calls))) as line:
                line.start_workers(_WORKERS)
                started = time.monotonic()
                line.deposit(new_messages([1] * number))
                line.wait_until_parked()
                wait_until(partial(_has_tried, calls, number), "each was tried once", 300.0)
                _send_singles(line, "example.org", 5, 0.1)
                yield _window(line, calls, number, options, time.monotonic() - started)
                if number and options.settled_seconds:
                    time.sleep(options.settled_seconds)
                    yield _window(line, calls, number, options, time.monotonic() - started)


def _has_tried(calls: Path, messages: int) -> bool:
    return calls.stat().st_size >= messages


def _window(line: RelayLine, calls: Path, number: int, options: LineOptions, age_seconds: float) -> Measured:
    rewrite_append_log(line.redis)
    before, commands, tries = line.cpu(), _commands(line), calls.stat().st_size
    started = time.monotonic()
    latencies = _send_singles(line, "example.org", options.singles, options.seconds / options.singles)
    seconds = time.monotonic() - started
    used, tries = spent(before, line.cpu()), calls.stat().st_size - tries
    commands = _commands(line) - commands
    columns: dict[str, str | float] = {
        "waiting": number,
        "since": f"{age_seconds:.0f} s",
        "CPU a minute": f"{60 * sum(used.values()) / seconds:.2f} s",
        **{name: f"{60 * used.get(name, 0.0) / seconds:.2f} s" for name in ("worker", "redis", "gateway")},
        "calls a minute": f"{60 * tries / seconds:,.0f}",
        "Redis commands": f"{commands / seconds:.0f}/s",
        "Redis memory": f"{line.redis_info('memory', 'used_memory') / 1e6:.1f} MB",
        "other mail": len(latencies),
        **_milliseconds(latencies),
    }
    return Measured(columns, ["other mail waits"] if percentile(latencies, 99) > 1 else [])


def _commands(line: RelayLine) -> int:
    return line.redis_info("stats", "total_commands_processed")


# -- the line


@contextmanager
def _ruled(rules: str, function: str) -> Iterator[RelayLine]:
    """A line with a gateway; "" = no rules."""
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        file = Path(folder) / "rules.toml"
        file.write_text(rules)
        (Path(folder) / "app.py").write_text(function)
        settings = {"SLUICE_RULES_FILE": str(file)} if rules else {}
        with RelayLine(rate=RATE, SLUICE_SMTP_PORT=str(free_port()), **settings) as line:
            line.gateway()
            yield line


def _send_singles(line: RelayLine, domain: str, number: int, distance_seconds: float) -> list[float]:
    """Mails over one session, whatever became of those before; seconds of each from its 250 to SES."""
    accepted_at: dict[str, float] = {}
    started = time.monotonic()
    with smtplib.SMTP("127.0.0.1", int(line.environment["SLUICE_SMTP_PORT"]), timeout=60) as client:
        for index in range(number):
            time.sleep(max(0.0, started + index * distance_seconds - time.monotonic()))
            client.ehlo_or_helo_if_needed()
            client.mail(_SENDER)
            client.rcpt(f"single{index}@{domain}")
            code, told = client.data(_CONTENT)
            assert code == 250, told
            accepted_at[told.decode().rpartition(" ")[2]] = time.time()
    sent_at: dict[str, float] = {}

    def is_sent() -> bool:
        sent_at.update((call.message_id, call.at) for call in calls_of(line.ledger()))
        return accepted_at.keys() <= sent_at.keys()

    wait_until(is_sent, "the single mails are sent", 120.0)
    return [sent_at[one] - at for one, at in accepted_at.items()]


def _milliseconds(latencies: Sequence[float]) -> dict[str, str]:
    return {f"p{one}": f"{percentile(latencies, one) * 1000:.1f} ms" for one in (50, 99)}
