"""The reader of SES's events is killed at every step: nothing it read is lost, and nothing is told or done twice."""

import collections
from typing import Any

import boto3
import pytest

from spool.suppression import Suppression
from tests.line import Line, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

RECIPIENTS = (
    "success@simulator.amazonses.com",
    "bounce@simulator.amazonses.com",
    "complaint@simulator.amazonses.com",
)
STEPS = ("feedback.after_apply", "feedback.before_finished")


def told(line: Line, ids: list[str]) -> collections.Counter[tuple[str, str]]:
    """How often which event of SES about which of the messages is in the file of events."""
    events = [one for one in line.published() if one["eventType"] in {"Delivery", "Bounce", "Complaint"}]
    assert len({one["eventId"] for one in events}) == len(events)
    return collections.Counter(
        (one["eventType"], one["mail"]["messageId"]) for one in events if one["mail"]["messageId"] in ids
    )


def is_all_told(line: Line, ids: list[str]) -> Any:
    expected = {(event_type, one) for one in ids for event_type in ("Delivery", "Bounce", "Complaint")}
    return told(line, ids).keys() >= expected


def suppressed(line: Line) -> set[str]:
    async def entries(spool: Any) -> set[str]:
        return set(await Suppression(spool.redis).among(RECIPIENTS))

    found: set[str] = line.run(entries)
    return found


def bounces(line: Line) -> list[Any]:
    """The mails to the sender."""
    return [one for one in line.ledger() if one["destinations"] == ["app@example.com"]]


def check(line: Line, ids: list[str]) -> None:
    """Each event once, each recipient in its state, and none on the list: nobody reads the mailbox simulator's mail."""
    assert set(told(line, ids).values()) == {1}
    # SES accepts a mail before a complaint about it: the simulator tells a Delivery for that recipient too.
    assert {line.load(one).feedback for one in ids} == {"dbc"}
    assert suppressed(line) == set()


def test_killed_between_its_writes_it_reads_the_feed_again_and_does_the_rest():
    with Line(SLUICE_FEEDBACK_BOUNCE_MAIL="true", SLUICE_SUPPRESSION_MODE="off") as line:
        line.environment["SLUICE_FEEDBACK_SIMULATOR_URL"] = line.simulator_url
        line.worker()
        ids = line.submit(4, recipients=RECIPIENTS)
        line.wait_for(ids)
        for step in (*STEPS, "feedback.before_position"):
            doomed = line.start("feedback", wait=False, SLUICE_FAILPOINTS=f"{step}=kill")
            wait_until(lambda doomed=doomed: not doomed.is_running(), f"the reader dies at {step}")
        line.start("feedback")
        wait_until(lambda: is_all_told(line, ids), "every event is told")
        check(line, ids)
        wait_until(lambda: len(bounces(line)) >= len(ids), "every sender was told")
        assert len(bounces(line)) == len(ids)


def test_killed_before_it_deletes_it_gets_the_events_from_the_queue_again():
    with Line(SLUICE_SUPPRESSION_MODE="off") as line:
        line.environment["SLUICE_FEEDBACK_QUEUE_URL"] = f"{line.simulator_url}/sqs/123456789012/ses-events"
        line.worker()
        ids = line.submit(2, recipients=RECIPIENTS)
        line.wait_for(ids)
        doomed = line.start("feedback", wait=False, SLUICE_FAILPOINTS="feedback.before_delete=kill")
        wait_until(lambda: not doomed.is_running(), "the reader dies before it deletes")
        line.start("feedback")
        later = line.submit(1, recipients=RECIPIENTS)
        line.wait_for(later)
        ids += later
        wait_until(lambda: is_all_told(line, ids), "every event is told")
        wait_until(lambda: is_empty(line), "what was hidden came again and was deleted", seconds=120)
        check(line, ids)


def is_empty(line: Line) -> bool:
    """Whether the queue holds nothing any more, hidden or not."""
    client: Any = boto3.client("sqs", endpoint_url=line.simulator_url, region_name="us-east-1")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = line.environment["SLUICE_FEEDBACK_QUEUE_URL"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    client.close()
    return not any(int(found[name]) for name in names)
