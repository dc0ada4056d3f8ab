"""Memory of one SES call under way, for each megabyte of its message: `python -m bench.call_memory`.

Each size is measured in a process of its own with the real client and a sink that takes everything: the message, the
peak while it is encoded and signed, and what is held while the answer is on its way (the same for a connection that
is slow). Resident memory, so it is what the kernel sees and not what the program asked for.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Sequence

import orjson

from bench.processes import forget_peak, peak_resident_bytes, resident_bytes
from bench.sink import HOUSE, Sink
from config.settings import RelaySettings
from worker.relay.ses import SesClient
from worker.relay.wire import Call, own_header

MB = 1_000_000
SIZES_MB = (1, 7, 10, 29)


def environment_for(port: int) -> dict[str, str]:
    """Nothing of the AWS environment but the sink."""
    url = f"http://127.0.0.1:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and "proxy" not in name}
    return {
        **kept,
        "AWS_ENDPOINT_URL_SES": url,
        "AWS_ENDPOINT_URL_SESV2": url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def measured(size_mb: int, port: int) -> dict[str, float]:
    """Figures of one size, by a process of its own."""
    command = [sys.executable, "-m", "bench.call_memory", "--call", str(size_mb)]
    done = subprocess.run(command, cwd=HOUSE, env=environment_for(port), capture_output=True, check=True, timeout=120)
    figures: dict[str, float] = orjson.loads(done.stdout)
    return figures


async def call_once(size_mb: int) -> dict[str, float]:
    """Sends a small message, then the large one, and watches this process."""
    client, me = SesClient(RelaySettings(), concurrent_calls=1), os.getpid()
    await client.open()
    try:
        await client.send(_call(b"small"), lambda: True)
        before = resident_bytes(me)
        call = _call(random.Random(1).randbytes(1000) * (size_mb * MB // 1000))  # in one piece, nothing beside it
        held: list[int] = []

        def look() -> bool:
            held.append(resident_bytes(me))
            return True

        forget_peak(me)
        await client.send(call, look)
        peak = peak_resident_bytes(me)
    finally:
        await client.close()
    whole = len(call.content)
    return {"v1": call.is_for_v1, "peak": (peak - before) / whole, "held": (max(held[1:]) - before) / whole}


def _call(content: bytes) -> Call:
    header = own_header("X-Sluice-Batch", "m.1")
    return Call("a@example.com", ["b@example.net"], content, {"sluice-batch": "m.1"}, header=header)


def table(sizes_mb: Sequence[int]) -> str:
    """MB for each MB of message, the message itself counted."""
    lines = ["| message | path | held while it is sent | peak while it is encoded |", "| --- | --- | --- | --- |"]
    with Sink("ses") as sink:
        for size_mb in sizes_mb:
            one = measured(size_mb, sink.port)
            path = "v1" if one["v1"] else "v2"
            lines.append(f"| {size_mb} MB | {path} | {one['held']:.1f} MB/MB | {one['peak']:.1f} MB/MB |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.call_memory", description=__doc__)
    parser.add_argument("--call", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        print(orjson.dumps(asyncio.run(call_once(arguments.call))).decode())
    else:
        print(table(SIZES_MB))
    return 0


if __name__ == "__main__":
    sys.exit(main())
