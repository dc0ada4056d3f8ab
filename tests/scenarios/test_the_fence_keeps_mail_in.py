"""The fence with real processes: nobody outside it gets mail, whatever an application asks for, and nothing is lost."""

import pytest

from spool.states import RecipientState
from tests.line import Line

pytestmark = pytest.mark.processes

ALLOWED = "dev.example, *.dev.example, ann@example.net"
INSIDE = ("a@dev.example", "b@team.dev.example", "Ann@example.net", "success@simulator.amazonses.com")
OUTSIDE = ("real@example.org", "bob@example.net", "c@notdev.example")
CONTENT = b"From: app@example.com\r\nTo: list@example.net\r\nSubject: staging\r\n\r\nHello.\r\n"


def in_envelopes(line):
    return sorted(address for entry in line.ledger() for address in entry["destinations"])


def test_captured_mail_is_a_file_and_no_call():
    with Line(SLUICE_RELAY_FENCE="capture", SLUICE_RELAY_FENCE_ALLOWED=ALLOWED) as line:
        line.worker()
        (mixed,) = line.submit(content=CONTENT, recipients=(*OUTSIDE, *INSIDE))
        (outside,) = line.submit(content=CONTENT, recipients=OUTSIDE)
        line.wait_for([mixed, outside])
        assert in_envelopes(line) == sorted(INSIDE)
        for message_id in (mixed, outside):
            file = line.folder / "captured" / f"{message_id}.eml"
            kept = b"".join(f"X-Original-To: {address}\r\n".encode() for address in OUTSIDE)
            assert file.read_bytes() == kept + CONTENT
            assert file.stat().st_mode & 0o777 == 0o600
            assert line.load(message_id).states[: len(OUTSIDE)] == (RecipientState.DROPPED,) * len(OUTSIDE)
        account = line.account([mixed, outside])
        account.assert_clean()
        assert account.by_state == {"dropped": 2 * len(OUTSIDE), "sent": len(INSIDE)}


def test_redirected_mail_reaches_one_address_and_names_those_whom_it_was_for():
    catch = "catch@qa.example"
    settings = {"SLUICE_RELAY_FENCE": "redirect", "SLUICE_RELAY_FENCE_REDIRECT_TO": catch}
    with Line(**settings, SLUICE_RELAY_FENCE_ALLOWED=ALLOWED) as line:
        line.worker()
        (mixed,) = line.submit(content=CONTENT, recipients=(*OUTSIDE, *INSIDE))
        line.wait_for([mixed])
        assert in_envelopes(line) == sorted([catch, *INSIDE])
        by_catch = {catch in entry["destinations"]: line.raw(entry) for entry in line.ledger()}
        assert [one for one in OUTSIDE if f"X-Original-To: {one}\r\n".encode() not in by_catch[True]] == []
        assert b"X-Original-To" not in by_catch[False]
        assert set(line.load(mixed).states) == {RecipientState.SENT}
