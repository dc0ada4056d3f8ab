"""The numbers of all processes, read from a real server and scraped from a real process."""

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from config.failpoints import Failpoints
from config.redis_clients import redis_client
from spool.assembly import open_spool
from spool.figures import read_figures
from spool.scripts import StoreUnavailable
from spool.states import Place
from spool.tally import Tally
from tests.api_process import api_process
from tests.publishing import Collecting, add_events, publisher_of, until_true
from tests.spooled import accept, beat, settings_of, settle


@pytest.fixture
async def redis(redis_url):
    client = redis_client(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def spool(redis, redis_url, tmp_path):
    return open_spool(settings_of(redis_url, tmp_path), redis=redis)


async def test_the_numbers_of_two_processes_are_one(spool):
    one, two = Tally(), Tally()
    one.count("smtp_refused:5.7.1", 2)
    two.count("smtp_refused:5.7.1", 3)
    one.observe("step:relay", 0.02)
    two.observe("step:relay", 2)
    await one.flush(spool.redis)
    await two.flush(spool.redis)
    figures = await read_figures(spool, spool.redis)
    assert figures.counters["smtp_refused:5.7.1"] == 5
    assert figures.durations["step:relay"].count == 2
    assert figures.durations["step:relay"].sum_seconds == pytest.approx(2.02)


async def test_a_full_server_gets_the_numbers_when_it_has_room_again(spool):
    tally = Tally()
    tally.count("a")
    await spool.redis.config_set("maxmemory", 1)
    await tally.flush(spool.redis)
    await spool.redis.config_set("maxmemory", 0)
    await tally.flush(spool.redis)
    assert (await read_figures(spool, spool.redis)).counters["a"] == 1


async def test_the_places_and_their_reasons_are_counted(spool):
    due, leased, parked, held, done = [await accept(spool, 3) for _ in range(5)]
    await spool.claim([leased], "worker-1")
    await settle(spool, parked, to="parked", after_seconds=60, reason="throttled")
    await settle(spool, held, to="held", reason="x: y")
    await settle(spool, done, to="done", counts={"sent_recipients": 3})
    figures = await read_figures(spool, spool.redis)
    assert due
    assert figures.places == {Place.DUE: 1, Place.LEASED: 1, Place.PARKED: 1, Place.HELD: 1}
    assert figures.reasons == {Place.PARKED: {"throttled": 1}, Place.HELD: {"x: y": 1}}
    assert figures.counters["accepted_messages"] == 5
    assert figures.counters["accepted_recipients"] == 15
    assert figures.counters["sent_recipients"] == 3
    assert 0 <= figures.longest_due_seconds < 60


async def test_the_oldest_unfinished_message_has_its_age(spool):
    assert (await read_figures(spool, spool.redis)).oldest_waiting_seconds == 0
    seconds, _ = await spool.redis.time()
    slot = (seconds - 3600) // 10
    await spool.redis.hset("{ms}:ages", mapping={str(slot): 1, str(slot + 5): 1})
    age = (await read_figures(spool, spool.redis)).oldest_waiting_seconds
    assert 3590 <= age <= 3660


async def test_each_destination_has_its_backlog(spool):
    message_id = await accept(spool)
    publisher = publisher_of(spool, {"file": Collecting("file")}, Failpoints(""))
    await add_events(spool.redis, message_id, 5)
    await publisher.publish("file")
    await publisher.trim()
    figures = await read_figures(spool, spool.redis, ["file", "log"])
    assert figures.backlogs["file"].events == 0
    await add_events(spool.redis, message_id, 3)
    figures = await read_figures(spool, spool.redis, ["file", "log"])
    assert figures.backlogs["file"].events == 3
    assert 0 <= figures.backlogs["file"].oldest_seconds < 60
    assert figures.backlogs["log"].events == figures.events_kept


async def test_without_a_server_the_figures_are_unavailable(spool, redis_server):
    redis_server.kill()
    with pytest.raises(StoreUnavailable):
        await read_figures(spool, spool.redis)


async def test_a_dead_broker_is_a_figure_and_no_error(spool, tmp_path):
    broker = redis_client(f"unix://{tmp_path}/none.sock")
    assert (await read_figures(spool, broker)).queues is None
    await broker.aclose()


@pytest.mark.processes
async def test_one_scrape_shows_the_cluster(spool, redis_url, tmp_path):
    tally = Tally()
    tally.count("smtp_refused:relay_denied", 4)
    tally.observe("task:process", 0.3)
    await tally.flush(spool.redis)
    await accept(spool, 3)
    await beat(spool, late_ms=-3_600_000)
    found: dict[tuple[str, ...], float] = {}

    async def is_whole():
        """Whether the server answered everything that a scrape asks it: a silence of two seconds is a figure too."""
        async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as answer:
            if answer.status != 200:
                return False
            assert answer.content_type == "text/plain"
            text = await answer.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
        return found["mailsluice_spool_safe",] and ("mailsluice_celery_queue_tasks", "process") in found

    with api_process(redis_url, tmp_path) as (url, _):
        await until_true(is_whole)
    assert found["mailsluice_accepted_messages_total",] == 1
    assert found["mailsluice_accepted_recipients_total",] == 3
    assert found["mailsluice_smtp_refusals_total", "relay_denied"] == 4
    assert found["mailsluice_task_duration_seconds_bucket", "0.25", "process"] == 0
    assert found["mailsluice_task_duration_seconds_bucket", "0.5", "process"] == 1
    assert found["mailsluice_waiting_messages", "due"] == 1
    assert found["mailsluice_workers_alive",] == 1
    assert found["mailsluice_celery_queue_tasks", "process"] == 0
    assert ("mailsluice_events_backlog", "file") in found
