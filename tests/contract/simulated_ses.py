"""A simulator on a real socket for tests that speak with the unmodified AWS client."""

import asyncio
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3
import orjson
from botocore.config import Config

from simulator.server import start
from simulator.settings import SimulatorSettings


@dataclass(frozen=True)
class SimulatedSes:
    """Where it listens, and the few requests that tests make beside the AWS client."""

    url: str

    def request(self, method, path, body=None, headers=None):
        """One HTTP request; answers (status, headers, body)."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None):
        status, _, answer = self.request(method, path, None if body is None else orjson.dumps(body))
        assert status == 200, answer
        return orjson.loads(answer)

    def ledger(self, query=""):
        status, _, answer = self.request("GET", f"/ledger{query}")
        assert status == 200
        return [orjson.loads(line) for line in answer.splitlines()]

    def violations(self):
        """What the callers did wrong, without the figures that are zero."""
        return {name: figure for name, figure in self.json("GET", "/violations").items() if figure}

    def events(self, since=0, wait=0):
        """Events from a position on, and the next position."""
        status, headers, answer = self.request("GET", f"/events?since={since}&wait={wait}")
        assert status == 200, answer
        return [orjson.loads(line) for line in answer.splitlines()], int(headers["X-Next"])

    def client(self, service, read_timeout_seconds=60, region="us-east-1"):
        """An AWS client that asks once."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout_seconds),
        )


@contextmanager
def simulated_ses(**settings) -> Iterator[SimulatedSes]:
    """Run one in a thread of its own until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, url = asyncio.run_coroutine_threadsafe(start(SimulatorSettings(port=0, **settings)), loop).result(60)
    try:
        yield SimulatedSes(url)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
