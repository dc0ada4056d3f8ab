"""Bounces that SES tells of, through its queue: addresses are listed, the sender is paused, others go on."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from spool import operator
from spool.states import Place
from spool.suppression import Suppression
from tests.feedback_stand import a_bounce
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes

REPUTATION = {"SLUICE_REPUTATION_MIN_RECIPIENTS": "3", "SLUICE_REPUTATION_MIN_BOUNCES": "2"}


def tell(line: Line, url: str, bounced: list[str]) -> None:
    """SES's own bounces about single-recipient messages, into the queue, bare."""
    client: Any = boto3.client("sqs", endpoint_url=line.simulator_url, region_name="us-east-1")
    for one in bounced:
        event = a_bounce(one, line.load(one).recipients[0], messageId=line.load(one).attempts[0].ses_message_id)
        event["bounce"]["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        client.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    client.close()


def test_a_sender_whose_mail_bounces_is_paused_and_nobody_else():
    with Line() as line:
        url = f"{line.simulator_url}/sqs/123456789012/ses-events"
        line.environment |= {"SLUICE_FEEDBACK_QUEUE_URL": url, **REPUTATION}
        line.worker()
        line.start("feedback")
        sent = [line.submit(1, sender="shop@example.com", recipients=[f"user{n}@example.net"])[0] for n in range(4)]
        line.wait_for(sent)
        wait_until(lambda: {one.feedback for one in line.load_all(sent).values()} == {"d"}, "SES delivered all of it")

        tell(line, url, sent[:2])
        _, pauses = wait_until(
            lambda: (found := line.run(lambda spool: operator.read_pauses(spool.redis)))[1] and found,
            "the sender is paused",
        )
        assert [one.by for one in pauses] == ["reputation"]
        assert "bounce" in pauses[0].why
        assert {line.load(one).feedback for one in sent[:2]} == {"b"}
        listed = line.run(lambda spool: Suppression(spool.redis).among(["user0@example.net", "user2@example.net"]))
        assert set(listed) == {"user0@example.net"}

        kept = line.submit(2, sender="shop@example.com")
        line.wait_for(kept, Place.PARKED)
        line.wait_for(line.submit(2, sender="news@example.org"))
        assert line.load(kept[0]).place is Place.PARKED
        line.run(lambda spool: operator.resume(spool.redis, [one.scope for one in pauses], b""))
        line.wait_for(kept)
        account = line.account([*sent, *kept])
        account.assert_clean()
