"""One message, several fates: dropped, bounced, relayed by another lane, copied; as real processes do it."""

import pytest

from spool import operator
from spool.sending_quota import Pause
from spool.states import RecipientState
from tests.line import wait_until
from tests.ruled import bounces_of, ruled_line, sent_to, write_rules

pytestmark = pytest.mark.processes

RULES = """
    [[rule]]
    name = "nobody reads this"
    recipients = "noreply@example.net"
    action = { type = "DROP" }

    [[rule]]
    name = "left us"
    recipients = "gone.example"
    action = { type = "BOUNCE", message = "Frau Müller has left.\\nWrite to her successor." }

    [[rule]]
    name = "team"
    recipients = "team.example"
    actions = [ { type = "ADD_HEADER", name = "X-Team", value = "a" }, { type = "LANE", lane = "bulk" },
                { type = "TAGS", tags = { team = "a" } } ]

    [[rule]]
    name = "copy"
    recipients = "team.example"
    actions = [ { type = "TEE", address = "copy@archive.example" } ]
"""
EVERYBODY = ["noreply@example.net", "a@gone.example", "b@team.example", "c@example.net", "d@team.example"]


def test_each_recipient_of_one_message_has_its_own_fate(tmp_path):
    with ruled_line(tmp_path, RULES) as line:
        line.worker()
        (message_id,) = line.submit(1, recipients=EVERYBODY)
        line.wait_for([message_id])
        wait_until(lambda: sent_to(line)["app@example.com"], "the bounce is sent")
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 4, "dropped": 1, "rejected": 1}
        assert sent_to(line) == {
            "b@team.example": 1,
            "d@team.example": 1,
            "copy@archive.example": 1,
            "c@example.net": 1,
            "app@example.com": 1,
        }
        message = line.load(message_id)
        (bounce,) = bounces_of(line, message)
        assert b"M=C3=BCller" in bounce
        assert b"5.7.1" in bounce
        assert b"noreply@" not in bounce
        assert b"copy@archive" not in bounce
        marked = {one for entry in line.ledger() if entry["tags"].get("team") == "a" for one in entry["destinations"]}
        assert marked == {"b@team.example", "d@team.example", "copy@archive.example"}
        for entry in line.ledger():
            has_header = b"\r\nX-Team: a\r\n" in line.raw(entry).partition(b"\r\n\r\n")[0]
            assert has_header == ("b@team.example" in entry["destinations"])
        assert message.verdict.version
        assert message.verdict.decision_of(1).rule == "left us"


def test_every_decision_stands_in_the_events_and_in_the_log(tmp_path):
    with ruled_line(tmp_path, RULES) as line:
        worker = line.worker()
        (message_id,) = line.submit(1, recipients=EVERYBODY)
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        applied = [one["ruleApplied"] for one in line.published() if one["eventType"] == "sluice:RuleApplied"]
        version = line.load(message_id).verdict.version
        assert {one["version"] for one in applied} == {version}
        assert {one["ruleType"] for one in applied} == {"OUTBOUND_RULE"}
        told = {one["ruleName"]: (one["ruleActions"], set(one["recipients"])) for one in applied}
        assert told["nobody reads this"] == ("DROP", {"noreply@example.net"})
        assert told["left us"] == ("BOUNCE", {"a@gone.example"})
        assert told["team"][1] == {"b@team.example", "d@team.example"}
        assert all(one["reason"] for one in applied)
        wanted = {(name, message_id) for name in told}
        wait_until(
            lambda: (
                {(one["rule"], one["message_id"]) for one in worker.events() if one["event"] == "rule.applied"}
                >= wanted
            ),
            "the decisions stand in the log",
        )


def test_a_message_of_which_nobody_is_left_ends_without_a_call(tmp_path):
    with ruled_line(tmp_path, RULES) as line:
        line.worker()
        ids = line.submit(5, recipients=["noreply@example.net"])
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"dropped": 5}
        assert line.ledger() == []


@pytest.mark.parametrize("members", [{"sender": ""}, {"is_auto_submitted": True}])
def test_a_rules_bounce_answers_nothing_that_no_person_sent(tmp_path, members):
    with ruled_line(tmp_path, RULES) as line:
        line.worker()
        ids = line.submit(1, recipients=["a@gone.example"], **members)
        line.wait_for(ids)
        others = line.submit(1, recipients=["a@gone.example"])  # when its bounce is out, one of the first would be too
        line.wait_for(others)
        wait_until(line.ledger, "the bounce of the other")
        assert len(line.ledger()) == 1
        assert line.load(ids[0]).states == (RecipientState.REJECTED,)


def test_what_ses_refuses_and_what_a_rule_bounces_is_told_in_one_bounce(tmp_path):
    with ruled_line(tmp_path, RULES) as line:
        line.worker()
        line.fault("reject", match_recipient="bad@example.net")
        (message_id,) = line.submit(1, recipients=["a@gone.example", "bad@example.net", "c@example.net"])
        line.wait_for([message_id])
        wait_until(lambda: sent_to(line)["app@example.com"], "the bounce is sent")
        (bounce,) = bounces_of(line, line.load(message_id))
        assert bounce.count(b"Final-Recipient:") == 2
        assert b"a@gone.example" in bounce
        assert b"bad@example.net" in bounce
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"rejected": 2, "sent": 1}


def test_each_message_keeps_the_version_that_judged_it_when_the_rules_change(tmp_path):
    with ruled_line(tmp_path, RULES, SLUICE_RULES_RELOAD_SECONDS="0.1") as line:
        worker = line.worker()
        (first,) = line.submit(1, recipients=["noreply@example.net"])
        line.wait_for([first])
        write_rules(tmp_path / "rules.toml", RULES.replace('type = "DROP"', 'type = "DEFAULT"'))
        wait_until(
            lambda: sum(one["event"] == "rules.loaded" for one in worker.events()) > 1, "the worker reads the new rules"
        )
        (second,) = line.submit(1, recipients=["noreply@example.net"])
        line.wait_for([second])
        states = [line.load(one).states for one in (first, second)]
        assert states == [(RecipientState.DROPPED,), (RecipientState.SENT,)]
        assert line.load(first).verdict.version != line.load(second).verdict.version


def test_a_part_that_waits_for_its_lane_stops_no_other(tmp_path):
    with ruled_line(tmp_path, RULES) as line:
        line.worker()
        line.run(lambda spool: operator.pause(spool.redis, [Pause("lane:bulk")], b""))
        (message_id,) = line.submit(1, recipients=["b@team.example", "c@example.net"])
        wait_until(lambda: sent_to(line)["c@example.net"], "the express part is sent")
        message = wait_until(
            lambda: (found := line.load(message_id)).seat and found.seat.lane == "bulk" and found,
            "the other part waits for its turn",
        )
        assert message.reason == "waits for its turn"
        assert message.states[1] is RecipientState.SENT
        line.run(lambda spool: operator.resume(spool.redis, ["lane:bulk"], b""))
        line.wait_for([message_id])
        line.account([message_id]).assert_clean()
        assert sent_to(line)["b@team.example"] == 1
