"""The headers that events show: while a message lives, and for a while after it."""

from pathlib import Path

import pytest

from spool import keys
from spool.event_headers import HEAD_BYTES, MAX_HEADERS_BYTES, head_of, sent_headers
from spool.records import Settlement
from spool.states import Place, RecipientState
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import a_message, open_test_spool

SENT = b"From: a@example.com\r\nSubject: a\r\n folded\r\n"
ID = "0000-events"
RECEIVED = b"Received: from x ([192.0.2.1])\r\n\tby y with ESMTP\r\n\tid 0000-events; now\r\n"


async def finished(spool: Spool, message_id: str) -> None:
    [claimed] = await spool.claim([message_id], "worker@test")
    assert await spool.settle(Settlement(claimed.lease, number=1, to="done", states=(RecipientState.SENT,)))


@pytest.mark.parametrize("inline", [0, 131072])
async def test_they_are_there_while_the_message_lives_and_after_it(server: RedisServer, tmp_path: Path, inline: int):
    async with open_test_spool(server.url, tmp_path, inline=inline, headers_seconds=60) as spool:
        await spool.accept(a_message(message_id=ID, content=RECEIVED + SENT + b"\r\nbody\r\n\r\nbody"))
        loaded = await spool.load_for_events([ID, "0000-unknown"])
        assert set(loaded) == {ID}
        message, headers, is_truncated = loaded[ID]
        assert (message.place, message.recipients) == (Place.DUE, ("user0@example.net",))
        assert (headers, is_truncated) == (SENT, False)
        fields = await spool.redis.hkeys(keys.message_key(ID))
        assert (b"h" in fields) is (inline == 0), "a waiting content in the spool is there once"

        await finished(spool, ID)
        message, headers, is_truncated = (await spool.load_for_events([ID]))[ID]
        assert (message.place, headers, is_truncated) == (Place.DONE, SENT, False)
        assert not {b"h", b"c"} & set(await spool.redis.hkeys(keys.message_key(ID)))
        assert 50 < await spool.redis.ttl("{ms}:h:" + ID) <= 60
        await spool.redis.delete("{ms}:h:" + ID)
        assert (await spool.load_for_events([ID]))[ID][1:] == (b"", False)


async def test_nought_seconds_keep_nothing_of_a_finished_message(spool: Spool):
    await spool.accept(a_message(message_id=ID, content=RECEIVED + SENT + b"\r\nbody"))
    await finished(spool, ID)
    assert await spool.redis.exists("{ms}:h:" + ID) == 0
    assert (await spool.load_for_events([ID]))[ID][1:] == (b"", False)


async def test_a_full_server_keeps_none_of_what_is_finished_and_a_repeat_is_known_all_the_same(
    server: RedisServer, tmp_path: Path
):
    async with open_test_spool(server.url, tmp_path, headers_seconds=60) as spool:
        await spool.accept(a_message(message_id=ID, content=RECEIVED + SENT + b"\r\nbody"))
        [claimed] = await spool.claim([ID], "worker@test")
        told = Settlement(claimed.lease, number=1, states=(RecipientState.SENT,), counts={"sent_recipients": 1})
        assert await spool.settle(told)
        spool.is_full = True
        assert await spool.settle(told)
        assert await spool.redis.hget(keys.COUNTERS, "sent_recipients") == b"1"
        assert await spool.settle(Settlement(claimed.lease, number=2, to="done", states=(RecipientState.SENT,)))
        assert await spool.redis.exists("{ms}:h:" + ID) == 0


async def test_a_dropped_message_leaves_its_headers_too(server: RedisServer, tmp_path: Path):
    async with open_test_spool(server.url, tmp_path, headers_seconds=60) as spool:
        await spool.accept(a_message(message_id=ID, content=RECEIVED + SENT + b"\r\nbody"))
        [claimed] = await spool.claim([ID], "worker@test")
        await spool.settle(Settlement(claimed.lease, number=1, to="held", reason="x"))
        message = await spool.load(ID)
        assert message is not None
        assert await spool.drop(message, [RecipientState.DROPPED], reason="x", counts={})
        assert (await spool.load_for_events([ID]))[ID][1] == SENT


@pytest.mark.parametrize("inline", [0, 131072])
async def test_long_ones_are_cut_behind_a_whole_field(server: RedisServer, tmp_path: Path, inline: int):
    many = b"".join(b"X-%05d: %s\r\n\tfolded\r\n" % (n, b"y" * 100) for n in range(200))
    async with open_test_spool(server.url, tmp_path, inline=inline, headers_seconds=60) as spool:
        await spool.accept(a_message(message_id=ID, content=RECEIVED + many + b"\r\nbody"))
        for is_finished in (False, True):
            if is_finished:
                await finished(spool, ID)
            _, headers, is_truncated = (await spool.load_for_events([ID]))[ID]
            assert is_truncated
            assert many.startswith(headers)
            assert headers.endswith(b"folded\r\n")
            assert MAX_HEADERS_BYTES - 130 < len(headers) <= MAX_HEADERS_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header at all",
        b"\r\n\r\nbody",
        SENT,
        SENT + b"\r\n",
        b"X: " + b"y" * 20_000 + b"\r\n\r\nbody",
        SENT + b"X: " + b"y" * (HEAD_BYTES - len(SENT) - 5) + b"\r\n\r\nbody",
        SENT + b"X: " + b"y" * (HEAD_BYTES - len(SENT) - 7) + b"\r\n\r\nbody",
    ],
)
async def test_the_script_cuts_as_the_spool_does(spool: Spool, content: bytes):
    await spool.accept(a_message(message_id=ID, content=content))
    assert (await spool.load_for_events([ID]))[ID][1:] == sent_headers(head_of(content), ID)
