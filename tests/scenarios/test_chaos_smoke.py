"""A short piece of chaos, with all its books: the long one is `make chaos`."""

import pytest

from bench.chaos import Plan, run_chaos
from bench.chaos_troubles import EPISODES, Tempo

pytestmark = pytest.mark.processes


@pytest.mark.timeout(240)
def test_a_few_seconds_of_kills_and_of_trouble_with_ses_break_no_promise():
    tempo = Tempo(pause=(0.2, 0.8), episode=(0.5, 1.5))
    for seconds in (12, 30):  # a machine that stood still for a while had too little chaos the first time
        report = run_chaos(Plan(seconds=seconds, clients=6, messages_per_second=40, seed=7, tempo=tempo))
        assert report.is_clean, report.text()
        if report.killer.kills.total() >= 3 and set(EPISODES) <= set(report.killer.troubles.counts):
            break
    assert report.killer.kills.total() >= 3, report.text()
    assert set(EPISODES) <= set(report.killer.troubles.counts), report.text()
    assert report.books.answered_messages >= 50, report.text()
    assert report.books.by_state["sent"] >= report.books.answered_recipients, report.text()
