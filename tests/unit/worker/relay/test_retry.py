from hypothesis import given
from hypothesis import strategies as st

from worker.relay.retry import Backoff

BACKOFFS = st.builds(Backoff, first_seconds=st.floats(0.05, 600), max_seconds=st.floats(1, 86_400))
CHANCES = st.floats(0, 1, exclude_max=True)


@given(BACKOFFS, st.integers(1, 10_000))
def test_the_ceiling_never_shrinks_and_never_passes_the_maximum(backoff, tries):
    assert 0 < backoff.ceiling_seconds(tries) <= backoff.ceiling_seconds(tries + 1) <= backoff.max_seconds


@given(BACKOFFS, st.integers(-5, 10_000), CHANCES)
def test_a_delay_lies_in_the_upper_half_below_the_ceiling(backoff, tries, chance):
    ceiling = backoff.ceiling_seconds(max(tries, 1))
    assert ceiling / 2 <= backoff.delay_seconds(tries, chance) <= ceiling


@given(BACKOFFS, st.integers(1, 100), CHANCES, CHANCES)
def test_chance_spreads_the_delays(backoff, tries, one, other):
    delays = backoff.delay_seconds(tries, min(one, other)), backoff.delay_seconds(tries, max(one, other))
    assert delays[0] <= delays[1]


def test_the_distance_doubles_until_the_maximum():
    backoff = Backoff(2, 1800)
    assert [backoff.ceiling_seconds(tries) for tries in range(1, 13)] == [
        2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800,
    ]  # fmt: skip


def test_a_first_distance_above_the_maximum_is_the_maximum():
    assert Backoff(600, 1).delay_seconds(1, 0.5) == 0.75
