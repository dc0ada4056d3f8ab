"""The SES door: SendRawEmail a second and CPU of a call: `python -m bench.api [--seconds 4]`.

The real API process with a real Redis (fsync always), no worker. Requests are signed, and the signatures are checked.
The load is a process of its own: the same signed bytes over raw connections, one request after the other on each;
boto3, with all it does for a call itself, is measured once beside it.
"""

import argparse
import asyncio
import base64
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import boto3
import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials

from aws_api.wire.access_keys import AccessKey, AccessKeyFile
from bench.ours import Ours
from bench.sink import HOUSE
from tests.servers import free_port

KB = 1024
FORM = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Case:
    """One row."""

    service: str
    size_bytes: int
    connections: int


CASES = [Case("v1", size, connections) for size in (KB, 20 * KB) for connections in (1, 20)]
CASES += [Case("v2", 20 * KB, 20), Case("v1", 1000 * KB, 4)]


def message(size_bytes: int) -> bytes:
    """MIME of about this size."""
    head = b"From: app@example.com\r\nTo: list@example.net\r\nSubject: bench\r\n\r\n"
    line = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUV!\r\n"
    return head + line * max(1, (size_bytes - len(head)) // len(line))


def request_of(case: Case, port: int, key: AccessKey) -> bytes:
    """The signed request as bytes; good for five minutes."""
    encoded = base64.b64encode(message(case.size_bytes)).decode()
    if case.service == "v1":
        path, kind = "/", FORM
        body = f"Action=SendRawEmail&Version=2010-12-01&RawMessage.Data={quote(encoded, safe='')}".encode()
    else:
        path, kind = "/v2/email/outbound-emails", "application/json"
        body = orjson.dumps({"Content": {"Raw": {"Data": encoded}}})
    request = AWSRequest("POST", f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": kind})
    SigV4Auth(Credentials(key.access_key_id, key.secret), "ses", "us-east-1").add_auth(request)
    headers = {**dict(request.prepare().headers), "Host": f"127.0.0.1:{port}", "Content-Length": str(len(body))}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + body


async def load(request: bytes, port: int, connections: int, seconds: float) -> int:
    """How many calls were answered with 200 in that time. Raises RuntimeError for any other answer."""
    end = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_connection(request, port, end) for _ in range(connections))))


async def _connection(request: bytes, port: int, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    calls = 0
    while time.monotonic() < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head!r} {body!r}")
        calls += 1
    writer.close()
    return calls


def measured(ours: Ours, case: Case, key: AccessKey, seconds: float) -> tuple[float, float]:
    """Calls a second, and milliseconds of the API's CPU a call."""
    port = api_port(ours)
    file = Path(ours.line.environment["SLUICE_DATA_DIR"]) / "request"
    file.write_bytes(request_of(case, port, key))
    command = [sys.executable, "-m", "bench.api", "--load", str(file), "--port", str(port)]
    command += ["--connections", str(case.connections), "--seconds"]
    subprocess.run([*command, "0.5"], cwd=HOUSE, check=True, capture_output=True)  # warms everything up
    before = ours.cpu()["api"]
    done = subprocess.run([*command, str(seconds)], cwd=HOUSE, check=True, capture_output=True)
    calls = int(done.stdout)
    cpu = ours.cpu()["api"] - before
    ours.clear()
    return calls / seconds, 1000 * cpu / calls


def with_boto3(ours: Ours, key: AccessKey, size_bytes: int, seconds: float) -> float:
    """Calls a second of one client, one after the other."""
    client = boto3.Session().client(
        "ses",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{api_port(ours)}",
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret,
        config=Config(proxies={}),
    )
    data, calls, began = message(size_bytes), 0, time.monotonic()
    while time.monotonic() - began < seconds:
        client.send_raw_email(RawMessage={"Data": data})
        calls += 1
    ours.clear()
    return calls / seconds


def api_port(ours: Ours) -> int:
    """Where the API listens."""
    return int(ours.line.environment["SLUICE_API_PORT"])


def main() -> None:
    """Prints the table; or, for itself, is the load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--load", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--connections", type=int, default=1)
    options = parser.parse_args()
    if options.load:
        print(asyncio.run(load(options.load.read_bytes(), options.port, options.connections, options.seconds)))
        return
    with Ours(gateways=0, has_api=True, SLUICE_API_PORT=str(free_port())) as ours:
        key = AccessKeyFile(Path(ours.line.environment["SLUICE_DATA_DIR"]) / "access-keys.json").add("bench")
        for case in CASES:
            rate, cpu = measured(ours, case, key, options.seconds)
            name = f"{case.service} {case.size_bytes // KB} KB, {case.connections} connections"
            print(f"{name:32} {rate:8,.0f} calls/s {cpu:8.2f} ms CPU a call", flush=True)
        for size in (KB, 20 * KB):
            print(f"boto3 {size // KB} KB, one client {with_boto3(ours, key, size, options.seconds):18,.0f} calls/s")


if __name__ == "__main__":
    main()
