"""maxmemory is reached by accepted mail: only new mail is refused, everything accepted can be finished."""

from pathlib import Path

import pytest

from spool import keys
from spool.records import Attempt, Settlement
from spool.routes import read_routes
from spool.scripts import StoreFull
from spool.sending_quota import Denied, Granted, RouteFact
from spool.states import IN_LANE, Place, RecipientState
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import a_message, an_intent, end_lease, numbers, open_test_spool, wake_now
from tests.store.taking import a_seat, intended, limits, look, set_route

# What the server refuses without the mail is its own memory plus this.
_ROOM_BYTES = 2 * 1024 * 1024


async def _filled(server: RedisServer, spool: Spool) -> list[str]:
    """Accepts until the server is full; the ids."""
    memory = await spool.redis.info("memory")
    await spool.redis.config_set("maxmemory", memory["used_memory"] + _ROOM_BYTES)
    ids = []
    for _ in range(5000):
        message = a_message(content=b"x" * 4000, header_message_id=f"{len(ids)}@example.com")
        try:
            await spool.accept(message)
        except StoreFull:
            assert await spool.load(message.message_id) is None
            # What is left of the room goes too: not one more allocation is free of charge.
            used = (await spool.redis.info("memory"))["used_memory"]
            await spool.redis.config_set("maxmemory", used // 2)
            return ids
        ids.append(message.message_id)
    raise AssertionError("never full")


async def test_what_was_accepted_can_be_finished_on_a_full_server(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        ids = await _filled(own_server, spool)
        assert len(ids) > 100
        with pytest.raises(StoreFull):
            await spool.accept(a_message())

        claimed = {one.lease.message_id: one for one in await spool.claim(ids[:50], "w")}
        assert len(claimed) == 50
        first = claimed[ids[0]]
        assert None not in await spool.renew([first.lease])
        intent = an_intent()
        assert await spool.settle(
            Settlement(first.lease, number=1, states=(RecipientState.SENDING,), attempts=(intent,), events=(b"{}",))
        )
        outcome = Attempt(1, (0,), 1, "w", "accepted", 2, "ses-1")
        bounce = a_message(door="bounce")
        assert await spool.settle(
            Settlement(
                first.lease,
                number=2,
                to="done",
                states=(RecipientState.SENT,),
                attempts=(outcome,),
                events=(b"{}",) * 3,
                counts={"sent_recipients": 1},
                spawned=(bounce,),
            )
        )
        assert await spool.load(bounce.message_id) is not None
        second, third = (claimed[one] for one in ids[1:3])
        assert await spool.settle(Settlement(second.lease, to="parked", after_seconds=60, reason="throttled"))
        assert await spool.settle(Settlement(third.lease, to="held", reason="in doubt"))
        assert await spool.release([ids[1], ids[2]]) == [True, True]
        fourth = claimed[ids[3]]
        assert await spool.settle(Settlement(fourth.lease, to="held", reason="in doubt"))
        given_up = await spool.load(ids[3])
        assert given_up is not None
        dropped = (RecipientState.DROPPED,)
        assert await spool.drop(given_up, dropped, reason="given up", events=[b"{}"], counts={"dropped_recipients": 1})
        assert await spool.withdraw([ids[60]]) == [True]
        assert await spool.withdraw(["0000-late-commit"]) == [False]


async def test_sweeps_work_on_a_full_server(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        prepared = [a_message() for _ in range(2)]
        for message in prepared:
            await spool.accept(message)
        lost, parked = await spool.claim([message.message_id for message in prepared], "w")
        await spool.settle(Settlement(parked.lease, to="parked", after_seconds=60, reason="throttled"))
        await end_lease(spool.redis, lost.lease.message_id)
        await wake_now(spool.redis, parked.lease.message_id)
        await _filled(own_server, spool)
        swept = await spool.sweep(limit=100, max_crashes=9, nudges=10_000)
        assert (swept.lease_ended, swept.woken) == ((lost.lease.message_id,), 1)
        assert {id_ for id_, _ in swept.to_nudge} >= {lost.lease.message_id, parked.lease.message_id}


async def test_waiting_mail_gets_its_turn_on_a_full_server(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        route = limits(14, 100)
        await set_route(spool, c=1, r_express=1, r_bulk=1, s_bulk=1)  # one call, and nothing more flows in
        ids = await _filled(own_server, spool)
        asked = await spool.may_ask_quota(route.name, 60)
        assert asked
        await spool.note_quota(
            route.name, max_send_rate=14, max_24_hour_send=100, sent_last_24_hours=0, asked_at_ms=asked
        )
        claimed = await spool.claim(ids[:3], "w")
        assert await intended(spool, claimed[0], a_seat(), route) == Granted()
        assert isinstance(await intended(spool, claimed[1], a_seat(), route), Denied)
        fact = RouteFact("throttled", route.name)
        for one in claimed[1:]:
            settlement = Settlement(one.lease, 9, "lane", seat=a_seat(), reason=IN_LANE, facts=(fact,))
            assert await spool.settle(settlement)
        assert await spool.confirm(claimed[0].lease.message_id, 1, "ses-1", 9) == "noted"
        await spool.feedback_seen("simulator", "1", 9)
        assert (await read_routes(spool, [route]))[0].waiting_messages == 2
        assert set(await look(spool, limits())) == {one.lease.message_id for one in claimed[1:]}


async def test_after_finishing_a_full_server_accepts_again(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        ids = await _filled(own_server, spool)
        limit = int((await spool.redis.config_get("maxmemory"))["maxmemory"])
        await spool.redis.config_set("maxmemory", limit * 2 - limit // 3)  # a third of the mail must go
        with pytest.raises(StoreFull):
            await spool.accept(a_message())
        for start in range(0, len(ids), 50):
            for claimed in await spool.claim(ids[start : start + 50], "w"):
                assert await spool.settle(Settlement(claimed.lease, to="done", states=(RecipientState.SENT,)))
        message = a_message()
        await spool.accept(message)
        loaded = await spool.load(message.message_id)
        assert loaded is not None
        assert loaded.place is Place.DUE
        assert sum((await numbers(spool.redis, keys.AGES)).values()) == 1


async def test_a_repeated_accept_of_a_safe_message_is_answered_on_a_full_server(
    own_server: RedisServer, tmp_path: Path
):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        message = a_message()
        await spool.accept(message)
        await _filled(own_server, spool)
        await spool.accept(message)


async def test_a_refused_accept_leaves_no_stored_content_behind(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path, inline=100_000) as spool:
        await _filled(own_server, spool)
        with pytest.raises(StoreFull):
            await spool.accept(a_message(content=b"y" * 200_000))
        assert not [path for path in (tmp_path / "content").rglob("*") if path.is_file()]
