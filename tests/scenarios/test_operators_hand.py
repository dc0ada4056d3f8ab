"""Pause, hold, cancel and resume while real workers send: what is stopped is not sent, what goes on is sent once."""

import json
import subprocess
import sys
import urllib.request

import pytest

from spool.states import HELD_BY_OPERATOR, IN_LANE, PAUSED_DOMAIN, Place, RecipientState
from tests.line import HOUSE, Line, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.processes

#: Of one message: 20 calls, one after the other.
RECIPIENTS = 1000


def command(line: Line, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One `mailsluice …` of an operator."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "mailsluice", *arguments],
        env=line.environment,
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def done(line: Line, *arguments: str) -> str:
    said = command(line, *arguments)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def acts(line: Line) -> list[str]:
    return [event["operator"]["action"] for event in line.published() if event["eventType"] == "sluice:Operator"]


def wait_in_lane(line: Line, ids: list[str]) -> None:
    line.wait_for(ids, Place.PARKED)
    assert {one.reason for one in line.load_all(ids).values()} == {IN_LANE}


def test_what_is_paused_waits_in_order_and_is_sent_once_when_it_goes_on():
    with Line() as line:
        assert "Everything is paused, until mailsluice resume." in done(line, "pause", "--why", "upgrade")
        line.worker()
        ids = line.submit(30, recipients=2)
        wait_in_lane(line, ids)
        assert line.ledger() == []
        seen = json.loads(done(line, "queue", "--json"))
        [express] = [lane for lane in seen["routes"][0]["lanes"] if lane["messages"]]
        assert (express["messages"], express["recipients"], express["waits_for"]) == (30, 60, "paused")
        assert ": upgrade" in express["words"]
        assert "wait for the end of a pause: everything" in done(line, "queue")
        assert "wait for the end of a pause: everything" in done(line, "show", ids[0])

        assert "Everything goes on." in done(line, "resume")
        line.wait_for(ids)
        account = line.account(ids)
        account.assert_clean()
        assert (account.by_state["sent"], account.duplicates) == (60, 0)
        wait_until(lambda: acts(line) == ["pause", "resume"], "the acts are told")
        assert command(line, "resume").returncode == 1


def test_a_pause_with_an_end_ends_by_itself():
    with Line() as line:
        line.worker()
        done(line, "pause", "--lane", "express", "--for", "10m")
        ids = line.submit(3)
        wait_in_lane(line, ids)
        done(line, "pause", "--lane", "express", "--for", "1s")  # another end, now that they wait
        line.wait_for(ids)
        line.account(ids).assert_clean()
        wait_until(lambda: not line.run(lambda spool: spool.read_pauses()), "the pause is gone")


def test_a_paused_user_stops_nobody_else():
    with Line() as line:
        done(line, "pause", "--user", "slow@example.com")
        line.worker()
        slow = line.submit(5, sender="slow@example.com")
        other = line.submit(5)
        line.wait_for(other)
        wait_in_lane(line, slow)
        assert {entry["source"] for entry in line.ledger()} == {"app@example.com"}
        done(line, "resume", "--user", "slow@example.com")
        line.wait_for(slow)
        line.account(slow + other).assert_clean()


def test_a_paused_domain_keeps_its_recipients_only_and_they_go_at_once():
    with Line() as line:
        line.gateway()
        done(line, "pause", "--domain", "example.org")
        line.worker()
        message_id = line.send_mail(["a@example.net", "b@example.org", "c@example.net"])
        line.wait_for([message_id], Place.PARKED)
        message = line.load(message_id)
        assert message.reason == PAUSED_DOMAIN
        assert "".join(message.states) == "SwS"
        assert "1 message had waited" in done(line, "resume", "--domain", "example.org")
        line.wait_for([message_id])  # by itself it would look again after hours
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state["sent"] == 3


def test_a_message_in_the_middle_of_a_call_is_held_after_it():
    with Line() as line:
        line.change(latency_seconds=1.5)
        line.worker()
        (message_id,) = line.submit(1, recipients=RECIPIENTS)
        wait_until(lambda: line.load(message_id).attempts, "the first call is under way")
        assert "on hold as soon as" in done(line, "hold", message_id)
        line.wait_for([message_id], Place.HELD, Place.DONE)
        message = line.load(message_id)
        assert (message.place, message.reason) == (Place.HELD, HELD_BY_OPERATOR)
        sent = len(message.indexes(RecipientState.SENT))
        assert 0 < sent < RECIPIENTS
        assert len(message.indexes(RecipientState.WAITING)) == RECIPIENTS - sent
        line.change(latency_seconds=0)
        done(line, "release", message_id)
        line.wait_for([message_id])
        account = line.account([message_id])
        account.assert_clean()
        assert (account.by_state["sent"], account.duplicates) == (RECIPIENTS, 0)


def test_what_is_held_or_cancelled_by_a_filter_is_never_sent():
    with Line() as line:
        done(line, "pause")
        line.worker()
        wrong = line.submit(20, sender="wrong@example.com", recipients=3)
        right = line.submit(20)
        wait_in_lane(line, wrong + right)
        counted = done(line, "cancel", "--sender", "wrong@example.com")
        assert "20 messages with 60 recipients would be cancelled" in counted
        assert "20 messages with 60 recipients cancelled" in done(
            line, "cancel", "--sender", "wrong@example.com", "--yes", "--why", "wrong list"
        )
        done(line, "resume")
        line.wait_for(wrong + right)
        account = line.account(wrong + right)
        account.assert_clean()
        assert (account.by_state["sent"], account.by_state["dropped"]) == (20, 60)
        assert {entry["source"] for entry in line.ledger()} == {"app@example.com"}
        wait_until(lambda: acts(line) == ["pause", "cancel", "resume"], "the acts are told")


def test_the_same_over_http():
    with Line() as line:
        port, token = str(free_port()), "a-token-of-tests-0123"
        line.environment |= {"SLUICE_API_PORT": port, "SLUICE_API_ADMIN_TOKEN": token}
        line.start("api")
        line.worker()

        def call(path: str, body: object = None) -> dict:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/admin/{path}", data, headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)

        call("pause", {"lane": "express"})
        ids = line.submit(10)
        wait_in_lane(line, ids)
        assert call("messages/hold", {"filter": {"lane": "express"}, "dry_run": False})["messages"] == 10
        call("resume", {"lane": "express"})
        assert call(f"messages/{ids[0]}")["reason"] == HELD_BY_OPERATOR
        assert line.ledger() == []
        call("messages/release", {"filter": {"reason": "held by the operator"}, "dry_run": False})
        line.wait_for(ids)
        line.account(ids).assert_clean()
