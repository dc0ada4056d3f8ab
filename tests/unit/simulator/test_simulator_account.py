"""The account: what passes, what is a breach, what GetSendQuota tells."""

import pytest

from simulator.account import Account
from simulator.refusals import Refused


def account(rate: float, quota: float) -> tuple[Account, list[float]]:
    now = [1000.0]
    return Account(rate, quota, lambda: now[0]), now


def test_a_call_without_allowance_is_refused_and_counted():
    limited, now = account(1, -1)
    limited.take(5)
    with pytest.raises(Refused, match=r"Maximum sending rate exceeded\."):
        limited.take(1)
    assert limited.violations == {"rate": 1, "daily_quota": 0}
    now[0] += 5
    limited.take(1)


def test_the_daily_quota_is_told_before_the_rate():
    limited, _ = account(1, 5)
    limited.take(5)
    with pytest.raises(Refused, match=r"Daily message quota exceeded\."):
        limited.take(1)
    assert limited.violations == {"rate": 0, "daily_quota": 1}


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
