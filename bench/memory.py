"""Memory and CPU at rest: what waits costs nothing, an open connection little, a message in flight its own size."""

import asyncio
import time
from collections.abc import Iterator

from bench.figures import OURS, Sample
from bench.load import Load, run_load
from bench.options import Options
from bench.ours import Ours, total
from bench.processes import forget_peak, peak_resident_bytes, resident_bytes, spent, wait_until_quiet
from bench.smtp_client import Connection

IDLE_CPU = "idle CPU of gateway, worker, API and Redis"
CONNECTIONS = "memory of 1,000 idle connections"
IN_FLIGHT = "gateway memory of 20 x 1 MB in flight, at the peak"
FIGURES = ("idle gateway memory", "idle worker memory", IDLE_CPU, CONNECTIONS, IN_FLIGHT)


def measure(options: Options) -> Iterator[Sample]:
    """On a line that has just started."""
    if not options.wants(FIGURES):
        return
    with Ours(workers=1, has_api=True) as ours:
        wait_until_quiet(ours.cpu)
        (gateway,), (worker,) = ours.pids("gateway"), ours.pids("worker")
        yield Sample("idle gateway memory", OURS, resident_bytes(gateway) / 1e6)
        yield Sample("idle worker memory", OURS, resident_bytes(worker) / 1e6)
        idle_seconds = 10.0 if options.runs > 1 else 3.0
        before = ours.cpu()
        time.sleep(idle_seconds)
        cpu = spent(before, ours.cpu())
        yield Sample(IDLE_CPU, OURS, 100 * total(cpu) / idle_seconds)
        for name, seconds in cpu.items():
            yield Sample(f"{IDLE_CPU}: {name}", OURS, 100 * seconds / idle_seconds)
        yield Sample(CONNECTIONS, OURS, asyncio.run(_bytes_of_connections(ours.port, gateway, 1000)) / 1e6)
        yield Sample(IN_FLIGHT, OURS, _bytes_in_flight(ours.port, gateway) / 1e6)


async def _bytes_of_connections(port: int, gateway: int, count: int) -> int:
    warm = [await Connection.open(port) for _ in range(20)]
    before = resident_bytes(gateway)
    open_ones = [await Connection.open(port) for _ in range(count)]
    used = resident_bytes(gateway) - before
    for connection in (*open_ones, *warm):
        await connection.quit()
    return used


def _bytes_in_flight(port: int, gateway: int) -> int:
    run_load(Load(20, 1, 1024 * 1024), port)
    forget_peak(gateway)
    before = resident_bytes(gateway)
    run_load(Load(60, 20, 1024 * 1024), port)
    return peak_resident_bytes(gateway) - before
