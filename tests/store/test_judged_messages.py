"""What rules decided lives with the message, through leases, repeats and crashes, and the accounting stays true."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from aws_api.admin.ends import end_of
from sending_events.records import EventRecord
from spool import keys
from spool.environment import claim_environment
from spool.operator import touch, walk
from spool.orphans import collect_orphans
from spool.records import Message, Settlement
from spool.send_parameters import SendParameters
from spool.states import IN_LANE, Happening, Place, RecipientState
from spool.store import Claimed, Spool
from spool.verdicts import Decision, FunctionCall, Part, Verdict
from tests.store.messages import a_message, accepted_and_claimed, an_intent, end_lease, events_of, numbers
from tests.store.taking import ROUTE, a_seat, lane_numbers

VERDICT = Verdict(
    "c0ffee",
    decisions=(Decision("DROP", (0,), "spam", "sender x"), Decision("BOUNCE", (1,), "no", "", "Go away: ü")),
    parts=(Part((2, 3), lane="bulk", headers=(("X-Team", "a"),)), Part((4,))),
    added=("tee@example.org", "more@example.org"),
    replaced={2: "other@example.org"},
)
RECIPIENTS = ("user0@example.net", "user1@example.net", "other@example.org", "tee@example.org", "more@example.org")


def judged(message: Message) -> Message:
    return message.judged(VERDICT).having((0,), Happening.DROPPED).having((1,), Happening.BOUNCED)


def first_settlement(claimed: Claimed, **more: object) -> Settlement:
    message = judged(claimed.message)
    added = len(message.states) - len(claimed.message.states)
    return Settlement(
        claimed.lease,
        number=1,
        states=message.states,
        verdict=VERDICT,
        counts={"accepted_recipients": added, "dropped_recipients": 1, "rejected_recipients": 1},
        **more,  # type: ignore[arg-type]
    )


async def loaded(spool: Spool, message_id: str) -> Message:
    message = await spool.load(message_id)
    assert message is not None
    return message


async def the_accounting(spool: Spool, message_id: str) -> tuple[int, Counter[str]]:
    """What the counters say was accepted, and the states of everybody."""
    counters = await numbers(spool.redis, keys.COUNTERS)
    return counters["accepted_recipients"], Counter("".join((await loaded(spool, message_id)).states))


async def test_a_verdict_comes_back_with_its_message(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    assert await spool.settle(first_settlement(claimed))
    message = await loaded(spool, claimed.lease.message_id)
    assert message.verdict == VERDICT
    assert (message.recipients, "".join(message.states)) == (RECIPIENTS, "DRwww")
    assert message.envelope == tuple(f"user{number}@example.net" for number in range(3))
    summary = (await spool.load_summaries([message.message_id]))[message.message_id]
    assert (summary.recipients, summary.verdict) == (RECIPIENTS, VERDICT)
    [[seen]] = [page async for page in walk(spool, Place.LEASED) if page]
    assert (seen.recipients, seen.states) == (RECIPIENTS, message.states)


async def test_the_accounting_counts_who_was_added_once(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    settlement = first_settlement(claimed)
    for _ in range(3):  # its answer did not arrive
        assert await spool.settle(settlement)
    assert await the_accounting(spool, claimed.lease.message_id) == (5, Counter("DRwww"))
    states = judged(claimed.message).having((2, 3, 4), Happening.ATTEMPT_STARTED)
    attempt = replace(an_intent(1, (2, 3, 4)), outcome="accepted", ses_message_id="ses-1", ended_at_ms=1)
    sent = states.having((2, 3, 4), Happening.ACCEPTED).states
    done = Settlement(claimed.lease, 2, "done", states=sent, attempts=(attempt,), counts={"sent_recipients": 3})
    assert await spool.settle(done)
    accepted, states_now = await the_accounting(spool, claimed.lease.message_id)
    counters = await numbers(spool.redis, keys.COUNTERS)
    ends = ("sent_recipients", "rejected_recipients", "dropped_recipients")
    assert accepted == sum(counters[one] for one in ends) == sum(states_now.values())
    assert (await loaded(spool, claimed.lease.message_id)).verdict == VERDICT, "its story is kept"


async def test_a_settlement_without_a_verdict_leaves_the_verdict_alone(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    assert await spool.settle(first_settlement(claimed))
    states = judged(claimed.message).having((2,), Happening.ATTEMPT_STARTED).states
    assert await spool.settle(Settlement(claimed.lease, 2, states=states, attempts=(an_intent(1, (2,)),)))
    message = await loaded(spool, claimed.lease.message_id)
    assert (message.verdict, "".join(message.states)) == (VERDICT, "DRsww")


async def test_the_next_holder_gets_the_verdict(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    assert await spool.settle(first_settlement(claimed))
    await end_lease(spool.redis, claimed.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    [next_] = await spool.claim([claimed.lease.message_id], "next")
    assert (next_.message.verdict, next_.message.recipients) == (VERDICT, RECIPIENTS)
    answered = replace(VERDICT, added=(*VERDICT.added, "third@example.org"))
    message = next_.message.judged(answered)
    counts = {"accepted_recipients": 1}
    assert await spool.settle(
        Settlement(next_.lease, 1, "parked", 60, states=message.states, verdict=answered, counts=counts)
    )
    assert await the_accounting(spool, message.message_id) == (6, Counter("DRwwww"))
    assert (await loaded(spool, message.message_id)).recipients == (*RECIPIENTS, "third@example.org")


async def test_a_holder_whose_lease_is_lost_writes_no_verdict_and_adds_nobody(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    await end_lease(spool.redis, claimed.lease.message_id)
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    assert not await spool.settle(first_settlement(claimed, events=(b"{}",)))
    message = await loaded(spool, claimed.lease.message_id)
    assert (message.verdict, len(message.states)) == (None, 3)
    assert await the_accounting(spool, message.message_id) == (3, Counter("www"))
    assert b"{}" not in await events_of(spool.redis)


async def test_a_verdict_without_states_or_that_cannot_be_encoded_is_refused_before_anything_is_written(spool: Spool):
    first, second = [await accepted_and_claimed(spool, recipients=3) for _ in range(2)]
    broken = replace(VERDICT, added=("tee\udc80@example.org",))
    states = first.message.judged(broken).states
    answers = await asyncio.gather(
        spool.settle(Settlement(first.lease, 1, verdict=VERDICT)),
        spool.settle(Settlement(first.lease, 1, verdict=broken, states=states)),
        spool.settle(first_settlement(second)),
        return_exceptions=True,
    )
    assert [type(one) for one in answers] == [AssertionError, TypeError, bool]
    assert (await loaded(spool, first.lease.message_id)).verdict is None
    assert (await loaded(spool, second.lease.message_id)).verdict == VERDICT


async def test_an_operator_gives_up_a_message_with_added_recipients(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    assert await spool.settle(replace(first_settlement(claimed), to="held", reason="why"))
    message = await loaded(spool, claimed.lease.message_id)
    end = end_of(message, 1)
    assert await spool.drop(message, end.states, reason="given up", events=end.events, counts=end.counts)
    accepted, states = await the_accounting(spool, message.message_id)
    counters = await numbers(spool.redis, keys.COUNTERS)
    assert (accepted, states) == (5, Counter("DRDDD"))
    assert accepted == counters["rejected_recipients"] + counters["dropped_recipients"]


async def test_only_those_who_want_the_turn_are_counted_in_the_lane(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    settlement = replace(first_settlement(claimed), to="lane", seat=a_seat(), reason=IN_LANE, queued=2)
    assert await spool.settle(settlement)
    assert (await lane_numbers(spool))[f"{ROUTE}:express:recipients"] == 2
    assert await spool.release([claimed.lease.message_id]) == [True]
    assert await lane_numbers(spool) == {}


async def test_never_more_are_counted_in_the_lane_than_wait(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=3)
    settlement = replace(first_settlement(claimed), to="lane", seat=a_seat(), reason=IN_LANE, queued=500)
    assert await spool.settle(settlement)
    assert (await lane_numbers(spool))[f"{ROUTE}:express:recipients"] == 3


class TestUpdatedContents:
    """What functions made of a message."""

    @staticmethod
    def files(folder: Path) -> set[str]:
        return {path.name for path in (folder / "content").glob("??/*")}

    @staticmethod
    def made_old(folder: Path) -> None:
        for path in (folder / "content").glob("??/*"):
            os.utime(path, (time.time() - 7200,) * 2)

    async def updated(self, spool: Spool) -> tuple[Claimed, Verdict]:
        """A leased message with two updated contents that its verdict names, and one that it does not."""
        claimed = await accepted_and_claimed(spool, recipients=3, content=b"x" * 200_000)
        id_ = claimed.lease.message_id
        one, two = await spool.update_content(id_, b"one"), await spool.update_content(id_, b"two")
        await spool.update_content(id_, b"of a try whose answer was lost")
        call = FunctionCall("rule", "f", "sync", "0" * 32, (1,), parts=(Part((1,), content_ref=two, content_bytes=3),))
        verdict = Verdict("1", parts=(Part((0, 2), content_ref=one, content_bytes=3),), calls=(call,))
        assert await spool.settle(Settlement(claimed.lease, 1, states=claimed.message.states, verdict=verdict))
        return claimed, verdict

    async def test_they_are_kept_beside_the_content_and_come_back(self, spool: Spool, tmp_path: Path):
        claimed, verdict = await self.updated(spool)
        assert await spool.contents.get(verdict.parts[0].content_ref) == b"one"
        assert await spool.content_of(claimed.message) == b"x" * 200_000
        assert await spool.update_content(claimed.lease.message_id, b"one") == verdict.parts[0].content_ref
        assert len(self.files(tmp_path)) == 4

    async def test_they_go_with_the_end_of_the_message(self, spool: Spool, tmp_path: Path):
        claimed, _ = await self.updated(spool)
        await claim_environment(spool.redis, "")
        assert await spool.settle(Settlement(claimed.lease, 2, "done"))
        await spool.forget_content(await loaded(spool, claimed.lease.message_id))
        assert len(self.files(tmp_path)) == 1, "only what no verdict names is left to the collector"
        await spool.contents.set_mark((await claim_environment(spool.redis, "")).id)
        self.made_old(tmp_path)
        assert await collect_orphans(spool, now=time.time()) == 1
        assert self.files(tmp_path) == set()

    @pytest.mark.parametrize("to", [None, "parked", "held", "due"])
    async def test_the_collector_leaves_them_to_an_unfinished_message(self, spool: Spool, tmp_path: Path, to: str):
        claimed, _ = await self.updated(spool)
        assert await spool.settle(Settlement(claimed.lease, 2, to, after_seconds=60))
        await claim_environment(spool.redis, "")
        self.made_old(tmp_path)
        assert await collect_orphans(spool, now=time.time()) == 0
        assert len(self.files(tmp_path)) == 4

    async def test_they_go_when_the_operator_gives_the_message_up(self, spool: Spool, tmp_path: Path):
        claimed, _ = await self.updated(spool)
        assert await spool.settle(Settlement(claimed.lease, 2, "held"))
        message = await loaded(spool, claimed.lease.message_id)
        end = end_of(message, 1)
        assert await spool.drop(message, end.states, reason="given up", counts=end.counts)
        assert len(self.files(tmp_path)) == 1


async def test_a_verdict_that_cannot_be_read_is_the_trouble_of_its_message_alone(spool: Spool):
    claimed = [await accepted_and_claimed(spool, recipients=2) for _ in range(2)]
    broken, sound = (one.lease.message_id for one in claimed)
    await spool.redis.hset(keys.message_key(broken), "v", b'{"version":"1","decisions":[{"newer":1}]}')
    for one in claimed:
        assert await spool.settle(Settlement(one.lease, 1, to="due", states=one.message.states))
    again = {one.lease.message_id: one for one in await spool.claim([broken, sound], "another worker")}
    assert (again[broken].message.is_verdict_unreadable, again[sound].message.is_verdict_unreadable) == (True, False)
    summaries = await spool.load_summaries([broken, sound])
    assert summaries[broken].recipients == summaries[sound].recipients == ("user0@example.net", "user1@example.net")
    shown = await loaded(spool, broken)
    assert (shown.verdict, shown.recipients) == (None, shown.envelope)
    held = Settlement(again[broken].lease, 1, to="held", reason="x", states=shown.states)
    assert await spool.settle(held)
    dropped = (RecipientState.DROPPED,) * 2
    assert await spool.drop(await loaded(spool, broken), dropped, reason="x", counts={})


async def test_a_hold_is_told_once_for_each_configuration_set(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=4, parameters=SendParameters(configuration_set="own"))
    verdict = Verdict("v", parts=(Part((1, 3), configuration_set="rule"), Part((2,), lane="bulk")))
    states = tuple(map(RecipientState, "wwSw"))
    settlement = Settlement(claimed.lease, 1, to="parked", after_seconds=60, states=states, verdict=verdict)
    assert await spool.settle(settlement)
    assert await touch(spool.redis, "hold", [claimed.lease.message_id]) == ["done"]
    held = [EventRecord.decode(raw) for raw in await events_of(spool.redis) if b'"held"' in raw]
    assert sorted((one.configuration_set, one.recipients) for one in held) == [("own", (0,)), ("rule", (1, 3))]


async def test_a_hold_of_a_message_without_a_set_is_told_once(spool: Spool):
    message = a_message(recipients=2)
    await spool.accept(message)
    await touch(spool.redis, "hold", [message.message_id])
    [held] = [EventRecord.decode(raw) for raw in await events_of(spool.redis) if b'"held"' in raw]
    assert (held.configuration_set, held.recipients) == ("", (0, 1))
