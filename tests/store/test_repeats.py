"""A message that comes again with its key: stored once, whatever was in doubt before."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spool import keys
from spool.idempotency import once_of
from spool.records import NewMessage, Settlement
from spool.scripts import StoreFull, StoreUnavailable
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import a_message, events_of, numbers, open_test_spool, places_of


def keyed(key: str = "order-1", *, seconds: int = 86_400, **more: object) -> NewMessage:
    """A message whose sender gave it a key."""
    message = a_message(**more)
    return replace(message, once=once_of(("user", "app"), key, message.recipients), once_seconds=seconds)


async def test_a_repeat_is_not_stored_and_gets_the_id_of_the_first(spool: Spool):
    first, second = keyed(recipients=2), keyed(recipients=2)
    assert await spool.accept(first) == first.message_id
    for _ in range(2):  # its answer may be lost as well
        assert await spool.accept(second) == first.message_id
    assert await spool.load(second.message_id) is None
    found = await spool.load(first.message_id)
    assert found is not None
    assert found.repeats == 1, "the same repeat, offered twice, is one"
    assert await events_of(spool.redis) == [first.event]
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (counters["accepted_messages"], counters["accepted_recipients"]) == (1, 2)
    assert counters["repeated_messages"] == 1
    assert await spool.accept(first) == first.message_id, "its own commit again is no repeat"


async def test_other_recipients_callers_or_keys_are_other_messages(spool: Spool):
    same, more = keyed(), keyed(recipients=2)
    others = [
        same,
        more,
        keyed("order-2"),
        replace(keyed(), once=once_of(("user", "other"), "order-1", same.recipients)),
        a_message(),
    ]
    for message in (*others, a_message()):
        assert await spool.accept(message) == message.message_id
    assert await spool.redis.zcard(keys.DUE) == 6


async def test_two_with_one_key_in_one_group_are_one_message(spool: Spool):
    messages = [keyed() for _ in range(5)] + [a_message()]
    told = await asyncio.gather(*(spool.accept(message) for message in messages))
    assert told == [messages[0].message_id] * 5 + [messages[5].message_id]
    assert await spool.redis.zcard(keys.DUE) == 2


async def test_two_processes_at_once_agree_about_the_first(server: RedisServer, tmp_path: Path):
    async with open_test_spool(server.url, tmp_path) as one, open_test_spool(server.url, tmp_path) as two:
        told = await asyncio.gather(*(spool.accept(keyed()) for spool in (one, two) for _ in range(20)))
        assert len(set(told)) == 1
        assert await places_of(one.redis, told[0]) == {Place.DUE}
        assert await one.redis.zcard(keys.DUE) == 1


async def test_after_the_withdrawal_the_next_try_is_a_new_message(spool: Spool):
    first, second = keyed(), keyed()
    await spool.accept(first)
    assert await spool.withdraw([first.message_id]) == [True]
    assert await spool.accept(second) == second.message_id
    assert await places_of(spool.redis, second.message_id) == {Place.DUE}
    with pytest.raises(StoreUnavailable):
        await spool.accept(first)  # the commit that waited in a socket


async def test_a_repeat_that_comes_before_the_withdrawal_keeps_the_message(spool: Spool):
    first, second = keyed(), keyed()
    await spool.accept(first)
    assert await spool.accept(second) == first.message_id
    assert await spool.withdraw([first.message_id, second.message_id]) == [False, False]
    assert await places_of(spool.redis, first.message_id) == {Place.DUE}
    assert await events_of(spool.redis) == [first.event]
    assert await spool.accept(keyed()) == first.message_id


async def test_a_late_commit_of_the_first_is_a_repeat_of_the_second(spool: Spool):
    first, second = keyed(), keyed()
    assert await spool.accept(second) == second.message_id  # the commit of the first still lies in a socket
    assert await spool.accept(first) == second.message_id
    assert await spool.withdraw([first.message_id]) == [False]
    assert await places_of(spool.redis, second.message_id) == {Place.DUE}
    assert await spool.accept(keyed()) == second.message_id, "the mark is not the first one's to take away"


async def test_a_withdrawal_before_its_commit_leaves_the_key_to_the_next_try(spool: Spool):
    first, second = keyed(), keyed()
    assert await spool.withdraw([first.message_id]) == [False]
    with pytest.raises(StoreUnavailable):
        await spool.accept(first)
    assert await spool.accept(second) == second.message_id


async def test_a_repeat_whose_answer_was_lost_gets_it_again_when_the_mark_has_gone(spool: Spool):
    first, second = keyed(), keyed()
    await spool.accept(first)
    await spool.accept(second)
    assert await spool.redis.delete("{ms}:o:" + first.once) == 1
    assert await spool.accept(second) == first.message_id
    assert await spool.load(second.message_id) is None


async def test_a_message_that_a_worker_has_or_that_is_done_is_known_as_well(spool: Spool):
    first = keyed()
    await spool.accept(first)
    [claimed] = await spool.claim([first.message_id], "worker@test")
    assert await spool.accept(keyed()) == first.message_id
    await spool.settle(Settlement(claimed.lease, number=1, to="done", states=(RecipientState.SENT,)))
    assert await spool.accept(keyed()) == first.message_id
    found = await spool.load(first.message_id)
    assert found is not None
    assert (found.place, found.repeats) == (Place.DONE, 2)
    assert 0 < await spool.redis.ttl(keys.message_key(first.message_id)) <= 3600


async def test_a_message_that_is_forgotten_stays_sent(spool: Spool):
    first = keyed()
    await spool.accept(first)
    await spool.redis.delete(keys.message_key(first.message_id))
    await spool.redis.delete(keys.DUE)
    for message in (keyed(), first):
        assert await spool.accept(message) == first.message_id
    assert await spool.redis.exists(keys.message_key(first.message_id)) == 0, "no stump of a message"
    assert await spool.redis.zcard(keys.DUE) == 0


async def test_marks_expire_when_the_door_says(spool: Spool):
    message = keyed(seconds=3600)
    await spool.accept(message)
    mark = "{ms}:o:" + message.once
    assert 3590 < await spool.redis.ttl(mark) <= 3600
    await spool.redis.delete(mark)
    second = keyed()
    assert await spool.accept(second) == second.message_id


async def test_the_stored_content_of_a_repeat_is_removed(server: RedisServer, tmp_path: Path):
    async with open_test_spool(server.url, tmp_path, inline=10) as spool:
        first, second = keyed(content=b"x" * 100), keyed(content=b"y" * 100)
        await spool.accept(first)
        assert await spool.accept(second) == first.message_id
        files = [path.name for path in (tmp_path / "content").rglob("*") if path.is_file()]
        assert files == [first.message_id]


async def test_a_full_server_marks_nothing(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        message = keyed()
        await spool.redis.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            await spool.accept(message)
        await spool.redis.config_set("maxmemory", 0)
        assert await spool.redis.exists("{ms}:o:" + message.once) == 0
        assert await spool.accept(keyed()) != message.message_id


async def test_what_was_answered_outlives_a_kill_of_the_server(own_server: RedisServer, tmp_path: Path):
    async with open_test_spool(own_server.url, tmp_path) as spool:
        first = keyed()
        await spool.accept(first)
        own_server.kill()
        own_server.start()
        told = ""
        async with asyncio.timeout(60):
            while not told:
                try:
                    told = await spool.accept(keyed())
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
        assert told == first.message_id


# What happens to the commits of four messages with one key: its answer arrives, it is lost, its door gives it up.
MOVES = st.lists(st.tuples(st.sampled_from(["told", "lost", "withdraw"]), st.integers(0, 3)), max_size=14)


async def _walked(spool: Spool, moves: list[tuple[str, int]]) -> None:
    messages, told_to, given_up = [keyed() for _ in range(4)], dict[int, str](), set[int]()
    for move, number in moves:
        if number in told_to:
            continue  # its door has its answer
        if move == "withdraw":
            given_up.add(number)
            await spool.withdraw([messages[number].message_id])
            continue
        try:
            answer = await spool.accept(messages[number])
        except StoreUnavailable:
            assert number in given_up
            continue
        if move == "told" and number not in given_up:
            told_to[number] = answer
    assert len(set(told_to.values())) <= 1, "one message for all who have their answer"
    for message_id in told_to.values():
        assert await places_of(spool.redis, message_id) == {Place.DUE}
    assert await spool.redis.zcard(keys.DUE) <= 1
    counters = await numbers(spool.redis, keys.COUNTERS)
    there = counters.get("accepted_messages", 0) - counters.get("withdrawn_messages", 0)
    assert there == await spool.redis.zcard(keys.DUE)


@pytest.mark.timeout(300)
def test_no_order_of_commits_and_withdrawals_loses_what_was_answered_for(server: RedisServer, tmp_path: Path):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(MOVES)
    def walk(moves: list[tuple[str, int]]) -> None:
        async def on_an_empty_server() -> None:
            async with open_test_spool(server.url, tmp_path) as spool:
                await spool.redis.flushall()
                await _walked(spool, moves)

        asyncio.run(on_an_empty_server())

    walk()
