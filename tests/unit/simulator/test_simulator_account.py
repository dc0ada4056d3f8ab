"""The account: what passes, what is a breach, what GetSendQuota tells."""

import pytest

from simulator.account import Account
from simulator.refusals import COUNTED_AS, FORBIDDEN, INVALID, PAUSED, REJECTED, THROTTLED, Refused
from simulator.settings import SimulatorSettings


def account(rate: float, quota: float, **settings) -> tuple[Account, list[float]]:
    now = [1000.0]
    wanted = SimulatorSettings(max_send_rate=rate, max_24_hour_send=quota, **settings)
    return Account(wanted, lambda: now[0]), now


def breaches(limited: Account) -> tuple[float, float]:
    figures = limited.figures()
    return figures["rate"], figures["daily_quota"]


def test_a_call_without_allowance_is_refused_and_counted():
    limited, now = account(1, -1)
    limited.take(5)
    with pytest.raises(Refused, match=r"Maximum sending rate exceeded\."):
        limited.take(1)
    assert breaches(limited) == (1, 0)
    now[0] += 5
    limited.take(1)


def test_the_daily_quota_is_told_before_the_rate():
    limited, _ = account(1, 5)
    limited.take(5)
    with pytest.raises(Refused, match=r"Daily message quota exceeded\."):
        limited.take(1)
    assert breaches(limited) == (0, 1)


def test_a_refused_call_costs_nothing():
    limited, now = account(10, 100)
    limited.take(20)
    for _ in range(50):
        with pytest.raises(Refused):
            limited.take(50)
    now[0] += 1.11
    limited.take(1)
    assert limited.send_quota() == (100.0, 10.0, 21.0)


def test_unlimited_is_told_as_minus_one():
    unlimited, _ = account(0, -1)
    unlimited.take(7)
    assert unlimited.send_quota() == (-1.0, -1.0, 7.0)


def test_simulated_recipients_use_the_rate_and_not_the_quota():
    limited, now = account(10, 5)
    limited.take(20, free_of_quota=20)
    assert limited.send_quota()[2] == 0
    with pytest.raises(Refused, match="Maximum sending rate"):
        limited.take(1, free_of_quota=1)
    now[0] += 2
    limited.take(7, free_of_quota=2)
    assert limited.send_quota()[2] == 5
    now[0] += 2
    with pytest.raises(Refused, match="Daily message quota"):
        limited.take(2, free_of_quota=1)
    limited.take(1, free_of_quota=1)


def test_what_others_send_is_counted_and_used_up():
    limited, _ = account(0, 100, others_sent=99)
    limited.take(3)
    assert limited.send_quota()[2] == 102
    with pytest.raises(Refused, match="Daily message quota"):
        limited.take(1)


def test_the_rate_that_others_use_is_missing_and_not_told():
    limited, now = account(10, -1, others_per_second=8)
    limited.take(2)
    assert limited.send_quota()[1] == 10
    with pytest.raises(Refused, match="Maximum sending rate"):
        limited.take(1)
    now[0] += 0.5
    limited.take(1)
    used_up, now = account(10, -1, others_per_second=20)
    used_up.take(1)
    now[0] += 60
    with pytest.raises(Refused, match="Maximum sending rate"):
        used_up.take(1)


def test_the_figures_tell_breaches_burst_and_debt():
    limited, now = account(10, -1)
    limited.take(4)
    now[0] += 0.5
    limited.take(30)
    with pytest.raises(Refused):
        limited.take(7)
    figures = limited.figures()
    assert (figures["rate"], figures["rate_recipients"]) == (1, 7)
    assert (figures["largest_burst"], figures["largest_debt"]) == (34, 20)
    now[0] += 60
    limited.take(1)
    assert limited.figures()["largest_burst"] == 34
    assert limited.over_limit == 1
    limited.forget_figures()
    assert set(limited.figures().values()) == {0}


def test_a_burst_is_what_one_second_held():
    unlimited, now = account(0, -1)
    for _ in range(20):
        unlimited.take(1)
        now[0] += 0.25
    assert 4 <= unlimited.figures()["largest_burst"] <= 5


def test_other_refusals_are_counted_by_kind():
    limited, _ = account(0, -1)
    for refusal in (INVALID, PAUSED, REJECTED, FORBIDDEN, THROTTLED):
        limited.count_refusal(refusal)
    limited.count_question()
    figures = {name: figure for name, figure in limited.figures().items() if figure}
    assert figures == {"malformed": 1, "paused": 1, "unverified": 1, "other_refusals": 1, "quota_questions": 1}
    assert set(COUNTED_AS.values()) <= set(limited.figures())


def test_a_sandbox_has_its_own_limits_unless_others_are_set():
    assert account(0, -1, sandbox=True)[0].send_quota() == (200.0, 1.0, 0.0)
    assert account(14, 500, sandbox=True)[0].send_quota() == (500.0, 14.0, 0.0)


def test_a_change_keeps_what_was_sent():
    limited, _ = account(10, 100)
    limited.take(60)
    limited.change(SimulatorSettings(max_send_rate=20, max_24_hour_send=60, others_sent=5))
    assert limited.send_quota() == (60.0, 20.0, 65.0)
