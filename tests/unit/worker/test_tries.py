import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.verdicts import FunctionCall, Verdict
from worker.steps.tries import (
    MAX_ASYNC_TRIES,
    begun,
    failed,
    failed_async,
    hastened,
    is_used_up,
    left_running,
    made,
    put_off,
    waiting,
)

NEVER_MS = 10**15
CALL = FunctionCall("rule", "file:f.py:handler", "sync", "0" * 32, (0,), timeout_minutes=5)


def test_a_try_is_counted_and_due_until_it_is_answered():
    first = begun(CALL, 1000)
    assert (first.tries, first.first_at_ms, first.next_at_ms) == (1, 1000, 1000)
    second = begun(first, 5000)
    assert (second.tries, second.first_at_ms, second.next_at_ms) == (2, 1000, 5000)


def test_the_distances_grow_from_five_seconds_and_the_last_try_is_at_the_end_of_the_timeout():
    call, now_ms, distances = CALL, 1000, []
    while call.state == "waits":
        call = failed(begun(call, now_ms), "boom", now_ms, NEVER_MS, 0.5)
        if call.state == "waits":
            distances.append((call.next_at_ms - now_ms) // 1000)
            now_ms = call.next_at_ms
    assert distances == [5, 10, 20, 40, 80, 145]
    assert (now_ms, call.state, call.tries, call.error) == (301_000, "failed", 7, "boom")


def test_an_operator_hastens_what_waits_but_not_what_may_still_run():
    later = failed(begun(CALL, 1000), "boom", 1000, NEVER_MS, 0.5)
    assert later.next_at_ms == 6000
    assert (hastened(later, 2000).next_at_ms, hastened(later, 2000).tries) == (2000, 1)
    assert hastened(later, 7000) is later
    running = left_running(begun(CALL, 1000), 60_000)
    assert hastened(running, 2000) is running


def test_a_first_try_is_put_off_once():
    assert put_off(CALL, 1000).next_at_ms == 1000
    assert put_off(put_off(CALL, 1000), 2000).next_at_ms == 1000
    aside = FunctionCall("rule", "f", "async", "0" * 32, (0,))
    assert put_off(aside, 1000) is aside


def test_a_timeout_of_nothing_means_one_try():
    call = FunctionCall("rule", "f", "sync", "0" * 32, (0,))
    assert failed(begun(call, 7), "boom", 7, NEVER_MS, 0.5).state == "failed"


def test_the_end_of_the_messages_life_ends_the_timeout():
    call = failed(begun(CALL, 0), "boom", 0, 3000, 0.5)
    assert (call.state, call.next_at_ms) == ("waits", 3000)
    assert failed(begun(call, 3000), "boom", 3000, 3000, 0.5).state == "failed"


@given(tries=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True), minutes=st.floats(0, 240))
def test_a_call_never_waits_for_longer_than_five_minutes_or_beyond_its_timeout(tries, chance, minutes):
    call = FunctionCall("r", "f", "sync", "0" * 32, (0,), tries=tries, first_at_ms=1, timeout_minutes=minutes)
    after = failed(call, "boom", 1000, NEVER_MS, chance)
    end_ms = 1 + int(minutes * 60_000)
    assert (after.state == "failed") == (end_ms <= 1000)
    if after.state == "waits":
        assert 1000 < after.next_at_ms <= min(end_ms, 1000 + 330_000)


def test_an_async_call_is_tried_three_times():
    call = CALL
    for number in range(1, MAX_ASYNC_TRIES + 1):
        assert call.state == "waits"
        call = failed_async(begun(call, number), "boom", number, 0.5)
    assert (call.state, call.tries) == ("failed", 3)


@pytest.mark.parametrize(("mode", "found"), [("", 2), ("sync", 1), ("async", 1)])
def test_only_calls_without_an_end_wait(mode, found):
    calls = [FunctionCall(str(n), "f", m, str(n), (0,), state=s) for n, (m, s) in enumerate(
        [("sync", "waits"), ("async", "waits"), ("sync", "answered"), ("async", "failed")]
    )]  # fmt: skip
    assert len(waiting(Verdict("v", calls=tuple(calls)), mode)) == found
    assert waiting(None) == ()


def test_tries_that_ended_with_their_worker_use_up_no_async_call():
    call = CALL
    for number in range(10):
        call = begun(call, 1000 + number)
    assert not is_used_up(call)
    assert is_used_up(left_running(call, 5000))
    assert not is_used_up(begun(CALL, 1))
    assert made(left_running(call, 5000)).error == ""
