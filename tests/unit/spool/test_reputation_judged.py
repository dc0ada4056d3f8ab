"""What the limits say about figures; pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.event_settings import ReputationSettings
from spool.reputation import SenderFigures, judged, shown

RANKS = {"well": 0, "warned": 1, "paused": 2}


@pytest.mark.parametrize(
    ("figures", "level"),
    [
        (SenderFigures(0, 499, 0), "well"),  # too few recipients
        (SenderFigures(491, 9, 0), "well"),  # too few bounces
        (SenderFigures(990, 10, 0), "well"),
        (SenderFigures(980, 20, 0), "warned"),
        (SenderFigures(950, 50, 0), "paused"),
        (SenderFigures(1000, 0, 2), "well"),  # too few complaints
        (SenderFigures(5000, 0, 3), "warned"),
        (SenderFigures(3000, 0, 3), "paused"),
        (SenderFigures(0, 0, 99), "well"),  # nobody knows of how many
    ],
)
def test_the_limits_as_they_are_by_default(figures, level):
    assert judged(figures, ReputationSettings())[0] == level


def test_both_reasons_are_told():
    level, why = judged(SenderFigures(940, 60, 9), ReputationSettings())
    assert level == "paused"
    assert why == (
        "60 of 1,000 recipients bounced: 6.00 %, limit 5 %; 9 of 1,000 recipients complained: 0.90 %, limit 0.1 %"
    )


def test_the_action_decides_how_far_it_goes():
    figures = SenderFigures(0, 5000, 0)
    assert judged(figures, ReputationSettings(action="warn"))[0] == "warned"
    assert judged(figures, ReputationSettings(action="off")) == ("well", "")


_NUMBERS = st.integers(0, 10_000)


@given(_NUMBERS, _NUMBERS, _NUMBERS)
def test_another_bounce_or_complaint_never_makes_it_better(delivered, bounced, complained):
    settings = ReputationSettings()
    before = RANKS[judged(SenderFigures(delivered, bounced, complained), settings)[0]]
    assert RANKS[judged(SenderFigures(delivered, bounced, complained + 1), settings)[0]] >= before
    if complained == 0:
        assert RANKS[judged(SenderFigures(delivered, bounced + 1, 0), settings)[0]] >= before


def test_the_log_has_no_address():
    assert shown("bob@example.com") == "*@example.com"
    assert shown("shop") == "shop"
