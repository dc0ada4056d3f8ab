"""The two limits of the simulated account, with the clock as a parameter."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.limits import STEPS_PER_WINDOW, WINDOW_SECONDS, DailyQuota, RollingCount, SendingRate


def test_a_call_larger_than_the_rate_passes_and_leaves_a_debt():
    rate = SendingRate(14)
    assert rate.has_allowance(100.0)
    rate.take(50, 100.0)
    assert not rate.has_allowance(100.0)
    assert not rate.has_allowance(100.0 + 37 / 14 - 0.01)
    assert rate.has_allowance(100.0 + 37 / 14 + 0.01)


def test_five_recipients_at_one_a_second_block_five_seconds():
    rate = SendingRate(1)
    rate.take(5, 100.0)
    assert not rate.has_allowance(104.99)
    assert rate.has_allowance(105.0)


def test_the_rate_zero_is_unlimited():
    rate = SendingRate(0)
    for _ in range(1000):
        assert rate.has_allowance(5.0)
        rate.take(50, 5.0)


def test_allowance_is_not_saved_for_longer_than_a_second():
    rate = SendingRate(10)
    rate.take(1, 0.0)
    assert rate.has_allowance(3600.0)
    rate.take(10, 3600.0)
    assert not rate.has_allowance(3600.0)


def test_a_changed_rate_keeps_the_debt():
    rate = SendingRate(10)
    rate.take(60, 0.0)
    rate.change(50, 0.0)
    assert not rate.has_allowance(1.01)
    assert rate.has_allowance(1.03)


@given(
    per_second=st.floats(0.2, 500),
    calls=st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), min_size=1, max_size=100),
)
def test_never_more_than_a_second_and_one_call_above_the_rate(per_second, calls):
    rate, now, passed, last = SendingRate(per_second), 0.0, 0, 0
    for pause, recipients in calls:
        now += pause
        if rate.has_allowance(now):
            rate.take(recipients, now)
            passed, last = passed + recipients, recipients
            assert passed - last <= per_second * now + max(per_second, 1.0) - 1 + 1e-6


@given(st.lists(st.tuples(st.floats(0, 30_000), st.integers(1, 50)), max_size=60))
def test_the_quota_counts_what_the_last_24_hours_hold_to_a_step(calls):
    quota, now, sent = DailyQuota(-1), 0.0, []
    for pause, recipients in calls:
        now += pause
        quota.take(recipients, now)
        sent.append((now, recipients))
        surely = sum(count for at, count in sent if at > now - WINDOW_SECONDS)
        at_most = sum(count for at, count in sent if at > now - WINDOW_SECONDS - 10)
        assert surely <= quota.sent_last_24_hours(now) <= at_most


def test_the_quota_window_rolls():
    quota = DailyQuota(100)
    quota.take(60, 0.0)
    quota.take(40, 3600.0)
    assert not quota.has_allowance(3700.0)
    assert not quota.has_allowance(WINDOW_SECONDS - 1)
    assert quota.has_allowance(WINDOW_SECONDS + 10)
    assert quota.sent_last_24_hours(WINDOW_SECONDS + 10) == 40


def test_a_call_passes_whole_while_any_quota_is_left():
    quota = DailyQuota(200)
    quota.take(199, 0.0)
    assert quota.has_allowance(1.0)
    quota.take(50, 1.0)
    assert not quota.has_allowance(2.0)
    assert quota.sent_last_24_hours(2.0) == 249


def test_a_short_window_ends_and_returns():
    quota = DailyQuota(10, window_seconds=5)
    quota.take(10, 100.0)
    assert not quota.has_allowance(104.9)
    assert quota.has_allowance(105.1)


def test_a_window_made_short_forgets_what_is_older():
    quota = DailyQuota(-1)
    quota.take(3, 95.0)
    quota.take(4, 104.0)
    quota.change(-1, 5, 0, 104.5)
    assert quota.sent_last_24_hours(104.5) == 7
    assert quota.sent_last_24_hours(105.1) == 4
    quota.take(5, 109.2)
    assert quota.sent_last_24_hours(109.6) == 5
    quota.change(-1, WINDOW_SECONDS, 0, 109.7)
    quota.take(1, 109.8)
    assert quota.sent_last_24_hours(120.0) == 6


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=80), st.floats(0.1, 20))
def test_a_rolling_count_is_right_to_a_step(calls, window_seconds):
    count, now, sent = RollingCount(window_seconds), 1000.0, []
    for pause, recipients in calls:
        now += pause
        held = count.add(recipients, now)
        sent.append((now, recipients))
        surely = sum(amount for at, amount in sent if at > now - window_seconds)
        step_seconds = window_seconds / STEPS_PER_WINDOW
        assert surely <= held <= sum(amount for at, amount in sent if at > now - window_seconds - 1.01 * step_seconds)
