"""Two accounts as two routes: each sender goes where it may, and past a route in trouble where it may as well."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spool.states import Place
from tests.line import Line, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.processes

SETTINGS = """
[routes.main]
from_domains = ["example.com", "only.example"]

[routes.spare]
endpoint_url = "{url}"
access_key_id = "AKIASPARE"
secret_access_key = "not-a-secret"
from_domains = ["example.com"]
weight = 0
"""


@contextmanager
def two_accounts() -> Iterator[tuple[Line, str]]:
    """A line whose simulator is the route `main`, and the URL of the simulator that is the route `spare`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Line() as line:
        file = line.folder / "routes.toml"
        file.write_text(SETTINGS.format(url=url))
        line.environment["SLUICE_CONFIG"] = str(file)
        line.start("simulator", name="spare", wait=False, SLUICE_SIMULATOR_PORT=str(port))
        wait_until(lambda: _answers(url), "the spare simulator listens")
        line.worker()
        line.worker()
        yield line, url


def _answers(url: str) -> bool:
    try:
        return _get(url, "/healthz") == b"ok"
    except OSError:
        return False


def _get(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=20) as answer:
        text: bytes = answer.read()
        return text.strip()


def _taken(url: str) -> set[str]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in _get(url, "/ledger").splitlines()]
    return {entry["tags"]["sluice-batch"].rpartition(".")[0] for entry in entries}


def test_mail_leaves_a_paused_account_for_one_that_is_allowed_and_comes_back_later():
    with two_accounts() as (line, spare):
        before = line.submit(5)
        line.wait_for(before)
        assert _taken(line.simulator_url) == set(before)

        line.http("PUT", "/pause", {"state": "paused"})
        ids = line.submit(40)
        line.wait_for(ids)
        assert _taken(spare) == set(ids)

        line.http("PUT", "/pause", {"state": "running"})
        later: set[str] = set()

        def all_of_it_goes_by_main() -> bool:
            more = line.submit(3)
            line.wait_for(more)
            later.update(more)
            return set(more) <= _taken(line.simulator_url)

        wait_until(all_of_it_goes_by_main, "a probe has found the account well again")
        assert _taken(line.simulator_url) | _taken(spare) == {*before, *ids, *later}
        assert not _taken(line.simulator_url) & _taken(spare)


def test_mail_that_no_other_route_allows_waits_and_is_sent_when_its_own_is_well():
    with two_accounts() as (line, spare):
        line.http("PUT", "/pause", {"state": "suspended"})
        bound = line.submit(3, sender="app@only.example")
        movable = line.submit(3)
        line.wait_for(movable)
        line.wait_for(bound, Place.PARKED)
        assert _taken(spare) == set(movable)
        line.http("PUT", "/pause", {"state": "running"})
        line.wait_for(bound)
        assert _taken(line.simulator_url) == set(bound)
        assert _taken(spare) == set(movable)
