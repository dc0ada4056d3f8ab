"""How long mail with the right of way waits, from acceptance to SES's own time stamp.

Express: a single mail each second over SMTP while bulk of another sender waits; the bulk lane may take 80 %. Once as
50 recipients a message and once as 1, because a bulk call of many recipients keeps the account in debt for seconds.
Noisy neighbour: one sender's large send waits in the same lane as another sender's single mails.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import percentile
from bench.relay_line import RelayLine, even_sizes, latencies, new_messages
from bench.relay_rows import Measured, RelayOptions, latency_columns
from spool.states import Place
from tests.servers import free_port

TITLE = "accept to sent of single mails while others' mail waits"
LIMIT_SECONDS = {"express": 1.0, "noisy neighbour": 5.0}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What waits, and how the single mail is named beside it."""

    name: str
    rate: float
    recipients: int
    a_message: int
    lane_of_crowd: str
    lane_of_single: str = "express"


def crowds(options: RelayOptions) -> list[Crowd]:
    """What is measured."""
    return [
        Crowd("express", 14, options.bulk_recipients, 50, "bulk"),
        Crowd("express", 14, options.bulk_recipients, 1, "bulk"),
        Crowd("noisy neighbour", 100, options.noisy_recipients, 50, "express"),
    ]


def measure(options: RelayOptions) -> Iterator[Measured]:
    """Each on a fresh line."""
    for crowd in crowds(options):
        for _ in range(options.runs):
            yield _run(crowd, options)


def _run(crowd: Crowd, options: RelayOptions) -> Measured:
    with RelayLine(
        rate=crowd.rate, SLUICE_SMTP_PORT=str(free_port()), SLUICE_LANES_SHARES="express=100,bulk=80"
    ) as line:
        line.gateway()
        line.start_workers(options.workers)
        sizes = even_sizes(crowd.recipients, crowd.a_message)
        line.deposit(new_messages(sizes, sender="newsletter@example.com", lane=crowd.lane_of_crowd))
        line.wait_until_parked()
        ids = _send_singles(line, crowd.lane_of_single, round(options.seconds))
        line.wait_for(ids, Place.DONE, seconds=120)
        accepted_at = {one: message.accepted_at_ms / 1000 for one, message in line.load_all(ids).items()}
        seconds, breaches = latencies(accepted_at, line.calls()), line.violations()
        columns: dict[str, str | float] = {
            "single mails": crowd.name,
            "rate": f"{crowd.rate:g}/s",
            "waiting": crowd.recipients,
            "a message": crowd.a_message,
            "mails": len(seconds),
            **latency_columns(seconds),
            "violations": breaches["rate"],
        }
        is_late = percentile(seconds, 99) >= LIMIT_SECONDS[crowd.name]
        wrong = {"p99": is_late, "violations": breaches["rate"] > 0, "lost": len(seconds) < len(ids)}
        return Measured(columns, [name for name, is_wrong in wrong.items() if is_wrong])


def _send_singles(line: RelayLine, lane: str, number: int) -> list[str]:
    """One each second over SMTP, whatever became of the one before; their ids."""
    started, ids = time.monotonic(), []
    for index in range(number):
        time.sleep(max(0.0, started + index - time.monotonic()))
        content = f"X-Sluice-Lane: {lane}\r\nSubject: reset\r\n\r\nHello.\r\n".encode()
        ids.append(line.send_mail([f"single{index}@example.org"], content))
    return ids
