"""The relay step and the limits of its route: tokens, turns, lanes, pauses, and the fence before all of it."""

import asyncio
import dataclasses

import pytest
from structlog.testing import capture_logs

from sending_events.records import EventRecord
from spool.sending_quota import Denied, Gate, LaneView, Pause, RouteView
from spool.states import (
    IN_LANE,
    NO_ROUTE,
    PAUSED_DOMAIN,
    RecipientState,
)
from spool.verdicts import Part, Verdict
from tests.unit.worker.stand import NOW_MS, SEAT, AnsweringSes, attempt, in_trouble, message, stand, work
from worker.relay.one_call import STOPPING
from worker.relay.outcomes import Accepted, of_code
from worker.relay.passage import next_step, passage_of
from worker.relay.relay import relay
from worker.steps.finish import finish
from worker.work import Delay, StepFailed, Stop

WAITING, SENT, DROPPED = RecipientState.WAITING, RecipientState.SENT, RecipientState.DROPPED


async def test_an_intent_asks_for_its_recipients_in_the_lane_of_the_message():
    tools = stand(AnsweringSes(Accepted("1"), Accepted("2")))
    content = b"X-Sluice-Lane: bulk\r\nFrom: app@example.com\r\n\r\n"
    await relay(dataclasses.replace(work(tools, message(60)), content=content), tools)
    assert [take.recipients for take in tools.spool.takes] == [50, 10]
    assert {(take.seat.route, take.seat.lane, take.seat.sender) for take in tools.spool.takes} == {
        ("default", "bulk", "app@example.com")
    }
    assert tools.spool.takes[0].limits == tools.routes.limits("default")


@pytest.mark.parametrize("why", ["rate", "queue", "daily quota", "paused", "trouble"])
async def test_a_newcomer_that_is_denied_goes_to_its_lane_with_what_was_learnt(why):
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    claimed = await relay(work(tools, message(50)), tools)
    tools.spool.denials = [Denied(why, 10)]
    more = dataclasses.replace(claimed.work, message=message(60, states=(SENT,) * 50 + (WAITING,) * 10))
    verdict = await relay(more, tools)
    assert verdict.work.delay == Delay("lane", IN_LANE)
    assert verdict.work.message.attempts == ()
    assert await finish(verdict.work, tools) == Stop("lane")
    end = tools.spool.settlements[-1]
    assert (end.to, end.reason, end.seat) == ("lane", IN_LANE, verdict.work.seat)
    assert [one.outcome for one in end.attempts] == ["accepted"]
    assert end.states == (SENT,) * 50 + (WAITING,) * 10
    assert 43000 < end.after_seconds < 43200
    assert tools.gate_wanted.is_set()
    assert [EventRecord.decode(one).kind for one in end.events] == ["send"]


async def test_a_refusal_of_ses_is_told_outside_and_a_turn_that_is_waited_for_is_not():
    tools = stand(AnsweringSes(of_code("Throttling", "Maximum sending rate exceeded.")))
    verdict = await relay(work(tools), tools)
    await finish(verdict.work, tools)
    (event,) = map(EventRecord.decode, tools.spool.settlements[-1].events)
    assert (event.kind, event.reason, event.recipients) == ("deferred", "throttled", (0, 1, 2))


async def test_a_message_with_a_turn_waits_a_little_and_writes_what_it_knows_before():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    tools = stand(ses)
    claimed = work(tools, message(60, turn=60, seat=SEAT))
    grants = tools.spool.intend
    answers = [None, Denied("rate", 5), Denied("rate", 5), None]

    async def intend(settlement, take):
        denied = answers.pop(0)
        if denied is None:
            return await grants(settlement, take)
        assert passage_is_free()
        return denied

    def passage_is_free():
        return not ses.slots.locked()

    tools.spool.intend = intend
    verdict = await relay(claimed, tools)
    assert verdict.work.delay is None
    assert verdict.work.message.turn == 0
    intents = [[(one.number, one.outcome) for one in made.attempts] for made in tools.spool.settlements]
    assert intents == [[(1, None)], [(1, "accepted")], [(2, None)]]
    assert tools.lines.of(SEAT).is_empty


def test_a_batch_is_no_larger_than_the_turn():
    tools = stand()
    passage = passage_of(message(60), b"From: app@example.com\r\n\r\n", tools.settings, tools.routes)
    assert next_step(message(60, turn=7), passage, tools.routes).recipients == tuple(range(7))
    assert next_step(message(60), passage, tools.routes).recipients == tuple(range(50))


@pytest.mark.parametrize("denied", [Denied("rate", 6000), Denied("trouble", 10), Denied("paused", 10)])
async def test_a_turn_does_not_wait_for_what_takes_long(denied):
    tools = stand(AnsweringSes())
    tools.spool.denials = [denied]
    verdict = await relay(work(tools, message(turn=3, seat=SEAT)), tools)
    assert verdict.work.delay == Delay("lane", IN_LANE)


async def test_of_several_messages_with_turns_one_asks_and_the_others_stand_behind():
    ses = AnsweringSes(*(Accepted(str(n)) for n in range(3)))
    tools = stand(ses)
    asked = []
    may_go = asyncio.Event()
    grants = tools.spool.intend

    async def intend(settlement, take):
        asked.append(settlement.lease.message_id)
        return await grants(settlement, take) if may_go.is_set() else Denied("rate", 1)

    tools.spool.intend = intend
    ids = [f"000000000000000{n}-00000000-0000-4000-8000-000000000000-000000" for n in range(3)]
    going = [
        asyncio.create_task(relay(work(tools, message(1, turn=1, seat=SEAT, message_id=one)), tools)) for one in ids
    ]
    while len(asked) < 20:
        await asyncio.sleep(0)
        if len(asked) == 10:
            await asyncio.sleep(0.01)
    may_go.set()
    verdicts = await asyncio.gather(*going)
    assert [one.work.message.states for one in verdicts] == [(SENT,)] * 3
    assert len(set(asked[3:20])) == 1


async def test_a_line_takes_what_the_route_serves_in_a_second_and_sends_the_others_to_their_lane():
    tools = stand(AnsweringSes(*(Accepted(str(n)) for n in range(9))))
    tools.routes.saw(Gate((), 1000, {"default": RouteView("default", rate=14.0)}))
    may_go = asyncio.Event()
    grants = tools.spool.intend

    async def intend(settlement, take):
        return await grants(settlement, take) if may_go.is_set() else Denied("rate", 1)

    tools.spool.intend = intend
    ids = [f"000000000000000{n}-00000000-0000-4000-8000-000000000000-000000" for n in range(6)]
    going = [
        asyncio.create_task(relay(work(tools, message(5, turn=5, seat=SEAT, message_id=one)), tools)) for one in ids
    ]
    refused, _ = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
    while len(refused) < 3:
        refused, _ = await asyncio.wait(going, timeout=0.01)
    may_go.set()
    await asyncio.gather(*going)
    delays = [one.result().work.delay for one in going]
    assert delays == [None] * 3 + [Delay("lane", IN_LANE)] * 3


def queued(**lanes):
    return RouteView("default", lanes={"express": LaneView(100), "bulk": LaneView(80), **lanes})


@pytest.mark.parametrize(
    ("lanes", "asks"),
    [
        ({}, True),
        ({"bulk": LaneView(80, messages=3)}, True),  # a lane after ours
        ({"express": LaneView(100, messages=3)}, False),
        ({"express": LaneView(100, messages=3, paused_senders=1)}, True),  # perhaps nobody else's
    ],
)
async def test_a_newcomer_joins_those_who_are_known_to_wait_without_asking(lanes, asks):
    tools = stand(AnsweringSes(Accepted("1")))
    tools.routes.saw(Gate((), 1000, {"default": queued(**lanes)}))
    verdict = await relay(work(tools), tools)
    assert bool(tools.spool.takes) is asks
    assert verdict.work.delay == (None if asks else Delay("lane", IN_LANE))


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        ("AccessDenied", "x", "SES account trouble: AccessDenied"),
        ("ExpiredToken", "x", "SES account trouble: ExpiredToken"),
        ("ClientConnectorError", "SES cannot be reached: x", "SES unavailable"),
        ("HTTP413", "HTTP 413 without SES's answer; check", "SES unavailable"),
    ],
)
@pytest.mark.parametrize("turn", [0, 3])
async def test_who_failed_itself_does_not_become_the_next_probe_of_a_route_in_trouble(code, reason, told, turn):
    failed = message(attempts=(attempt(1, (0, 1, 2), outcome="unavailable", code=code, reason=reason),), turn=turn)
    own = Delay("parked", told, longest_seconds=300.0)
    for others, delay in ((1, own), (0, dataclasses.replace(own, after_seconds=4.5))):
        tools = stand(AnsweringSes())
        in_trouble(tools, express=LaneView(100, messages=others))
        tools.spool.denials = [Denied("trouble", 3000)]
        assert (await relay(work(tools, failed), tools)).work.delay == delay
    tools.routes.saw(Gate((), 1000, {"default": queued(express=LaneView(100, messages=3))}))
    tools.spool.denials = [Denied("queue", 0)]
    assert (await relay(work(tools, failed), tools)).work.delay == Delay("lane", IN_LANE), "well again: in its order"


async def test_whose_own_call_had_no_answer_does_not_become_the_next_probe_either():
    lost = message(attempts=(attempt(1, (0, 1, 2), outcome="unknown", code="TimeoutError", reason="nothing"),))
    tools = stand(AnsweringSes())
    in_trouble(tools, is_account=False, express=LaneView(100, messages=1))
    tools.spool.denials = [Denied("trouble", 3000)]
    own = Delay("parked", "no answer from SES", longest_seconds=300.0)
    assert (await relay(work(tools, lost), tools)).work.delay == own


async def test_who_was_only_kept_by_the_trouble_of_others_stays_in_its_lane():
    tools = stand(AnsweringSes())
    in_trouble(tools, express=LaneView(100, messages=3))
    throttled = attempt(1, (0, 1, 2), outcome="throttled", code="Throttling", reason="Maximum sending rate exceeded.")
    for attempts in ((), (throttled,)):
        assert (await relay(work(tools, message(attempts=attempts)), tools)).work.delay == Delay("lane", IN_LANE)


async def test_mail_of_a_later_lane_waits_behind_those_of_an_earlier_one_and_a_turn_behind_nobody():
    tools = stand(AnsweringSes(Accepted("1")))
    tools.routes.saw(Gate((), 1000, {"default": queued(express=LaneView(100, messages=1))}))
    bulk = dataclasses.replace(work(tools), content=b"X-Sluice-Lane: bulk\r\n\r\n")
    assert (await relay(bulk, tools)).work.delay == Delay("lane", IN_LANE)
    assert (await relay(work(tools, message(turn=3, seat=SEAT)), tools)).work.delay is None


async def test_a_message_that_stops_to_wait_sees_that_the_worker_stops():
    tools = stand(AnsweringSes())

    async def intend(settlement, take):
        tools.stopping.set()
        return Denied("rate", 1)

    tools.spool.intend = intend
    verdict = await relay(work(tools, message(turn=3, seat=SEAT)), tools)
    assert verdict.work.delay == STOPPING


async def test_a_sender_without_a_route_is_held_with_that_reason():
    tools = stand(AnsweringSes(), routes={"eu": {"from_domains": ["example.org"]}})
    verdict = await relay(work(tools), tools)
    assert verdict.work.delay == Delay("held", NO_ROUTE)
    assert await finish(verdict.work, tools) == Stop("held")
    assert (tools.spool.settlements[-1].to, tools.spool.settlements[-1].reason) == ("held", NO_ROUTE)


async def test_recipients_of_a_paused_domain_wait_and_the_others_go():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    _paused(tools, Pause("domain:example.org", NOW_MS + 5_000))
    of = message(recipients=2)
    of = dataclasses.replace(of, recipients=("a@example.net", "b@Example.ORG"))
    verdict = await relay(work(tools, of), tools)
    assert [call.recipients for call in ses.calls] == [["a@example.net"]]
    assert verdict.work.delay == Delay("parked", PAUSED_DOMAIN, after_seconds=6.5)  # 5, 1 for the gate, half by chance
    await finish(verdict.work, tools)
    end = tools.spool.settlements[-1]
    assert (end.to, end.after_seconds, end.rounds) == ("parked", 6.5, 0)


def _paused(tools, *pauses):
    tools.spool.pauses = pauses
    tools.routes.saw(Gate((), 1000, {}, pauses))


@pytest.mark.parametrize("until_ms", [0, NOW_MS + 86_400_000])
async def test_who_waits_for_a_paused_domain_looks_again_after_hours_only(until_ms):
    tools = stand(AnsweringSes())
    _paused(tools, Pause("domain:example.net", until_ms))
    verdict = await relay(work(tools), tools)
    assert verdict.work.delay == Delay("parked", PAUSED_DOMAIN, after_seconds=6 * 3600 * 0.875)


async def test_the_first_end_of_several_pauses_counts_and_only_for_who_waits():
    tools = stand(AnsweringSes())
    ends = {"a.example": 1000, "b.example": 60_000, "c.example": 90_000}
    _paused(tools, *(Pause(f"domain:{name}", NOW_MS + ms) for name, ms in ends.items()))
    of = message(recipients=3, states=(SENT, WAITING, WAITING))
    of = dataclasses.replace(of, recipients=tuple(f"r@{name}" for name in ends))
    verdict = await relay(work(tools, of), tools)
    assert verdict.work.delay.after_seconds == 61.5


async def test_who_may_expire_while_paused_wakes_for_it():
    tools = stand(AnsweringSes(), relay={"expire_while_paused": True, "max_age_seconds": 600})
    _paused(tools, Pause("domain:example.net"))
    verdict = await relay(work(tools), tools)
    assert 500 < verdict.work.delay.after_seconds < 601


async def test_a_pause_that_ended_since_the_gate_looked_keeps_nobody():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    tools = stand(ses)
    _paused(tools, Pause("domain:example.net"))
    tools.spool.pauses = ()
    verdict = await relay(work(tools, message(60)), tools)
    assert [len(call.recipients) for call in ses.calls] == [50, 10]
    assert verdict.work.delay is None


async def test_a_pause_that_got_an_earlier_end_since_the_gate_looked_is_waited_for_until_then():
    tools = stand(AnsweringSes())
    _paused(tools, Pause("domain:example.net"))
    tools.spool.pauses = (Pause("domain:example.net", NOW_MS + 5000),)
    verdict = await relay(work(tools), tools)
    assert verdict.work.delay.after_seconds == 6.5


async def test_each_batch_carries_its_attempt_as_a_header():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    await relay(work(tools), tools)
    name, value = ses.calls[0].header.decode().split(":")
    assert (name, value.strip()) == ("X-Sluice-Batch", f"{message().message_id}.1")


async def test_the_fence_captures_before_anything_is_sent(tmp_path):
    ses = AnsweringSes(Accepted("1"))
    relaying = {"fence": "capture", "fence_allowed": "r1@example.net"}
    tools = stand(ses, relay=relaying, data={"dir": tmp_path})
    verdict = await relay(work(tools), tools)
    assert verdict.work.message.states == (DROPPED, SENT, DROPPED)
    assert [call.recipients for call in ses.calls] == [["r1@example.net"]]
    (event,) = map(EventRecord.decode, tools.spool.settlements[0].events)
    assert (event.kind, event.recipients) == ("dropped", (0, 2))
    kept = (tmp_path / "captured" / f"{message().message_id}.eml").read_bytes()
    assert kept.startswith(b"X-Original-To: r0@example.net\r\nX-Original-To: r2@example.net\r\n")


async def test_the_fence_redirects_in_batches_of_their_own_that_count_one_recipient():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    relaying = {"fence": "redirect", "fence_allowed": "r1@example.net", "fence_redirect_to": "dev@example.com"}
    tools = stand(ses, relay=relaying)
    verdict = await relay(work(tools), tools)
    assert verdict.work.message.states == (SENT,) * 3
    assert [call.recipients for call in ses.calls] == [["r1@example.net"], ["dev@example.com"]]
    assert ses.calls[1].content.startswith(b"X-Original-To: r0@example.net\r\nX-Original-To: r2@example.net\r\n")
    assert [take.recipients for take in tools.spool.takes] == [1, 1]
    assert [one.redirected_to for one in verdict.work.message.attempts] == ["", "dev@example.com"]
    assert EventRecord.decode(verdict.work.unwritten.events[-1]).redirected_to == "dev@example.com"


async def test_a_lane_that_nobody_knows_is_logged_once_for_each_name():
    tools = stand(AnsweringSes(*(Accepted(str(number)) for number in range(4))))
    with capture_logs() as logged:
        for name in (b"nix", b"nix", b"Express", b"other"):
            await relay(
                dataclasses.replace(work(tools), content=b"X-Sluice-Lane: " + name + b"\r\n\r\nbody\r\n"), tools
            )
    told = [(one["wanted"], one["used"]) for one in logged if one["event"] == "lane.unknown"]
    assert told == [("nix", "express"), ("other", "express")]


# -- parts of a message


BULK, REST = Part((0,), lane="bulk"), ("r1@example.net", "r2@example.net")


async def test_a_part_that_waits_for_its_lane_does_not_stop_another():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    tools.spool.denials = [Denied("rate", 6000)]
    parts = (BULK, Part((1, 2), route="default", tags={"a": "b"}))
    verdict = await relay(work(tools, message(verdict=Verdict("v", parts=parts))), tools)
    assert [call.recipients for call in ses.calls] == [list(REST)]
    assert verdict.work.message.states == (WAITING, SENT, SENT)
    assert (verdict.work.delay, verdict.work.seat.lane, verdict.work.queued) == (Delay("lane", IN_LANE), "bulk", 1)
    assert await finish(verdict.work, tools) == Stop("lane")
    assert (tools.spool.settlements[-1].seat.lane, tools.spool.settlements[-1].queued) == ("bulk", 1)


async def test_of_two_parts_that_wait_the_message_stands_in_the_lane_served_first():
    tools = stand(AnsweringSes())
    tools.spool.denials = [Denied("rate", 6000), Denied("rate", 6000)]
    verdict = await relay(work(tools, message(verdict=Verdict("v", parts=(BULK,)))), tools)
    assert (verdict.work.seat.lane, verdict.work.queued) == ("express", 2)


async def test_what_ses_says_about_the_account_stops_all_parts_of_its_route():
    ses = AnsweringSes(of_code("Throttling", "Maximum sending rate exceeded."))
    tools = stand(ses)
    verdict = await relay(work(tools, message(verdict=Verdict("v", parts=(BULK,)))), tools)
    assert len(ses.calls) == 1
    assert verdict.work.delay == Delay("lane", IN_LANE, "throttled")
    assert verdict.work.queued == 2


async def test_trouble_of_one_route_does_not_stop_a_part_that_goes_by_another():
    ses = AnsweringSes(of_code("AccessDenied", ""), Accepted("1"))
    tools = stand(ses, routes={"us": {}, "eu": {}})
    parts = (Part((0, 1), route="us"), Part((2,), route="eu"))
    verdict = await relay(work(tools, message(verdict=Verdict("v", parts=parts))), tools)
    assert [call.recipients for call in ses.calls] == [["r0@example.net", "r1@example.net"], ["r2@example.net"]]
    assert verdict.work.message.states == (WAITING, WAITING, SENT)
    assert (verdict.work.delay.to, verdict.work.delay.reason) == ("parked", "SES account trouble: AccessDenied")
    assert [fact.route for fact in (*tools.spool.settlements[-1].facts, *verdict.work.unwritten.facts)] == ["us", "eu"]


async def test_a_batch_never_mixes_two_parts():
    ses = AnsweringSes(*(Accepted(str(n)) for n in range(5)))
    tools = stand(ses, relay={"configuration_sets": {"ours": "other"}})
    parts = (Part(tuple(range(0, 120, 2)), headers=(("X-A", "1"),)), Part((1, 3), configuration_set="ours"))
    verdict = await relay(work(tools, message(120, verdict=Verdict("v", parts=parts))), tools)
    assert [len(call.recipients) for call in ses.calls] == [50, 8, 50, 10, 2]
    assert [call.content.startswith(b"X-A: 1\r\n") for call in ses.calls] == [False, False, True, True, False]
    assert [call.configuration_set for call in ses.calls] == ["", "", "", "", "other"]
    assert verdict.work.message.states == (SENT,) * 120


async def test_a_turn_is_for_the_part_whose_seat_it_is():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    tools = stand(ses)
    of = message(verdict=Verdict("v", parts=(BULK,)), turn=1, turn_at="default:bulk")
    verdict = await relay(work(tools, of), tools)
    assert [(take.seat.lane, take.recipients) for take in tools.spool.takes] == [("express", 2), ("bulk", 1)]
    assert verdict.work.message.turn == 0


async def test_a_rules_tags_stand_in_for_those_of_the_application():
    ses = AnsweringSes(Accepted("1"))
    tools = stand(ses)
    of = message(verdict=Verdict("v", parts=(Part((0, 1, 2), tags={"a": "rule"}),)))
    content = b"X-SES-MESSAGE-TAGS: a=app, b=app\r\nSubject: x\r\n\r\n"
    await relay(dataclasses.replace(work(tools, of), content=content), tools)
    assert ses.calls[0].tags == {"a": "rule", "b": "app", "sluice-batch": f"{of.message_id}.1"}


async def test_a_route_of_a_rule_that_is_gone_or_not_allowed_is_as_if_there_were_none_and_told_once():
    ses = AnsweringSes(Accepted("1"), Accepted("2"))
    tools = stand(ses, routes={"us": {}, "eu": {"from_domains": ["example.org"]}})
    for wanted in ("eu", "gone"):
        part = Part((0, 1, 2), route=wanted)
        ses.outcomes = [Accepted("1"), Accepted("2")]
        with capture_logs() as logs:
            for _ in range(2):
                await relay(work(tools, message(verdict=Verdict("v", parts=(part,)))), tools)
        assert [(one["event"], one["wanted"]) for one in logs if one["event"] == "route.not_for_rule"] == [
            ("route.not_for_rule", wanted)
        ]
    assert {take.seat.route for take in tools.spool.takes} == {"us"}


async def test_what_was_learnt_of_one_part_is_not_forgotten_when_another_fails():
    tools = stand(AnsweringSes(Accepted("1")))
    lost = Part((2,), content_ref="file:lost", content_bytes=9)
    with pytest.raises(StepFailed) as failed:
        await relay(work(tools, message(verdict=Verdict("v", parts=(lost,)))), tools)
    assert failed.value.work.message.states == (SENT, SENT, WAITING)
    assert [one.outcome for one in failed.value.work.unwritten.attempts] == ["accepted"]


async def test_what_is_captured_of_a_changed_part_is_a_file_of_its_own(tmp_path):
    fence = {"fence": "capture", "fence_allowed": ["example.com"]}
    tools = stand(AnsweringSes(), relay=fence, data={"dir": tmp_path})
    of = message(verdict=Verdict("v", parts=(Part((0,), headers=(("X-A", "1"),)),)))
    verdict = await relay(work(tools, of), tools)
    assert verdict.work.message.states == (DROPPED,) * 3
    captured = {path.name: path.read_bytes() for path in (tmp_path / "captured").iterdir()}
    assert len(captured) == 2
    assert b"X-A" not in captured.pop(f"{of.message_id}.eml")
    ((_, content),) = captured.items()
    assert content.startswith(b"X-Original-To: r0@example.net\r\nX-A: 1\r\n")
