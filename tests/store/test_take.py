"""The recipients of a call are taken with its intent, or nothing is written."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from spool import keys
from spool.records import Settlement
from spool.sending_quota import Denied, Granted, Lost, RouteFact, RouteLimits, Take
from spool.store import Spool
from tests.servers import RedisServer
from tests.store.messages import (
    accepted_and_claimed,
    an_intent,
    end_lease,
    events_of,
    numbers,
    open_test_spool,
)
from tests.store.taking import (
    ROUTE,
    UNLIMITED,
    a_seat,
    in_time,
    intended,
    limits,
    now_ms,
    put_off,
    queued,
    set_route,
    taken,
    view,
    with_lanes,
)


async def test_without_a_limit_every_call_passes(spool: Spool):
    for _ in range(20):
        assert await taken(spool, UNLIMITED, 50) == Granted()
    shown = await view(spool, UNLIMITED)
    assert (shown.rate, shown.sent_last_24_hours) == (float("inf"), 1000)


async def test_a_call_passes_with_one_token_and_its_debt_is_silence(spool: Spool):
    slow = limits(1)
    assert await taken(spool, slow, 50) == Granted()
    denied = await taken(spool, slow, 1)
    assert isinstance(denied, Denied)
    assert denied.why == "rate"
    assert 40_000 < denied.wait_ms <= 50 / 0.95 * 1000


async def test_after_the_wait_that_was_told_a_call_passes(spool: Spool):
    slow, bucket = limits(1), keys.route_key(ROUTE)
    claimed = await accepted_and_claimed(spool)
    assert await taken(spool, slow, 50) == Granted()
    denied = await intended(spool, claimed, a_seat(), slow)
    assert isinstance(denied, Denied)
    assert 0 < denied.wait_ms <= 50 / 0.95 * 1000
    await spool.redis.hincrbyfloat(bucket, "bt", -denied.wait_ms / 2)  # as if half of the time had passed
    assert isinstance(await intended(spool, claimed, a_seat(), slow), Denied)
    await spool.redis.hincrbyfloat(bucket, "bt", -denied.wait_ms / 2)
    assert await intended(spool, claimed, a_seat(), slow) == Granted()


async def test_a_denied_intent_writes_nothing_and_may_be_asked_for_again(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=2)
    route = limits(1)
    assert await taken(spool, route, 50) == Granted()
    key = keys.message_key(claimed.lease.message_id)
    before = await spool.redis.hgetall(key), await events_of(spool.redis), await numbers(spool.redis, keys.COUNTERS)
    fact = RouteFact("trouble", ROUTE, "AccountSendingPausedException")
    settlement = Settlement(
        claimed.lease, number=1, attempts=(an_intent(),), events=(b"{}",), counts={"x": 1}, facts=(fact,), rounds=3
    )
    take = Take(a_seat(), 2, route)
    assert isinstance(await spool.intend(settlement, take), Denied)
    after = await spool.redis.hgetall(key), await events_of(spool.redis), await numbers(spool.redis, keys.COUNTERS)
    assert after == before
    assert (await view(spool, route)).trouble is None
    await set_route(spool, c=3)
    assert await spool.intend(settlement, take) == Granted()
    assert (await numbers(spool.redis, keys.COUNTERS))["x"] == 1


async def test_a_granted_intent_sent_again_takes_once(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=30)
    for _ in range(3):
        assert await intended(spool, claimed, a_seat(), limits(10), 30) == Granted()
    assert (await view(spool, limits(10))).sent_last_24_hours == 30


async def test_a_lost_lease_takes_nothing(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=30)
    await end_lease(spool.redis, claimed.lease.message_id)
    assert await intended(spool, claimed, a_seat(), limits(10), 30) == Lost()
    assert (await view(spool, limits(10))).sent_last_24_hours == 0


async def test_settlements_of_one_group_are_granted_and_denied_one_by_one(spool: Spool):
    claimed = [await accepted_and_claimed(spool) for _ in range(6)]
    await spool.gate([limits(6)], limit=0)
    await set_route(spool, c=2)
    answers = await asyncio.gather(*(intended(spool, one, a_seat(), limits(6)) for one in claimed))
    assert [type(one) for one in answers] == [Granted] * 2 + [Denied] * 4
    assert (await view(spool, limits(6))).sent_last_24_hours == 2


async def test_four_clients_at_once_never_take_more_than_the_rate_allows(server: RedisServer, tmp_path: Path):
    route, rate = limits(1000, -1, ("express", 100)), 1000 * 0.99
    async with AsyncExitStack() as stack:
        spools = [await stack.enter_async_context(open_test_spool(server.url, tmp_path)) for _ in range(4)]
        begun, log = time.monotonic(), []
        await spools[0].gate([route], limit=0)  # the clock of the bucket begins here

        async def client(spool: Spool, recipients: int) -> None:
            claimed, number = await accepted_and_claimed(spool, recipients=recipients), 0
            while sum(taken for _, taken in log) < 2 * rate:
                number += 1
                attempt = an_intent(1, tuple(range(recipients)))
                intent = Settlement(claimed.lease, number=number, attempts=(attempt,))
                answer = await spool.intend(intent, Take(a_seat(), recipients, route))
                if isinstance(answer, Denied):
                    assert answer.why == "rate"
                    await asyncio.sleep(answer.wait_ms / 1000)
                else:
                    log.append((time.monotonic(), recipients))

        async with asyncio.timeout(90):  # clients that only wait would keep any limit
            await asyncio.gather(*(client(spool, recipients) for spool in spools for recipients in (1, 7, 23)))
        total = 0
        for at, recipients in sorted(log):
            total += recipients
            # the first token, what flowed in until the answer came, and the debt of one call
            assert total <= 1 + rate * (at - begun) + 22
        assert (await view(spools[0], route)).sent_last_24_hours == total


async def test_a_lane_leaves_the_others_what_its_share_leaves(spool: Spool):
    route = limits(100, -1, ("express", 100), ("bulk", 50))
    await spool.gate([route], limit=0)
    await set_route(spool, c=50, c_bulk=0.5)
    denied = await taken(spool, route, 1, a_seat("bulk"))
    assert isinstance(denied, Denied)
    assert denied.why == "rate"
    assert await taken(spool, route, 1, a_seat("express")) == Granted()


async def test_a_lane_after_the_first_does_not_take_the_last_tokens(spool: Spool):
    route = with_lanes(limits(20), ("express", 100), ("bulk", 80))
    await spool.gate([route], limit=0)
    await set_route(spool, c=2, c_bulk=5)
    denied = await taken(spool, route, 1, a_seat("bulk"))
    assert isinstance(denied, Denied)
    assert denied.why == "rate"
    assert await taken(spool, route, 1, a_seat("express")) == Granted()


@pytest.mark.parametrize("rate", [12.3, 13.7, 31.9, 77.77])
async def test_a_full_bucket_passes_a_lane_that_waits_for_all_of_it(spool: Spool, rate: float):
    route = limits(rate, -1, ("express", 100), ("bulk", 10))
    await view(spool, route)
    await spool.redis.hset(keys.route_key(ROUTE), "bt", await now_ms(spool) - 60_000)
    assert await taken(spool, route, seat=a_seat("bulk")) == Granted()


async def test_whoever_finds_somebody_waiting_in_its_lane_or_one_before_it_joins_the_queue(spool: Spool):
    await queued(spool, a_seat("express", "bob"))
    assert await taken(spool, UNLIMITED, 1, a_seat("express")) == Denied("queue", 0)
    assert await taken(spool, UNLIMITED, 1, a_seat("bulk")) == Denied("queue", 0)
    await spool.gate([UNLIMITED], limit=10)
    await queued(spool, a_seat("bulk", "bob"))
    assert await taken(spool, UNLIMITED, 1, a_seat("express")) == Granted()


@pytest.mark.parametrize("scope", ["all", f"route:{ROUTE}", "lane:express", "user:alice"])
async def test_nothing_is_granted_while_an_operator_pauses_it(spool: Spool, scope: str):
    await spool.redis.hset(keys.PAUSES, scope, '{"until":0,"since":1,"why":"x","by":"me"}')
    assert await taken(spool, UNLIMITED) == Denied("paused", 60_000)
    soon = await now_ms(spool) + 50_000
    await spool.redis.hset(keys.PAUSES, scope, f'{{"until":{soon},"since":1,"why":"x","by":"me"}}')
    denied = await taken(spool, UNLIMITED)
    assert isinstance(denied, Denied)
    assert 0 < denied.wait_ms <= 50_000
    await spool.redis.hset(keys.PAUSES, scope, '{"until":1,"since":1,"why":"x","by":"me"}')
    assert await taken(spool, UNLIMITED) == Granted()


async def test_a_pause_of_somebody_else_or_without_sense_stops_nobody(spool: Spool):
    row = '{"until":0,"since":1,"why":"x","by":"me"}'
    for scope in ("user:bob", "lane:bulk", "route:other", "domain:example.net"):
        await spool.redis.hset(keys.PAUSES, scope, row)
    await spool.redis.hset(keys.PAUSES, "all", "no json")
    assert await taken(spool, UNLIMITED) == Granted()


async def test_a_message_that_the_operator_wants_held_makes_no_further_call(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    await spool.redis.hset(keys.message_key(claimed.lease.message_id), "ho", 1)
    assert await intended(spool, claimed, a_seat(), UNLIMITED) == Denied("paused", 0)


class TestRates:
    async def test_without_a_rate_throttle_answers_bring_a_silence_that_grows(self, spool: Spool):
        for longest in (1500, 2100, 3000):
            await _told(spool, RouteFact("throttled", ROUTE))
            await put_off(spool, "cut")
            cut_ms, before_ms = int(await spool.redis.hget(keys.route_key(ROUTE), "cut")), await now_ms(spool)
            denied = await taken(spool, UNLIMITED)
            assert isinstance(denied, Denied)
            assert denied.why == "rate"
            assert before_ms + denied.wait_ms - cut_ms <= longest
            assert await now_ms(spool) + denied.wait_ms - cut_ms > longest * 0.6
            await set_route(spool, cut=await now_ms(spool) - 5000)
        assert await taken(spool, UNLIMITED) == Granted()

    async def test_the_lower_of_sess_rate_and_the_operators_counts(self, spool: Spool):
        for said, cap, effective in ((10, 0, 9.9), (10, 5, 4.95), (10, 50, 9.9), (2, 0, 1.9), (0, 20, 19.8)):
            await spool.note_quota(
                ROUTE, max_send_rate=said, max_24_hour_send=-1, sent_last_24_hours=0, asked_at_ms=await now_ms(spool)
            )
            assert (await view(spool, limits(cap))).rate == pytest.approx(effective)

    async def test_when_ses_does_not_say_and_nobody_else_a_careful_rate_is_taken_and_told(self, spool: Spool):
        await spool.note_quota_error(ROUTE, "AccessDenied")
        shown = await view(spool, limits())
        assert (shown.rate, shown.is_fallback, shown.quota_error) == (pytest.approx(14 * 0.99), True, "AccessDenied")
        shown = await view(spool, limits(30))
        assert (shown.rate, shown.is_fallback) == (pytest.approx(30 * 0.99), False)

    async def test_a_failed_question_does_not_forget_the_last_answer(self, spool: Spool):
        await spool.note_quota(ROUTE, max_send_rate=8, max_24_hour_send=100, sent_last_24_hours=1, asked_at_ms=1)
        await spool.note_quota_error(ROUTE, "timed out")
        shown = await view(spool, limits())
        assert (shown.rate, shown.quota_error) == (pytest.approx(8 * 0.99), "timed out")
        assert (shown.max_send_rate, shown.max_24_hour_send, shown.fetched_at_ms) == (8, 100, 1)

    async def test_one_process_asks_at_a_time(self, spool: Spool):
        asked = await asyncio.gather(*(spool.may_ask_quota(ROUTE, 60) for _ in range(20)))
        assert len([one for one in asked if one]) == 1
        assert await spool.may_ask_quota("other", 60)
        await set_route(spool, ask=await now_ms(spool) - 60_000)
        assert await spool.may_ask_quota(ROUTE, 60)

    async def test_a_throttle_answer_slows_down_and_brings_a_second_of_silence(self, spool: Spool):
        route, fact = limits(100), RouteFact("throttled", ROUTE, "Throttling", "Maximum sending rate exceeded.")

        async def throttled_twice() -> float:
            await spool.redis.delete(keys.route_key(ROUTE))
            await spool.gate([route], limit=0)
            await set_route(spool, c=40)
            await _told(spool, fact)
            assert (await view(spool, route)).factor == pytest.approx(0.75, abs=0.08)
            denied = await taken(spool, route)
            assert isinstance(denied, Denied)
            assert 600 < denied.wait_ms <= 1000
            await _told(spool, fact)
            return (await view(spool, route)).factor

        assert await in_time(spool, throttled_twice, 900) == pytest.approx(0.7, abs=0.03), "once a second at most"
        await set_route(spool, cut=await now_ms(spool) - 1001)
        await _told(spool, fact)
        assert (await view(spool, route)).factor == pytest.approx(0.54, abs=0.08)

    async def test_the_factor_recovers_a_hundredth_a_second_and_never_falls_below_its_floor(self, spool: Spool):
        route = limits(100)
        since_ms = await now_ms(spool) - 20_000
        await set_route(spool, fa=0.5, ft=since_ms)
        factor = (await view(spool, route)).factor
        assert 0.7 <= factor <= 0.5 + (await now_ms(spool) + 1 - since_ms) * 0.01 / 1000
        await set_route(spool, fa=0.5, ft=await now_ms(spool) - 90_000)
        assert (await view(spool, route)).factor == 1
        await set_route(spool, fa=1 / 64, ft=await now_ms(spool))
        await put_off(spool, "ft")  # nothing recovers meanwhile
        await _told(spool, RouteFact("throttled", ROUTE))
        assert float(await spool.redis.hget(keys.route_key(ROUTE), "fa")) == pytest.approx(1 / 64)

    @pytest.mark.parametrize(("kind", "is_given"), [("refused", True), ("ok", True), ("throttled", False)])
    async def test_a_call_that_ses_did_not_take_costs_nearly_nothing(self, spool: Spool, kind, is_given):
        route = limits(10)
        await spool.gate([route], limit=0)
        await set_route(spool, c=4, c_bulk=4, r_express=4, r_bulk=4, s_bulk=4, cut=await now_ms(spool))
        for lane, untouched in (("bulk", {"r:express"}), ("express", {"c:bulk", "s:bulk"})):
            before = await spool.redis.hgetall(keys.route_key(ROUTE))
            assert await taken(spool, route, 50, a_seat(lane)) == Granted()
            await _told(spool, RouteFact(kind, ROUTE, "X", recipients=50, lanes=route.lanes_from(lane)))
            after = await spool.redis.hgetall(keys.route_key(ROUTE))
            for field in ("c", "c:bulk", "r:express", "r:bulk", "s:bulk"):
                cost = 0 if field in untouched else 0.1 if is_given else 50
                change = float(before[field.encode()]) - float(after[field.encode()])
                assert change == pytest.approx(cost, abs=0.05), field
            if not is_given:
                break

    async def test_what_is_given_back_never_makes_more_than_the_bucket_holds(self, spool: Spool):
        await spool.gate([limits(10)], limit=0)
        await set_route(spool, c=4.5)
        await _told(spool, RouteFact("refused", ROUTE, "X", recipients=50, lanes=("express", "bulk")))
        assert float(await spool.redis.hget(keys.route_key(ROUTE), "c")) == pytest.approx(4.95, abs=0.06)


async def _as_if_later(spool: Spool, seconds: int) -> None:
    """For the mark of the recipients so far: it was made so long ago."""
    await set_route(spool, mt=await now_ms(spool) - 1000 * seconds)


async def _sent_as_ses_says(spool: Spool, route: RouteLimits, sent: float) -> float:
    """SES is asked now and says so many; what we reckon with."""
    asked = await spool.may_ask_quota(ROUTE, 0)
    await spool.note_quota(ROUTE, max_send_rate=0, max_24_hour_send=200, sent_last_24_hours=sent, asked_at_ms=asked)
    return (await view(spool, route)).sent_last_24_hours


async def _told(spool: Spool, *facts: RouteFact) -> None:
    claimed = await accepted_and_claimed(spool)
    assert await spool.settle(Settlement(claimed.lease, number=1, to="due", facts=facts))


async def _probe_comes(spool: Spool, seconds: int, since_ms: int) -> None:
    """So long after an instant between that one and now."""
    trouble = (await view(spool, UNLIMITED)).trouble
    assert trouble is not None
    assert since_ms <= trouble.probe_at_ms - seconds * 1000 <= await now_ms(spool)


class TestDailyQuota:
    async def test_a_call_passes_while_less_is_used_than_the_limit(self, spool: Spool):
        route = limits(0, 100)
        assert await taken(spool, route, 99) == Granted()
        assert await taken(spool, route, 1) == Granted()
        assert await taken(spool, route, 1) == Denied("daily quota", 60_000)
        shown = await view(spool, route)
        assert (shown.daily_ended, shown.sent_last_24_hours, shown.daily_limit) == (True, 100, 100)

    async def test_a_lane_never_takes_the_share_of_the_others(self, spool: Spool):
        route = limits(0, 100)
        assert await taken(spool, route, 80, a_seat("bulk")) == Granted()
        assert await taken(spool, route, 1, a_seat("bulk")) == Denied("daily quota", 60_000)
        assert await taken(spool, route, 20, a_seat("express")) == Granted()

    async def test_mail_of_other_senders_of_the_account_counts(self, spool: Spool):
        route = limits()
        assert await taken(spool, route, 10) == Granted()
        await set_route(spool, mt=1)  # that call has ended
        asked = await spool.may_ask_quota(ROUTE, 60)
        assert asked
        assert await taken(spool, route, 5) == Granted()
        await spool.note_quota(ROUTE, max_send_rate=0, max_24_hour_send=200, sent_last_24_hours=190, asked_at_ms=asked)
        assert (await view(spool, route)).sent_last_24_hours == 195, "and what was taken since the question"
        assert await taken(spool, route, 5) == Granted()
        assert isinstance(await taken(spool, route, 1), Denied)
        await set_route(spool, at=asked - 200_000)  # a figure of yesterday says nothing
        assert (await view(spool, route)).sent_last_24_hours == 20

    async def test_calls_that_may_be_under_way_when_ses_is_asked_count_besides_its_figure(self, spool: Spool):
        route = limits()
        assert await taken(spool, route, 10) == Granted()
        assert await _sent_as_ses_says(spool, route, 0) == 10, "SES has not seen it yet"
        await _as_if_later(spool, 5)
        assert await taken(spool, route, 5) == Granted()
        assert await _sent_as_ses_says(spool, route, 10) == 25, "the ten are a few seconds old"
        await _as_if_later(spool, 5)
        assert await taken(spool, route, 1) == Granted()
        assert await _sent_as_ses_says(spool, route, 16) == 22, "of the ten it is sure that they have ended"
        await _as_if_later(spool, 10)
        assert await _sent_as_ses_says(spool, route, 16) == 16, "all have"

    async def test_a_call_that_was_refused_hides_none_that_is_under_way(self, spool: Spool):
        route = limits()
        assert await taken(spool, route, 50) == Granted()
        await _as_if_later(spool, 5)
        assert await taken(spool, route, 1) == Granted()
        await _told(spool, RouteFact("refused", ROUTE, "X", recipients=50, lanes=("express", "bulk")))
        assert await taken(spool, route, 49) == Granted()
        await _as_if_later(spool, 5)
        assert await _sent_as_ses_says(spool, route, 0) == 50

    async def test_a_clock_that_was_set_back_hides_nothing_and_counts_nothing_twice_for_long(self, spool: Spool):
        route = limits()
        assert await taken(spool, route, 10) == Granted()
        await _as_if_later(spool, -3600)
        assert await taken(spool, route, 5) == Granted()
        assert await _sent_as_ses_says(spool, route, 0) == 15
        await _as_if_later(spool, 10)
        assert await _sent_as_ses_says(spool, route, 15) == 15

    async def test_minus_one_is_no_limit_and_the_operators_cap_still_counts(self, spool: Spool):
        asked = await now_ms(spool)
        await spool.note_quota(ROUTE, max_send_rate=0, max_24_hour_send=-1, sent_last_24_hours=10**6, asked_at_ms=asked)
        assert await taken(spool, limits(), 50) == Granted()
        assert isinstance(await taken(spool, limits(0, 1000), 50), Denied)

    async def test_an_answer_to_an_earlier_question_is_not_taken(self, spool: Spool):
        asked = await spool.may_ask_quota(ROUTE, 60)
        assert asked
        await spool.note_quota(
            ROUTE, max_send_rate=1, max_24_hour_send=1, sent_last_24_hours=1, asked_at_ms=asked - 70_000
        )
        assert (await view(spool, limits())).fetched_at_ms == 0

    async def test_what_is_older_than_a_day_does_not_count(self, spool: Spool):
        route, minute = limits(0, 100), await now_ms(spool) // 60_000
        # Not at the border itself: the next minute may begin here.
        await spool.redis.hset(f"{{ms}}:sent:{ROUTE}", mapping={minute - 1441: 60, minute - 1439: 30, minute - 1: 9})
        await set_route(spool, day=99, tail=minute - 1441)
        assert (await view(spool, route)).sent_last_24_hours == 39
        assert await spool.redis.hlen(f"{{ms}}:sent:{ROUTE}") == 2
        await set_route(spool, tail=minute - 5000)
        assert (await view(spool, route)).sent_last_24_hours == 0
        assert await spool.redis.hlen(f"{{ms}}:sent:{ROUTE}") == 0

    async def test_recipients_that_ses_did_not_take_are_given_back(self, spool: Spool):
        assert await taken(spool, UNLIMITED, 50) == Granted()
        await _told(spool, RouteFact("unreachable", ROUTE, recipients=50))
        assert (await view(spool, UNLIMITED)).sent_last_24_hours == 0

    async def test_a_refused_call_uses_no_quota_and_changes_nothing_else(self, spool: Spool):
        route = limits(0, 40)
        for _ in range(5):
            assert await taken(spool, route, 40) == Granted()
            await _told(spool, RouteFact("refused", ROUTE, "MessageRejected", recipients=40, lanes=("express", "bulk")))
            shown = await view(spool, route)
            assert (shown.sent_last_24_hours, shown.trouble, shown.daily_ended) == (0, None, False)

    async def test_ses_is_believed_at_once_that_the_quota_has_ended(self, spool: Spool):
        fact = RouteFact("daily", ROUTE, "Throttling", "Daily message quota exceeded.")
        await _told(spool, fact)
        denied = await taken(spool, UNLIMITED)
        assert isinstance(denied, Denied)
        assert denied.why == "daily quota"
        assert 50_000 < denied.wait_ms <= 60_000
        await _told(spool, fact)
        assert (await view(spool, UNLIMITED)).daily_until_ms <= await now_ms(spool) + 60_000, "calls under way"
        for seconds in (120, 240, 480, 600, 600):
            await set_route(spool, du=await now_ms(spool) - 1)
            assert not (await view(spool, UNLIMITED)).daily_ended
            await _told(spool, fact)
            wait = (await view(spool, UNLIMITED)).daily_until_ms - await now_ms(spool)
            assert seconds * 700 < wait <= seconds * 1000

    @pytest.mark.parametrize(("later_ms", "sent", "is_over"), [(5, 50, True), (5, 100, False), (-5, 50, False)])
    async def test_a_fresh_figure_below_the_limit_ends_that_belief(self, spool: Spool, later_ms, sent, is_over):
        await _told(spool, RouteFact("daily", ROUTE))
        told_at = int(await spool.redis.hget(keys.route_key(ROUTE), "ds"))
        await spool.note_quota(
            ROUTE, max_send_rate=0, max_24_hour_send=100, sent_last_24_hours=sent, asked_at_ms=told_at + later_ms
        )
        assert ((await view(spool, UNLIMITED)).daily_until_ms == 0) is is_over


class TestTrouble:
    FACT = RouteFact("trouble", ROUTE, "AccountSendingPausedException", "Sending paused for this account.")

    async def test_a_route_in_trouble_grants_nothing_until_the_probe(self, spool: Spool):
        await _told(spool, self.FACT)
        trouble = (await view(spool, UNLIMITED)).trouble
        assert trouble is not None
        assert trouble.probe_at_ms - trouble.since_ms == 5000
        await put_off(spool, "tp")
        denied = await taken(spool, UNLIMITED)
        assert isinstance(denied, Denied)
        assert denied.why == "trouble"
        assert 3_500_000 < denied.wait_ms <= 3_605_000
        assert (trouble.code, trouble.words, trouble.is_account) == (self.FACT.code, self.FACT.words, True)

    async def test_one_probe_is_granted_and_no_other(self, spool: Spool):
        await _told(spool, self.FACT)
        await set_route(spool, tp=await now_ms(spool) - 1, tn=6)  # minutes until the next
        answers = await asyncio.gather(*(taken(spool, UNLIMITED) for _ in range(10)))
        assert [type(one) for one in answers].count(Granted) == 1
        assert {one.why for one in answers if isinstance(one, Denied)} == {"trouble"}

    async def test_the_first_success_ends_it(self, spool: Spool):
        await _told(spool, self.FACT)
        await _told(spool, RouteFact("ok", ROUTE))
        assert (await view(spool, UNLIMITED)).trouble is None
        assert await taken(spool, UNLIMITED) == Granted()
        assert await spool.redis.hexists(keys.route_key(ROUTE), "tp") is False

    async def test_each_failed_probe_doubles_the_distance_and_other_failures_do_not(self, spool: Spool):
        await _told(spool, self.FACT)
        for seconds in (10, 20, 40, 80, 160, 300, 300):
            await set_route(spool, tp=await now_ms(spool) - 1)
            assert await taken(spool, UNLIMITED) == Granted()
            before_ms = await now_ms(spool)
            await _told(spool, self.FACT, self.FACT)
            await _told(spool, self.FACT)
            await _probe_comes(spool, seconds, before_ms)

    async def test_ses_is_out_of_reach_after_five_failures_in_a_row(self, spool: Spool):
        fact = RouteFact("unreachable", ROUTE, "Unreachable", "connection refused")
        await _told(spool, *[fact] * 4)
        await _told(spool, RouteFact("ok", ROUTE))
        await _told(spool, *[fact] * 4)
        assert (await view(spool, UNLIMITED)).trouble is None
        await _told(spool, fact)
        trouble = (await view(spool, UNLIMITED)).trouble
        assert trouble is not None
        assert not trouble.is_account
        for seconds in (2, 4, 8, 16, 30, 30):
            await set_route(spool, tp=await now_ms(spool) - 1)
            assert await taken(spool, UNLIMITED) == Granted()
            before_ms = await now_ms(spool)
            await _told(spool, fact)
            await _probe_comes(spool, seconds, before_ms)

    async def test_a_probe_without_an_answer_counts_as_a_failed_one_when_the_next_is_made(self, spool: Spool):
        fact = RouteFact("unreachable", ROUTE, "TimeoutError", "no answer")
        await _told(spool, *[fact] * 5)
        for seconds in (1, 2, 4, 8, 16, 30, 30):
            before_ms = await now_ms(spool)
            await set_route(spool, tp=before_ms - 1)
            assert await taken(spool, UNLIMITED) == Granted()
            await _probe_comes(spool, seconds, before_ms)

    async def test_a_probe_that_was_answered_otherwise_does_not_make_the_next_one_rarer(self, spool: Spool):
        await _told(spool, self.FACT)
        for _ in range(3):
            await set_route(spool, tp=await now_ms(spool) - 1)
            assert await taken(spool, UNLIMITED) == Granted()
            await _told(spool, RouteFact("refused", ROUTE, "MessageRejected", "bad"))
            trouble = (await view(spool, UNLIMITED)).trouble
            assert trouble is not None
            assert trouble.probe_at_ms - await now_ms(spool) <= 5000

    async def test_a_sender_that_may_not_send_stops_nobody_as_long_as_others_succeed(self, spool: Spool):
        fact = RouteFact("denied", ROUTE, "AccessDenied", "allow it")
        for _ in range(3):
            await _told(spool, *[fact] * 4)
            assert (await view(spool, UNLIMITED)).trouble is None
            await _told(spool, RouteFact("ok", ROUTE))

    async def test_a_permission_that_everybody_lacks_is_the_operators_matter(self, spool: Spool):
        fact = RouteFact("denied", ROUTE, "AccessDenied", "allow it")
        await _told(spool, *[fact] * 5)
        trouble = (await view(spool, UNLIMITED)).trouble
        assert trouble is not None
        assert (trouble.code, trouble.words, trouble.is_account) == ("AccessDenied", "allow it", True)
        assert trouble.probe_at_ms - await now_ms(spool) <= 1000, "perhaps the next sender may"
        await queued(spool, a_seat())
        await view(spool, UNLIMITED)
        await spool.redis.hincrby("{ms}:kept", "at", -5000)  # as if five seconds had gone by
        await view(spool, UNLIMITED)
        assert int(await spool.redis.hget("{ms}:kept", f"route:{ROUTE}")) >= 5000, "no mail grows older by it"
        await _told(spool, RouteFact("unreachable", ROUTE, "Unreachable"))
        shown = (await view(spool, UNLIMITED)).trouble
        assert shown is not None
        assert shown.code == "AccessDenied"
        await _told(spool, self.FACT)
        shown = (await view(spool, UNLIMITED)).trouble
        assert shown is not None
        assert shown.code == self.FACT.code
        await _told(spool, fact)
        shown = (await view(spool, UNLIMITED)).trouble
        assert shown is not None
        assert shown.code == self.FACT.code

    async def test_trouble_of_the_account_is_told_rather_than_a_way_that_fails(self, spool: Spool):
        way = RouteFact("unreachable", ROUTE, "Unreachable")
        await _told(spool, *[way] * 5)
        await _told(spool, self.FACT)
        await _told(spool, way)
        trouble = (await view(spool, UNLIMITED)).trouble
        assert trouble is not None
        assert (trouble.code, trouble.is_account) == (self.FACT.code, True)
