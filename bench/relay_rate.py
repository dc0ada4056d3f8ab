"""How much of the account's rate several workers use, and whether they ever break it.

A backlog of mixed batches (1 to 50 recipients a message) that lasts longer than the measurement; counted is what the
simulator accepted, by its own time stamps, from one second after the first call on. Share: from the last call before
that time to the first call after it, the recipients of all these calls but the last, divided by rate times the time
between. (A call may go into debt, which the time after it pays; so the last call's recipients belong to time that is
not measured, and a pause at an edge is.) "Plain share" is simply the recipients within the time, divided by rate times
its seconds: at 14/s one batch of 50 at an edge is 6 % of a minute. Nothing is taken off for what a full bucket allows
at once at the start.
"""

import random
import time
from collections.abc import Iterator, Sequence

from bench.relay_line import Call, RelayLine, new_messages
from bench.relay_rows import Measured, RelayOptions
from spool.records import NewMessage

TITLE = "share of the rate, mixed batches of 1 to 50 recipients"
LARGEST_BATCH = 50
SKIPPED_SECONDS = 1.0
WANTED_SHARE = 0.98
SENDERS = 20
PATIENCE_SECONDS = 15.0


def measure(options: RelayOptions) -> Iterator[Measured]:
    """Each rate on a fresh line."""
    for rate in options.rates:
        for _ in range(options.runs):
            yield _run(rate, options)


def _run(rate: float, options: RelayOptions) -> Measured:
    with RelayLine(rate=rate) as line:
        line.start_workers(options.workers)
        sizes = mixed_sizes(1.3 * rate * (options.seconds + 15), options.seed)
        line.deposit(_from_many_senders(sizes))
        line.wait_for_first_call()
        time.sleep(SKIPPED_SECONDS)
        early = line.violations()
        time.sleep(options.seconds)
        begin = line.calls()[0].at + SKIPPED_SECONDS
        calls = _with_the_next(line, begin + options.seconds)
        breaches = line.violations()
        share = paced_share(calls, rate, begin, options.seconds)
        later = breaches["rate"] - early["rate"]
        columns: dict[str, str | float] = {
            "rate": f"{rate:g}/s",
            "workers": options.workers,
            "seconds": options.seconds,
            "share used": f"{100 * share:.2f} %",
            "plain share": f"{100 * plain_share(calls, rate, begin, options.seconds):.2f} %",
            "calls": len(calls),
            "throttled, first second": early["rate"],
            "throttled later": later,
            "violations": breaches["rate"] + breaches["daily_quota"],
        }
        wrong = {"share": share < WANTED_SHARE, "throttled": later > 0, "violations": breaches["rate"] > 0}
        return Measured(columns, [name for name, is_wrong in wrong.items() if is_wrong])


def _with_the_next(line: RelayLine, end: float) -> list[Call]:
    """All calls, when there is one after the end: a call of 50 at 14/s is followed by 3.6 s of silence."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not (calls := line.calls()) or calls[-1].at < end:
        assert time.monotonic() < limit, "nothing is sent any more: too small a backlog, or the relay stands still"
        time.sleep(0.2)
    return calls


def mixed_sizes(recipients: float, seed: int) -> list[int]:
    """Sizes of messages, 1 to 50 recipients, until there are at least so many recipients."""
    chance, sizes, total = random.Random(seed), [], 0
    while total < recipients:
        sizes.append(chance.randint(1, LARGEST_BATCH))
        total += sizes[-1]
    return sizes


def _from_many_senders(sizes: Sequence[int]) -> Iterator[NewMessage]:
    sources = [new_messages(sizes[number::SENDERS], sender=f"app{number}@example.com") for number in range(SENDERS)]
    for number in range(len(sizes)):
        yield next(sources[number % SENDERS])


def paced_share(calls: Sequence[Call], rate: float, begin: float, seconds: float) -> float:
    """From the last call before the window (or the first in it) to the first call after it; 0 when there is none."""
    first = max(sum(call.at <= begin for call in calls) - 1, 0)
    last = next((n for n, call in enumerate(calls) if call.at >= begin + seconds and n > first), None)
    if last is None or calls[last].at == calls[first].at:
        return 0.0
    return sum(call.recipients for call in calls[first:last]) / (rate * (calls[last].at - calls[first].at))


def plain_share(calls: Sequence[Call], rate: float, begin: float, seconds: float) -> float:
    """All recipients within the window."""
    return sum(call.recipients for call in calls if begin <= call.at < begin + seconds) / (rate * seconds)
