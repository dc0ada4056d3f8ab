"""Figures of senders on a server: counted in a window, judged, and what follows from them."""

import asyncio

import orjson
import pytest

from config.event_settings import ReputationSettings
from sending_events.operator_acts import OperatorAct
from spool import keys, operator
from spool.reputation import STANDINGS, Reputation, SenderFigures, Standing, read_standings
from spool.sending_quota import Pause
from spool.store import Spool
from tests.store.messages import events_of

SENDER = "news@example.com"
HOUR_MS = 3_600_000


def act_of(pause: Pause) -> bytes:
    return OperatorAct("pause", pause.since_ms, pause.by, scope=(pause.scope,), why=pause.why).encode()


def reputation(spool: Spool, **settings: object) -> Reputation:
    few = {"min_recipients": 10, "min_bounces": 2, "min_complaints": 2, **settings}
    return Reputation(spool.redis, ReputationSettings(**few), act_of)


async def scopes(spool: Spool) -> dict[str, Pause]:
    return {one.scope: one for one in (await operator.read_pauses(spool.redis))[1]}


async def standings(spool: Spool) -> tuple[Standing, ...]:
    at_ms, pauses = await operator.read_pauses(spool.redis)
    return read_standings(await spool.redis.hgetall(STANDINGS), pauses, at_ms)


async def now_ms(spool: Spool) -> int:
    return (await operator.read_pauses(spool.redis))[0]


async def test_a_sender_whose_mail_arrives_stands_well(spool):
    standing = await reputation(spool).note(SENDER, user="", delivered=1000, bounced=1)
    assert (standing.level, standing.figures) == ("well", SenderFigures(1000, 1, 0))
    assert await standings(spool) == ()


async def test_a_sender_is_warned_of_and_then_paused_once(spool):
    watched = reputation(spool)
    assert (await watched.note(SENDER, user="", delivered=97, bounced=3)).level == "warned"
    [warned] = await standings(spool)
    assert (warned.sender, warned.level) == (SENDER, "warned")
    rows = await spool.redis.hgetall(STANDINGS)
    assert read_standings(rows, (), warned.ends_at_ms) == ()  # too old to say anything
    assert await scopes(spool) == {}
    assert (await watched.note(SENDER, user="", bounced=3)).level == "paused"
    pause = (await scopes(spool))[f"user:{SENDER}"]
    assert pause.by == "reputation"
    assert pause.why == "6 of 103 recipients bounced: 5.83 %, limit 5 %"
    assert pause.until_ms == 0
    assert (await watched.note(SENDER, user="", bounced=3)).level == "paused"
    acts = [one for one in await events_of(spool.redis) if b'"pause"' in one]
    assert [orjson.loads(one)["scope"] for one in acts] == [[f"user:{SENDER}"]]


async def test_after_a_resume_it_counts_anew(spool):
    watched = reputation(spool)
    await watched.note(SENDER, user="", delivered=50, bounced=50)
    before_ms = await now_ms(spool)
    assert await operator.resume(spool.redis, [f"user:{SENDER}"], b"{}")
    assert await standings(spool) == ()
    late = await watched.note(SENDER, user="", bounced=5, at_ms=before_ms - 1000)
    assert (late.level, late.figures) == ("well", SenderFigures(0, 0, 0))
    again = await watched.note(SENDER, user="", delivered=30, bounced=1)
    assert (again.level, again.figures) == ("well", SenderFigures(30, 1, 0))
    assert await scopes(spool) == {}
    assert (await watched.note(SENDER, user="", bounced=20)).level == "paused"


async def test_a_pause_of_the_operator_is_left_as_it_is(spool):
    await operator.pause(spool.redis, [Pause(f"user:{SENDER}", 0, 1, "mine", "me@here")], b"{}")
    assert (await reputation(spool).note(SENDER, user="", bounced=50)).level == "paused"
    assert (await scopes(spool))[f"user:{SENDER}"].by == "me@here"


async def test_of_many_notes_side_by_side_one_pauses(spool):
    watched = reputation(spool)
    await watched.note(SENDER, user="", delivered=100, bounced=4)
    await asyncio.gather(*(watched.note(SENDER, user="", bounced=1) for _ in range(40)))
    acts = [orjson.loads(one) for one in await events_of(spool.redis) if b'"pause"' in one]
    assert [one["why"] for one in acts] == [(await scopes(spool))[f"user:{SENDER}"].why]


@pytest.mark.parametrize("is_noted_since", [False, True])
async def test_a_judgement_from_before_a_resume_does_not_undo_it(spool, is_noted_since):
    watched = reputation(spool)
    late = await watched.note(SENDER, user="", bounced=50)
    assert late.level == "paused"
    assert await operator.resume(spool.redis, [f"user:{SENDER}"], b"{}")
    if is_noted_since:
        while await now_ms(spool) <= late.at_ms:
            await asyncio.sleep(0)
        await watched.note(SENDER, user="", delivered=1)
    await watched._act(late)  # as another process would, that judged at the same time
    assert await scopes(spool) == {}
    assert await standings(spool) == ()


async def test_complaints_are_judged_by_limits_of_their_own(spool):
    watched = reputation(spool)
    assert (await watched.note(SENDER, user="", delivered=3000, complained=1)).level == "well"
    assert (await watched.note(SENDER, user="", complained=1)).level == "warned"
    assert (await watched.note(SENDER, user="", complained=2)).level == "paused"


async def test_what_lies_outside_the_window_is_forgotten(spool):
    watched, now = reputation(spool), await now_ms(spool)
    await watched.note(SENDER, user="", bounced=50, at_ms=now - 25 * HOUR_MS)
    standing = await watched.note(SENDER, user="", delivered=1, at_ms=now - 23 * HOUR_MS)
    assert standing.figures == SenderFigures(1, 0, 0)
    # As if a slot had been counted two days ago.
    [key] = await spool.redis.keys("{ms}:reputation:*")
    await spool.redis.hset(key, f"{(now - 48 * HOUR_MS) // 1000}:b", 70)
    assert (await watched.note(SENDER, user="", delivered=1)).figures == SenderFigures(2, 0, 0)
    assert len(await spool.redis.hkeys(key)) == 2
    assert 0 < await spool.redis.pttl(key) <= 49 * HOUR_MS


async def test_a_complaint_about_a_forgotten_message_counts_for_its_user(spool):
    watched = reputation(spool)
    await watched.note("News+tag@example.com", user="shop", delivered=100)
    await watched.note("other@example.com", user="", delivered=100)
    assert (await watched.note("news@example.com", user=None, complained=2)).sender == "shop"
    assert "user:shop" in await scopes(spool)
    assert (await watched.note("other@example.com", user=None, delivered=1)).sender == "other@example.com"


async def test_bounces_and_the_action_off_are_not_counted(spool):
    assert await reputation(spool).note("", user="", bounced=9) is None
    assert await reputation(spool, action="off").note(SENDER, user="", bounced=99) is None
    assert await spool.redis.keys("{ms}:reputation*") == []


async def test_the_action_warn_pauses_nobody(spool):
    assert (await reputation(spool, action="warn").note(SENDER, user="", bounced=99)).level == "warned"
    assert await spool.redis.hgetall(keys.PAUSES) == {}


async def test_a_pause_may_have_an_end(spool):
    await reputation(spool, pause_seconds=600).note(SENDER, user="", bounced=99)
    pause = (await scopes(spool))[f"user:{SENDER}"]
    assert pause.until_ms - pause.since_ms == 600_000


@pytest.mark.parametrize("level", ["warned", "well"])
async def test_a_warning_ends_when_the_figures_are_better(spool, level):
    watched = reputation(spool, action="warn")
    await watched.note(SENDER, user="", delivered=10, bounced=3)
    await watched.note(SENDER, user="", delivered=5 if level == "warned" else 1000)
    assert [one.level for one in await standings(spool)] == (["warned"] if level == "warned" else [])
