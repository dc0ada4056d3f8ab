import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_api.admin.wording import clock, seconds_of

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("30s", 30),
        ("30m", 1800),
        ("30 min", 1800),
        ("2h30m", 9000),
        ("1d", 86400),
        ("1d1s", 86401),
    ],
)
def test_a_duration_is_understood(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "m", "30x", "-5", "1h1d", "1e3", "30m30m", "nan", "٣0"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a duration"):
        seconds_of(text)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_in_all_units_is_their_sum(days: int, hours: int, minutes: int, seconds: int):
    assert seconds_of(f"{days}d{hours}h{minutes}m{seconds}s") == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def test_a_clock_has_its_day_when_that_is_far_away():
    assert clock(NOW_MS, NOW_MS) == "22:13 UTC"
    assert clock(NOW_MS + 19 * 3_600_000, NOW_MS) == "17:13 UTC"
    assert clock(NOW_MS + 21 * 3_600_000, NOW_MS) == "2023-11-15 19:13 UTC"
