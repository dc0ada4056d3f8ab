"""The operator's hand on a server: holds, pauses, drains, and the walk over a place."""

import dataclasses

import orjson
import pytest

from aws_api.admin import pausing
from aws_api.admin.by_filter import Budget, act_on_filter, count_filter
from aws_api.admin.by_id import act_on_ids
from aws_api.admin.filters import Filter
from aws_api.admin.pausing import Scope
from aws_api.admin.who import Who
from config.errors import Refused
from config.settings import Settings
from sending_events.operator_acts import OperatorAct
from sending_events.rendering import decoded
from spool import keys, operator
from spool.records import Message, Settlement
from spool.sending_quota import Pause, RouteLimits, Seat
from spool.states import (
    AWAITS_EVENT,
    HELD_BY_OPERATOR,
    IN_DOUBT,
    IN_LANE,
    NO_ROUTE,
    PAUSED_DOMAIN,
    Place,
    RecipientState,
    awaited_rule,
    awaits_function,
)
from spool.store import Spool
from spool.waits import read_waits
from tests.spooled import beat
from tests.store.messages import a_message, accepted_and_claimed, an_intent, end_lease, events_of, numbers, places_of

WHO = Who("somebody@here", "because")
SEAT = Seat("default", "express", "app@example.com")
LIMITS = RouteLimits("default", lanes=(("express", 100), ("bulk", 80)))
STATES = tuple(map(RecipientState, "Suw"))


async def put(spool: Spool, to: str, *, reason: str = "why", **more: object) -> str:
    """A message in this place; "lane" stands in the lane of SEAT."""
    if to == "due":
        message = a_message(**more)
        await spool.accept(message)
        return message.message_id
    seat = more.pop("seat", SEAT)
    states = more.pop("states", None)
    claimed = await accepted_and_claimed(spool, **more)
    if to == "leased":
        return claimed.message.message_id
    values = {"to": to, "after_seconds": 3600, "reason": reason, "states": states}
    if to == "lane":
        values |= {"seat": seat, "reason": IN_LANE, "after_seconds": 0}
    if to == "held":
        values["after_seconds"] = 0
    assert await spool.settle(Settlement(claimed.lease, 1, **values))
    return claimed.message.message_id


async def loaded(spool: Spool, message_id: str) -> Message:
    message = await spool.load(message_id)
    assert message is not None
    return message


async def acts(spool: Spool) -> list[OperatorAct]:
    """The operator's acts in the stream."""
    found = [decoded(raw) for raw in await events_of(spool.redis) if b'"k":"operator"' in raw]
    return [one for one in found if isinstance(one, OperatorAct)]


# -- holds


@pytest.mark.parametrize("place", ["due", "parked", "lane"])
async def test_a_held_message_leaves_its_place_and_tells_it(spool: Spool, place: str):
    message_id = await put(spool, place, recipients=2)
    assert await operator.touch(spool.redis, "hold", [message_id]) == ["done"]
    message = await loaded(spool, message_id)
    assert (message.place, message.reason, message.seat) == (Place.HELD, HELD_BY_OPERATOR, None)
    assert await places_of(spool.redis, message_id) == {Place.HELD}
    assert await numbers(spool.redis, keys.REASONS) == {f"held:{HELD_BY_OPERATOR}": 1}
    event = orjson.loads((await events_of(spool.redis))[-1])
    assert (event["k"], event["id"], event["r"]) == ("held", message_id, [0, 1])
    assert decoded((await events_of(spool.redis))[-1]).at_ms == event["at"]


async def test_a_leased_message_is_held_when_its_worker_lets_it_go(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    message_id = claimed.message.message_id
    assert await operator.touch(spool.redis, "hold", [message_id]) == ["later"]
    assert await operator.touch(spool.redis, "hold", [message_id]) == ["held"]
    assert (await loaded(spool, message_id)).is_hold_wanted
    assert await spool.settle(Settlement(claimed.lease, 1, "parked", after_seconds=60, reason="throttled"))
    message = await loaded(spool, message_id)
    assert (message.place, message.reason, message.is_hold_wanted) == (Place.HELD, HELD_BY_OPERATOR, False)
    assert orjson.loads((await events_of(spool.redis))[-1])["k"] == "held"


@pytest.mark.parametrize(("max_crashes", "reason"), [(9, HELD_BY_OPERATOR), (1, "workers lost")])
async def test_a_message_whose_worker_dies_is_held_all_the_same_and_a_release_frees_it(
    spool: Spool, max_crashes: int, reason: str
):
    message_id = await put(spool, "leased", recipients=2)
    assert await operator.touch(spool.redis, "hold", [message_id]) == ["later"]
    await end_lease(spool.redis, message_id)
    await spool.sweep(limit=10, max_crashes=max_crashes, nudges=0)
    message = await loaded(spool, message_id)
    assert (message.place, message.reason, message.is_hold_wanted) == (Place.HELD, reason, False)
    assert await numbers(spool.redis, keys.REASONS) == {f"held:{reason}": 1}
    assert (await numbers(spool.redis, keys.COUNTERS))["held_messages"] == 1
    event = orjson.loads((await events_of(spool.redis))[-1])
    assert (event["k"], event["id"], event["r"], event["why"]) == ("held", message_id, [0, 1], reason)
    [said] = await act_on_ids(spool, "release", [message_id], WHO)
    assert said.is_done
    [claimed] = await spool.claim([message_id], "w")
    assert not claimed.message.is_hold_wanted
    assert await spool.settle(Settlement(claimed.lease, 1, "due"))
    assert (await loaded(spool, message_id)).place is Place.DUE


async def test_a_hold_of_a_message_whose_holder_knows_too_little_is_not_lost(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    message_id = claimed.message.message_id
    assert await spool.settle(Settlement(claimed.lease, 1, attempts=(an_intent(),)))
    assert await spool.confirm(message_id, 1, "ses-1", 9) == "noted"
    await operator.touch(spool.redis, "hold", [message_id])
    doubt = dataclasses.replace(an_intent(), outcome="unknown")
    assert not await spool.settle(Settlement(claimed.lease, 2, "due", attempts=(doubt,)))
    message = await loaded(spool, message_id)
    assert (message.place, message.reason, message.is_hold_wanted) == (Place.HELD, HELD_BY_OPERATOR, False)
    assert (await numbers(spool.redis, keys.COUNTERS))["held_messages"] == 1


async def test_a_message_with_a_turn_that_its_holder_gives_back_is_held_without_it(spool: Spool):
    message_id = await put(spool, "lane")
    await spool.gate([LIMITS], limit=10)
    [claimed] = await spool.claim([message_id], "w")
    assert claimed.message.turn > 0
    await operator.touch(spool.redis, "hold", [message_id])
    assert await spool.settle(Settlement(claimed.lease, 2, "due"))
    message = await loaded(spool, message_id)
    assert (message.place, message.turn) == (Place.HELD, 0)


async def test_a_hold_that_is_taken_back_in_time_holds_nothing(spool: Spool):
    claimed = await accepted_and_claimed(spool)
    message_id = claimed.message.message_id
    await operator.touch(spool.redis, "hold", [message_id])
    assert await operator.touch(spool.redis, "free", [message_id]) == ["done"]
    assert await operator.touch(spool.redis, "free", [message_id]) == ["not"]
    assert await spool.settle(Settlement(claimed.lease, 1, "due"))
    assert (await loaded(spool, message_id)).place is Place.DUE


async def test_a_freed_message_is_due_with_its_doubts_and_the_time_does_not_count(spool: Spool):
    message_id = await put(spool, "parked", recipients=3, states=STATES)
    await operator.touch(spool.redis, "hold", [message_id])
    await spool.redis.zincrby(keys.HELD, -5000, message_id)  # as if it had been held for five seconds
    assert await operator.touch(spool.redis, "free", [message_id]) == ["done"]
    message = await loaded(spool, message_id)
    assert (message.place, message.states) == (Place.DUE, STATES)
    assert 5000 <= message.kept_ms < 60_000


async def test_free_touches_only_what_the_operator_held(spool: Spool):
    held = await put(spool, "held", reason=IN_DOUBT)
    assert await operator.touch(spool.redis, "free", [held, "nosuch"]) == ["not", "not"]
    assert (await loaded(spool, held)).place is Place.HELD


@pytest.mark.parametrize("doing", ["retry", "wake"])
async def test_a_parked_message_wakes_and_one_in_a_lane_keeps_its_place(spool: Spool, doing: operator.Doing):
    parked = await put(spool, "parked", recipients=3, states=STATES)
    lane, due, held = await put(spool, "lane"), await put(spool, "due"), await put(spool, "held")
    assert await operator.touch(spool.redis, doing, [parked, lane, due, held]) == ["done", "lane", "not", "not"]
    assert (await loaded(spool, parked)).states == STATES
    assert (await loaded(spool, parked)).is_ask_wanted == (doing == "retry")
    assert (await loaded(spool, lane)).seat == SEAT
    assert not (await loaded(spool, lane)).is_ask_wanted


async def _retried_by_id(spool: Spool, message_id: str) -> None:
    [said] = await act_on_ids(spool, "retry", [message_id], WHO)
    assert said.is_done


async def _released_by_id(spool: Spool, message_id: str) -> None:
    [said] = await act_on_ids(spool, "release", [message_id], WHO)
    assert said.is_done


async def _retried_by_filter(spool: Spool, message_id: str) -> None:
    chosen = Filter(reason=awaits_function("ask"))
    assert (await act_on_filter(spool, "retry", chosen, Budget(), WHO)).messages == 1


async def _released_by_filter(spool: Spool, message_id: str) -> None:
    chosen = Filter(states=("parked",), reason=awaits_function("ask"))
    assert (await act_on_filter(spool, "release", chosen, Budget(), WHO)).messages == 1


async def _held_and_released(spool: Spool, message_id: str) -> None:
    await operator.touch(spool.redis, "hold", [message_id])
    await _released_by_id(spool, message_id)


@pytest.mark.parametrize(
    "act", [_retried_by_id, _released_by_id, _retried_by_filter, _released_by_filter, _held_and_released]
)
async def test_whoever_the_operator_lets_go_on_is_asked_for_at_once_until_its_holder_has_moved_it(spool: Spool, act):
    message_id = await put(spool, "parked", reason=awaits_function("ask"))
    await act(spool, message_id)
    [claimed] = await spool.claim([message_id], "w")
    assert claimed.message.is_ask_wanted
    await end_lease(spool.redis, message_id)  # a worker that dies has not asked
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    [again] = await spool.claim([message_id], "w")
    assert again.message.is_ask_wanted
    assert await spool.settle(Settlement(again.lease, 1, "parked", after_seconds=60, reason=awaits_function("ask")))
    assert not (await loaded(spool, message_id)).is_ask_wanted


async def test_a_message_that_wakes_by_itself_is_not_asked_for_before_its_time(spool: Spool):
    message_id = await put(spool, "parked", reason=awaits_function("ask"))
    await spool.redis.zadd(keys.PARKED, {message_id: 1})
    await spool.sweep(limit=10, max_crashes=9, nudges=0)
    in_lane = await put(spool, "lane")
    assert (await spool.gate([LIMITS], limit=10)).released == (in_lane,)
    for claimed in await spool.claim([message_id, in_lane], "w"):
        assert not claimed.message.is_ask_wanted


async def test_how_many_wait_for_which_rule_and_since_when_is_told(spool: Spool):
    for rule in ("ask", "ask", "other: one"):
        message_id = await put(spool, "parked", reason=awaits_function(rule))
    await spool.redis.hincrby(keys.message_key(message_id), "at", 60_000)
    waits = await read_waits(spool)
    assert [(awaited_rule(one.reason), one.messages) for one in waits] == [("ask", 2), ("other: one", 1)]
    assert waits[1].oldest_at_ms == (await loaded(spool, waits[1].example)).accepted_at_ms
    assert waits[0].oldest_at_ms < waits[1].oldest_at_ms


async def test_a_held_message_that_is_due_loses_its_turn(spool: Spool):
    message_id = await put(spool, "lane")
    assert (await spool.gate([LIMITS], limit=10)).released == (message_id,)
    assert (await loaded(spool, message_id)).turn > 0
    await operator.touch(spool.redis, "hold", [message_id])
    assert (await loaded(spool, message_id)).turn == 0


async def test_holding_and_pausing_work_on_a_full_server(spool: Spool):
    message_id = await put(spool, "due")
    await spool.redis.config_set("maxmemory", 1)
    try:
        assert await operator.touch(spool.redis, "hold", [message_id]) == ["done"]
        await operator.pause(spool.redis, [Pause("all")], b'{"k":"operator"}')
        await operator.tell(spool.redis, b'{"k":"operator"}')
    finally:
        await spool.redis.config_set("maxmemory", 0)
    assert (await operator.read_pauses(spool.redis))[1] == (Pause("all"),)


# -- by id


async def test_every_named_message_gets_its_answer_and_the_act_its_event(spool: Spool):
    due, leased = await put(spool, "due", header_message_id="<a@b>"), await put(spool, "leased")
    held = await put(spool, "held")
    said = await act_on_ids(spool, "hold", ["<a@b>", leased, held, "nosuch"], WHO)
    assert [(one.message_id, one.is_done) for one in said] == [(due, True), (leased, True), (held, False), ("", False)]
    [act] = await acts(spool)
    assert (act.action, act.by, act.why) == ("hold", WHO.by, WHO.why)
    assert (act.message_ids, act.counts) == ((due, leased), {"messages": 2, "recipients": 2})


async def test_an_act_that_changed_nothing_leaves_no_event(spool: Spool):
    assert not (await act_on_ids(spool, "retry", [await put(spool, "due")], WHO))[0].is_done
    assert await acts(spool) == []


async def test_a_release_sends_again_what_was_held_for_its_doubt_and_only_that(spool: Spool):
    doubt = await put(spool, "held", reason=IN_DOUBT, recipients=3, states=STATES)
    own = await put(spool, "parked", recipients=3, states=STATES)
    await operator.touch(spool.redis, "hold", [own])
    assert all(one.is_done for one in await act_on_ids(spool, "release", [doubt, own], WHO))
    assert "".join((await loaded(spool, doubt)).states) == "Sww"
    assert (await loaded(spool, own)).states == STATES


@pytest.mark.parametrize(
    ("to", "reason", "after"),
    [
        ("held", IN_DOUBT, "Sww"),
        ("parked", AWAITS_EVENT, "Sww"),
        ("held", NO_ROUTE, "Suw"),
        ("parked", awaits_function("ask"), "Suw"),
        ("parked", "throttled", "Suw"),
    ],
)
async def test_a_release_for_another_reason_leaves_a_doubt_as_it_is(spool: Spool, to: str, reason: str, after: str):
    message_id = await put(spool, to, reason=reason, recipients=3, states=STATES)
    [said] = await act_on_ids(spool, "release", [message_id], WHO)
    assert said.is_done
    message = await loaded(spool, message_id)
    assert (message.place, "".join(message.states), message.is_ask_wanted) == (Place.DUE, after, True)


async def test_a_release_by_filter_leaves_a_doubt_as_it_is_where_that_was_not_the_reason(spool: Spool):
    message_id = await put(spool, "held", reason=NO_ROUTE, recipients=3, states=STATES)
    assert (await act_on_filter(spool, "release", Filter(reason=NO_ROUTE), Budget(), WHO)).messages == 1
    assert (await loaded(spool, message_id)).states == STATES


async def test_a_due_message_is_cancelled_by_way_of_a_hold(spool: Spool):
    message_id = await put(spool, "due", recipients=2)
    [said] = await act_on_ids(spool, "cancel", [message_id], WHO)
    assert said.words == "dropped, 2 recipients given up"
    kinds = [orjson.loads(raw)["k"] for raw in await events_of(spool.redis)]
    assert kinds == ["accepted", "held", "dropped", "operator"]
    assert (await loaded(spool, message_id)).place is Place.DONE


async def test_a_leased_message_is_not_cancelled(spool: Spool):
    message_id = await put(spool, "leased")
    [said] = await act_on_ids(spool, "cancel", [message_id], WHO)
    assert not said.is_done
    assert "mailsluice hold" in said.words
    assert (await loaded(spool, message_id)).place is Place.LEASED


async def test_what_ses_accepted_is_never_cancelled(spool: Spool):
    claimed = await accepted_and_claimed(spool, recipients=2)
    message_id = claimed.message.message_id
    accepted = dataclasses.replace(
        an_intent(recipients=(0,)), outcome="accepted", ended_at_ms=1_700_000_000_250, ses_message_id="ses-1"
    )
    assert await spool.settle(Settlement(claimed.lease, 1, "held", reason=IN_DOUBT, attempts=(accepted,)))
    [said] = await act_on_ids(spool, "cancel", [message_id], WHO)
    assert said.words == "dropped, 1 recipient given up"
    assert "".join((await loaded(spool, message_id)).states) == "SD"


# -- by filter


async def test_a_dry_run_counts_and_changes_nothing(spool: Spool):
    ids = {await put(spool, "parked", reason="throttled", recipients=3) for _ in range(5)}
    await put(spool, "parked", reason="SES unavailable")
    before = len(await events_of(spool.redis))
    total = await count_filter(spool, "cancel", Filter(reason="THROTTLED"), Budget())
    assert (total.messages, total.recipients, total.is_complete) == (5, 15, True)
    assert total.example in ids
    assert len(await events_of(spool.redis)) == before


async def test_a_filter_of_many_messages_is_walked_in_parts(spool: Spool):
    ids = [await put(spool, "due") for _ in range(3)]
    pipeline = spool.redis.pipeline(transaction=False)
    fields = await spool.redis.hgetall(keys.message_key(ids[0]))
    for number in range(700):
        pipeline.hset(keys.message_key(f"more-{number}"), mapping=fields)
        pipeline.zadd(keys.DUE, {f"more-{number}": 1})
    await pipeline.execute()
    parts = [part async for part in operator.walk(spool, Place.DUE)]
    assert len(parts) > 2
    assert len({message.message_id for part in parts for message in part}) == 703
    total = await act_on_filter(spool, "hold", Filter(states=("due",)), Budget(), WHO)
    assert total.messages == 703
    assert await spool.redis.zcard(keys.HELD) == 703
    [act] = await acts(spool)
    assert (act.chosen_by, act.counts["messages"]) == ({"states": ["due"]}, 703)


async def test_an_act_with_little_time_stops_and_goes_on_when_it_is_asked_again(spool: Spool):
    fields = await spool.redis.hgetall(keys.message_key(await put(spool, "due")))
    pipeline = spool.redis.pipeline(transaction=False)
    for number in range(700):
        pipeline.hset(keys.message_key(f"more-{number}"), mapping=fields)
        pipeline.zadd(keys.DUE, {f"more-{number}": 1})
    await pipeline.execute()
    done = 0
    for _ in range(700):
        total = await act_on_filter(spool, "hold", Filter(states=("due",)), Budget(0), WHO)
        done += total.messages
        if total.is_complete or done == 701:
            break
    assert done == 701


async def test_hold_and_cancel_by_filter_reach_every_place_but_leave_calls_alone(spool: Spool):
    due, parked, lane, leased = [await put(spool, place) for place in ("due", "parked", "lane", "leased")]
    total = await act_on_filter(spool, "hold", Filter(newer_than_seconds=3600), Budget(), WHO)
    assert (total.messages, total.later) == (4, 1)
    other = await put(spool, "due")
    total = await act_on_filter(spool, "cancel", Filter(newer_than_seconds=3600), Budget(), WHO)
    assert total.messages == 4
    places = [(await loaded(spool, one)).place for one in (due, parked, lane, other, leased)]
    assert places == [Place.DONE] * 4 + [Place.LEASED]


async def test_a_lane_is_a_filter(spool: Spool):
    bulk = await put(spool, "lane", seat=dataclasses.replace(SEAT, lane="bulk"))
    await put(spool, "lane")
    assert (await count_filter(spool, "hold", Filter(lane="bulk"), Budget())).example == bulk
    assert (await count_filter(spool, "hold", Filter(route="default"), Budget())).messages == 2
    assert (await act_on_filter(spool, "hold", Filter(lane="bulk"), Budget(), WHO)).messages == 1
    [route] = (await spool.gate([LIMITS], limit=0)).routes.values()
    assert (route.lanes["bulk"].messages, route.lanes["express"].messages) == (0, 1)


async def test_a_messages_place_in_the_line_of_its_sender_is_known(spool: Spool):
    seat = dataclasses.replace(SEAT, sender="søren@example.com")
    first, second = [await put(spool, "lane", seat=seat) for _ in range(2)]
    await put(spool, "lane")
    assert [await operator.ahead_of(spool.redis, seat, one) for one in (first, second, "nosuch")] == [0, 1, None]


async def test_release_by_filter_lets_held_and_on_demand_parked_messages_go(spool: Spool):
    doubt = await put(spool, "held", reason=IN_DOUBT)
    own, parked = await put(spool, "due"), await put(spool, "parked")
    await operator.touch(spool.redis, "hold", [own])
    assert (await act_on_filter(spool, "release", Filter(newer_than_seconds=60), Budget(), WHO)).messages == 2
    assert {(await loaded(spool, one)).place for one in (doubt, own)} == {Place.DUE}
    assert (await act_on_filter(spool, "release", Filter(states=("parked",)), Budget(), WHO)).messages == 1
    assert (await loaded(spool, parked)).place is Place.DUE


# -- pauses and drains


async def test_a_pause_has_an_end_and_an_event_and_can_be_moved(spool: Spool):
    settings = Settings()
    [first] = await pausing.pause(spool, settings, Scope(lane="bulk"), WHO, for_seconds=60)
    [second] = await pausing.pause(spool, settings, Scope(lane="bulk"), WHO)
    assert (first.scope, first.until_ms - first.since_ms, second.until_ms) == ("lane:bulk", 60_000, 0)
    assert (await operator.read_pauses(spool.redis))[1] == (second,)
    assert [(act.action, act.scope, act.until_ms) for act in await acts(spool)] == [
        ("pause", ("lane:bulk",), first.until_ms),
        ("pause", ("lane:bulk",), 0),
    ]


@pytest.mark.parametrize("seconds", [0, -1, 1e22, float("inf"), float("nan")])
async def test_a_pause_that_is_no_time_is_refused(spool: Spool, seconds: float):
    with pytest.raises(Refused, match="for: "):
        await pausing.pause(spool, Settings(), Scope(), WHO, for_seconds=seconds)
    assert (await operator.read_pauses(spool.redis))[1] == ()


async def test_a_pause_whose_end_has_passed_does_not_count(spool: Spool):
    await operator.pause(spool.redis, [Pause("all", until_ms=1)], b"{}")
    assert (await operator.read_pauses(spool.redis))[1] == ()


async def test_resume_ends_what_is_named_and_tells_what_is_still_paused(spool: Spool):
    settings = Settings()
    await pausing.pause(spool, settings, Scope(), WHO)
    await pausing.pause(spool, settings, Scope(lane="bulk", user="shop"), WHO)
    done = await pausing.resume(spool, settings, Scope(), WHO)
    assert done.ended == ("all",)
    assert [one.scope for one in done.still_paused] == ["lane:bulk", "user:shop"]
    assert (await pausing.resume(spool, settings, Scope(), WHO)).ended == ()
    assert [act.action for act in await acts(spool)] == ["pause", "pause", "resume"]


async def test_the_pause_of_a_lane_that_left_the_settings_can_be_ended(spool: Spool):
    before = Settings(lanes={"shares": {"express": 100, "bulk": 80, "news": 50}})
    await pausing.pause(spool, before, Scope(lane="news"), WHO)
    done = await pausing.resume(spool, Settings(), Scope(lane="news"), WHO)
    assert (done.ended, done.still_paused) == (("lane:news",), ())
    with pytest.raises(Refused, match="no lane of this name"):
        await pausing.resume(spool, Settings(), Scope(lane="news"), WHO)


async def test_the_end_of_a_domains_pause_lets_its_messages_go_at_once(spool: Spool):
    settings = Settings()
    waiting = await put(spool, "parked", reason=PAUSED_DOMAIN)
    other = await put(spool, "parked", reason="throttled")
    await pausing.pause(spool, settings, Scope(domain="Example.NET"), WHO)
    done = await pausing.resume(spool, settings, Scope(domain="example.net"), WHO)
    assert (done.ended, done.woken) == (("domain:example.net",), 1)
    assert (await loaded(spool, waiting)).place is Place.DUE
    assert (await loaded(spool, other)).place is Place.PARKED


async def test_a_resume_that_was_cut_off_can_be_said_again(spool: Spool):
    waiting = await put(spool, "parked", reason=PAUSED_DOMAIN)
    done = await pausing.resume(spool, Settings(), Scope(domain="example.net"), WHO)
    assert (done.ended, done.woken) == ((), 1)
    assert (await loaded(spool, waiting)).place is Place.DUE


async def test_what_waits_for_a_domain_looks_for_an_earlier_end_of_its_pause_and_for_no_later_one(spool: Spool):
    settings = Settings()
    await pausing.pause(spool, settings, Scope(domain="example.net"), WHO)
    waiting = await put(spool, "parked", reason=PAUSED_DOMAIN)
    await pausing.pause(spool, settings, Scope(domain="example.net"), WHO, for_seconds=600)
    assert (await loaded(spool, waiting)).place is Place.DUE
    waiting = await put(spool, "parked", reason=PAUSED_DOMAIN)
    await pausing.pause(spool, settings, Scope(domain="example.net"), WHO, for_seconds=1200)
    await pausing.pause(spool, settings, Scope(domain="example.net"), WHO)
    assert (await loaded(spool, waiting)).place is Place.PARKED


async def test_resume_of_a_route_in_trouble_probes_it_now(spool: Spool):
    key = keys.route_key("default")
    await spool.redis.hset(key, mapping={"t": "AccountSendingPausedException", "tp": 9_999_999_999_999})
    done = await pausing.resume(spool, Settings(), Scope(route="default"), WHO)
    assert done.is_probed
    assert int(await spool.redis.hget(key, "tp")) < 9_999_999_999_999
    await spool.redis.delete(key)
    assert not (await pausing.resume(spool, Settings(), Scope(route="default"), WHO)).is_probed


async def test_a_living_worker_is_drained_and_takes_messages_again(spool: Spool):
    await beat(spool, late_ms=-60_000)
    await spool.redis.hset(keys.DRAINS, "long-gone", 1)
    with pytest.raises(Refused, match="worker-1"):
        await pausing.drain(spool, "worker-2", WHO)
    await pausing.drain(spool, "worker-1", WHO)
    assert set(await spool.redis.hgetall(keys.DRAINS)) == {b"worker-1"}
    assert await pausing.undrain(spool, "worker-1", WHO)
    assert not await pausing.undrain(spool, "worker-1", WHO)
    assert [(act.action, act.scope) for act in await acts(spool)] == [
        ("drain", ("worker:worker-1",)),
        ("undrain", ("worker:worker-1",)),
    ]
