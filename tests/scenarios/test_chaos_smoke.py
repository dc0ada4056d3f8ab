"""A short piece of chaos, with all its books: the long one is `make chaos`."""

import pytest

from bench.chaos import Plan, run_chaos

pytestmark = pytest.mark.processes


@pytest.mark.timeout(240)
def test_a_quarter_of_a_minute_of_kills_breaks_no_promise():
    report = run_chaos(Plan(seconds=15, clients=6, messages_per_second=40, seed=7))
    assert report.is_clean, report.text()
    assert report.killer.kills.total() >= 3, report.text()
    assert report.books.answered_messages >= 50, report.text()
    assert report.books.by_state["sent"] >= report.books.answered_recipients, report.text()
