import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.child import (
    FIRST_PAUSE_SECONDS,
    HEALTHY_SECONDS,
    LONGEST_PAUSE_SECONDS,
    failures_after,
    how_it_ended,
    pause_seconds,
)


def test_the_first_restart_comes_at_once_and_later_ones_ever_later() -> None:
    assert [pause_seconds(failures) for failures in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]


@given(st.integers(min_value=1, max_value=10_000))
def test_a_pause_never_shrinks_and_has_a_limit(failures: int) -> None:
    assert FIRST_PAUSE_SECONDS <= pause_seconds(failures) <= pause_seconds(failures + 1) <= LONGEST_PAUSE_SECONDS


def test_a_healthy_while_makes_the_next_failure_the_first() -> None:
    assert failures_after(5, HEALTHY_SECONDS) == 1
    assert failures_after(5, HEALTHY_SECONDS - 0.1) == 6
    assert failures_after(0, 0.0) == 1


@pytest.mark.parametrize(
    ("returncode", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL"), (-99, "signal 99")]
)
def test_an_end_is_told_in_words(returncode: int, words: str) -> None:
    assert how_it_ended(returncode) == words
