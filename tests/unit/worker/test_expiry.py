"""Who expires, and for whose sake nobody does."""

import dataclasses

import pytest

from spool.sending_quota import Gate, Pause
from spool.states import IN_LANE, RecipientState
from tests.unit.worker.stand import (
    NOW_MS,
    SEAT,
    attempt,
    in_trouble,
    message,
    stand,
    work,
)
from worker.steps.finish import finish
from worker.steps.load import load
from worker.work import Delay

WAITING, EXPIRED = RecipientState.WAITING, RecipientState.EXPIRED
OLD = {"accepted_at_ms": NOW_MS - 3_600_000}


async def expired_states(tools, **fields):
    return (await load(work(tools, message(**OLD, **fields)), tools)).work.message.states


async def test_nobody_expires_for_trouble_of_the_account():
    tools = stand(relay={"max_age_seconds": 60})
    assert await expired_states(tools, seat=SEAT) == (EXPIRED,) * 3
    in_trouble(tools, is_account=False)
    assert await expired_states(tools, seat=SEAT) == (EXPIRED,) * 3
    in_trouble(tools)
    assert await expired_states(tools, seat=SEAT) == (WAITING,) * 3
    tools = stand(relay={"max_age_seconds": 60})
    for code in ("AccountSendingPausedException", "AccessDenied"):
        refused = attempt(1, (0, 1, 2), outcome="unavailable", code=code, reason="paused")
        assert await expired_states(tools, attempts=(refused,)) == (WAITING,) * 3
        throttled = attempt(2, (0, 1, 2), outcome="throttled", code="Throttling", reason="x")
        assert await expired_states(tools, attempts=(refused, throttled)) == (WAITING,) * 3
        unreached = attempt(3, (0, 1, 2), outcome="unavailable", code="X", reason="SES cannot be reached: x")
        assert await expired_states(tools, attempts=(refused, throttled, unreached)) == (EXPIRED,) * 3


@pytest.mark.parametrize("scope", ["all", "route:default", "lane:express", "user:app@example.com"])
async def test_nobody_expires_while_an_operator_paused_it_unless_set_so(scope):
    for is_expiring, state in ((False, WAITING), (True, EXPIRED)):
        tools = stand(relay={"max_age_seconds": 60, "expire_while_paused": is_expiring})
        tools.spool.pauses = (Pause(scope),)
        assert await expired_states(tools, seat=SEAT) == (state,) * 3
    tools = stand(relay={"max_age_seconds": 60})
    tools.spool.pauses = (Pause(scope, until_ms=NOW_MS - 1), Pause("lane:bulk"), Pause("user:else"))
    assert await expired_states(tools, seat=SEAT) == (EXPIRED,) * 3


async def test_recipients_of_a_paused_domain_do_not_expire_with_the_others():
    tools = stand(relay={"max_age_seconds": 60})
    tools.routes.saw(Gate((), 1000, {}, (Pause("domain:example.org"),)))
    of = dataclasses.replace(message(2, **OLD), recipients=("a@example.net", "b@example.org"))
    assert (await load(work(tools, of), tools)).work.message.states == (EXPIRED, WAITING)


async def test_the_time_of_a_hold_does_not_count_unless_set_so():
    tools = stand(relay={"max_age_seconds": 60})
    assert await expired_states(tools, kept_ms=3_590_000) == (WAITING,) * 3
    tools = stand(relay={"max_age_seconds": 60, "expire_while_paused": True})
    assert await expired_states(tools, kept_ms=3_590_000) == (EXPIRED,) * 3


async def test_a_message_that_was_spared_is_tried_as_seldom_as_before():
    tools = stand(relay={"max_age_seconds": 60})
    spared = work(tools, message(**OLD, rounds=20))
    await finish(spared.delayed(Delay("parked", "SES account trouble: X", longest_seconds=300)), tools)
    assert tools.spool.settlements[-1].after_seconds == 300


async def test_a_message_that_was_spared_does_not_wake_again_by_itself():
    tools = stand(relay={"max_age_seconds": 60})
    spared = dataclasses.replace(work(tools, message(**OLD)), seat=SEAT)
    await finish(spared.delayed(Delay("lane", IN_LANE)), tools)
    assert tools.spool.settlements[-1].after_seconds == 0
