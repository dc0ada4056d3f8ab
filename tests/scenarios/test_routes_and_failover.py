"""Two accounts as two routes: each sender goes where it may, and past a route in trouble where it may as well."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spool import operator
from spool.sending_quota import Pause
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


WEIGHTS = """
[routes.main]
weight = 3

[routes.spare]
endpoint_url = "{url}"
access_key_id = "AKIASPARE"
secret_access_key = "not-a-secret"
weight = 1
"""

USERS = """
[routes.main]

[routes.spare]
endpoint_url = "{url}"
access_key_id = "AKIASPARE"
secret_access_key = "not-a-secret"
users = ["news"]
"""


@contextmanager
def two_accounts(settings: str = SETTINGS) -> Iterator[tuple[Line, str]]:
    """A line whose simulator is the route `main`, and the URL of the simulator that is the route `spare`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Line() as line:
        file = line.folder / "routes.toml"
        file.write_text(settings.format(url=url))
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
            line.run(lambda spool: operator.probe_now(spool.redis, "main"))
            more = line.submit(3)
            line.wait_for(more)
            later.update(more)
            return set(more) <= _taken(line.simulator_url)

        wait_until(all_of_it_goes_by_main, "a probe has found the account well again")
        assert _taken(line.simulator_url) | _taken(spare) == {*before, *ids, *later}
        assert not _taken(line.simulator_url) & _taken(spare)


def test_mail_waits_for_its_own_account_while_the_spare_is_paused():
    with two_accounts() as (line, spare):
        line.http("PUT", "/pause", {"state": "paused"})
        ids = line.submit(3)
        line.wait_for(ids)
        assert _taken(spare) == set(ids)
        _pause_spare(line)
        kept = line.submit(20)
        line.wait_for(kept, Place.PARKED)
        line.http("PUT", "/pause", {"state": "running"})
        line.wait_for(kept, probing="main")
        assert _taken(line.simulator_url) == set(kept)
        assert _taken(spare) == set(ids)


def _pause_spare(line: Line) -> None:
    pause = Pause("route:spare", since_ms=1, why="warm-up", by="operator")
    line.run(lambda spool: operator.pause(spool.redis, [pause], b""))


def test_mail_that_no_other_route_allows_waits_and_is_sent_when_its_own_is_well():
    with two_accounts() as (line, spare):
        line.http("PUT", "/pause", {"state": "suspended"})
        bound = line.submit(3, sender="app@only.example")
        movable = line.submit(3)
        line.wait_for(movable)
        line.wait_for(bound, Place.PARKED)
        assert _taken(spare) == set(movable)
        line.http("PUT", "/pause", {"state": "running"})
        line.wait_for(bound, probing="main")
        assert _taken(line.simulator_url) == set(bound)
        assert _taken(spare) == set(movable)


def test_routes_that_are_equal_share_the_mail_by_their_weights():
    with two_accounts(WEIGHTS) as (line, spare):
        ids = line.submit(120)
        line.wait_for(ids)
        by_main, by_spare = _taken(line.simulator_url), _taken(spare)
        assert not by_main & by_spare
        assert by_main | by_spare == set(ids)
        assert 1.3 * len(by_spare) < len(by_main)  # 3 : 1; less than 1.3 : 1 is one run in a hundred million


def test_a_route_of_one_user_takes_that_users_mail_and_nobody_elses():
    with two_accounts(USERS) as (line, spare):
        theirs = line.submit(10, user="news")
        others = [*line.submit(10), *line.submit(10, user="shop")]
        line.wait_for([*theirs, *others])
        assert _taken(spare) == set(theirs)
        assert _taken(line.simulator_url) == set(others)
