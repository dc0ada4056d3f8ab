"""`drain`: a worker gives its work to the others, finishes what it has, lives on, and can be called back."""

import socket
from typing import Any

import orjson
import pytest

from spool import keys, operator
from spool.sending_quota import Pause
from spool.states import PAUSED_DOMAIN, Place
from tests.line import Line, Program, wait_until

pytestmark = pytest.mark.processes


def name_of(worker: Program) -> str:
    return f"{socket.gethostname()}-{worker.pid}"


def heartbeats(line: Line) -> dict[str, dict[str, Any]]:
    beats = line.run(lambda spool: spool.redis.hgetall(keys.WORKERS))
    return {name.decode(): orjson.loads(beat) for name, beat in beats.items()}


def drain(line: Line, worker: Program) -> None:
    line.run(lambda spool: spool.redis.hset(keys.DRAINS, name_of(worker), "1"))
    wait_until(lambda: heartbeats(line)[name_of(worker)].get("draining"), "the worker is drained")


def callback(line: Line, worker: Program) -> None:
    line.run(lambda spool: spool.redis.hdel(keys.DRAINS, name_of(worker)))
    wait_until(lambda: "draining" not in heartbeats(line)[name_of(worker)], "the worker is called back")


def workers_of(line: Line, ids: list[str]) -> set[str]:
    return {attempt.worker for message in line.load_all(ids).values() for attempt in message.attempts}


def test_a_drained_worker_leaves_all_work_to_the_others_until_it_is_called_back():
    with Line() as line:
        drained, other = line.worker(), line.worker()
        drain(line, drained)
        ids = [one for _ in range(20) for one in line.submit(10)]
        line.wait_for(ids)
        assert workers_of(line, ids) == {name_of(other)}
        assert drained.is_running()
        callback(line, drained)
        other.stop()
        more = line.submit(50)
        line.wait_for(more)
        assert workers_of(line, more) == {name_of(drained)}
        line.account([*ids, *more]).assert_clean()


def test_a_drained_worker_finishes_what_it_has():
    with Line(SLUICE_SIMULATOR_LATENCY_SECONDS="2") as line:
        worker = line.worker()
        ids = line.submit(5)
        wait_until(lambda: all(one.attempts for one in line.load_all(ids).values()), "the worker has all five")
        drain(line, worker)
        line.wait_for(ids)
        line.worker()
        account = line.account(ids)
        account.assert_clean()
        assert account.duplicates == 0
        assert workers_of(line, ids) == {name_of(worker)}


def test_a_drained_worker_still_hears_of_a_pause():
    unlimited = {"SLUICE_SIMULATOR_MAX_SEND_RATE": "5000", "SLUICE_SIMULATOR_MAX_24_HOUR_SEND": "500000"}
    with Line(SLUICE_SIMULATOR_LATENCY_SECONDS="0.3", **unlimited) as line:
        worker = line.worker()
        [message_id] = line.submit(recipients=5000)  # 100 calls: half a minute
        wait_until(line.ledger, "the worker sends")
        drain(line, worker)
        forever = Pause("domain:example.net", since_ms=1)
        line.run(lambda spool: operator.pause(spool.redis, [forever], b"{}"))
        wait_until(lambda: line.load(message_id).place != Place.LEASED, "the worker lets it go")
        message = line.load(message_id)
        assert (message.place, message.reason) == (Place.PARKED, PAUSED_DOMAIN)


def test_with_every_worker_drained_mail_waits_and_no_worker_takes_the_quiet_for_a_stall():
    with Line(SLUICE_WORKER_STALL_SECONDS="8") as line:
        worker = line.worker()
        drain(line, worker)
        ids = line.submit(3)
        wait_until(
            lambda: heartbeats(line)[name_of(worker)]["at_ms"] - line.load(ids[0]).accepted_at_ms > 10_500,
            "more than a stall's time, and a look of the watchdog",
        )
        assert worker.is_running()
        assert workers_of(line, ids) == set()
        callback(line, worker)
        line.wait_for(ids)
        line.account(ids).assert_clean()
