"""What waiting mail costs: CPU and Redis commands while a backlog of 1,000 to 1,000,000 recipients goes out at 14/s.

The workers themselves have parked the backlog before the measurement begins, and Redis has written its append log
anew. CPU: all our processes and Redis, from /proc; the simulator's is not in it. Commands: Redis's own count, in
which each command inside a script is one.
"""

import time
from collections.abc import Iterator

from bench.processes import spent
from bench.relay_line import RelayLine, even_sizes, new_messages
from bench.relay_rows import Measured, RelayOptions
from bench.spooled import rewrite_append_log
from tests.servers import free_port

TITLE = "cost of waiting, at 14/s"
RATE = 14.0
# CPU a minute with the largest backlog beside the smallest; the rest is noise of a shared machine.
MAY_GROW = 1.5
MAY_GROW_SECONDS = 1.0


def measure(options: RelayOptions) -> Iterator[Measured]:
    """Each size on a fresh line; the first one is what the others are compared with."""
    for _ in range(options.runs):
        least = 0.0
        for waiting in options.waiting:
            row, cpu = _run(waiting, options, least)
            least = least or cpu
            yield row


def _run(waiting: int, options: RelayOptions, least: float) -> tuple[Measured, float]:
    with RelayLine(rate=RATE, SLUICE_SMTP_PORT=str(free_port())) as line:
        line.gateway()
        line.start_feedback()
        line.start_workers(options.workers)
        sizes = even_sizes(waiting + round(RATE * (options.seconds + 15)), options.recipients_a_message)
        started = time.monotonic()
        line.deposit(new_messages(sizes))
        line.wait_until_parked()
        parked_seconds = time.monotonic() - started
        rewrite_append_log(line.redis)
        before, commands, at = line.cpu(), _commands(line), time.monotonic()
        time.sleep(options.seconds)
        used, commands, seconds = spent(before, line.cpu()), _commands(line) - commands, time.monotonic() - at
        cpu = {name: 60 * value / seconds for name, value in used.items()}
        total = sum(cpu.values())
        columns: dict[str, str | float] = {
            "waiting": waiting,
            "a message": options.recipients_a_message,
            "parked within": f"{parked_seconds:.0f} s",
            "CPU a minute": f"{total:.2f} s",
            **{name: f"{cpu.get(name, 0.0):.2f} s" for name in ("worker", "redis", "gateway", "feedback")},
            "Redis commands": f"{commands / seconds:.0f}/s",
            "Redis memory": f"{line.redis_info('memory', 'used_memory') / 1e6:,.0f} MB",
        }
        grew = bool(least) and total > max(MAY_GROW * least, least + MAY_GROW_SECONDS)
        return Measured(columns, ["CPU grew with the backlog"] if grew else []), total


def _commands(line: RelayLine) -> int:
    return line.redis_info("stats", "total_commands_processed")
