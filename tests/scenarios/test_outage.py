"""Mail that came while SES refused connections is sent when SES is back, once, and no process kept it in memory."""

import pytest

from bench.outage import Plan, run_outage

pytestmark = pytest.mark.processes


@pytest.mark.timeout(240)
def test_everything_accepted_during_an_outage_is_sent_afterwards():
    report = run_outage(Plan(messages=300, outage_seconds=4, retry_max_seconds=4, every_seconds=0.5))
    assert report.problems == []
    assert (
        max(moment.waiting for moment in report.moments if moment.phase == "waiting") >= 300
    )  # one that moves may be seen twice
