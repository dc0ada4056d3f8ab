"""Header hygiene with real processes: what SES would refuse is mended as far as the settings say."""

import email
import email.policy
from email.utils import getaddresses

import pytest

from spool.states import RecipientState
from tests.line import Line

pytestmark = pytest.mark.processes

EVERYBODY = tuple(f"r{number}@example.net" for number in range(60))
BODY = "Grüße, " + "eine sehr lange Zeile. " * 100
# Too many addresses, two subjects, a header without a name, a line that is too long, a sender that is not verified.
ILL = (
    b"From: App <app@old.example>\r\n"
    b"To: " + b",\r\n ".join(one.encode() for one in EVERYBODY) + b"\r\n"
    b"Subject: first\r\n: nothing\r\nSubject: second\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\n" + BODY.encode() + b"\r\n"
)
STRICT = {"header_recipients": "count", "refuse_long_lines": True, "verified_identities": ["app@new.example"]}
MENDING = {
    "SLUICE_RELAY_LONG_HEADERS": "rewrite",
    "SLUICE_RELAY_DUPLICATE_HEADERS": "first",
    "SLUICE_RELAY_EMPTY_HEADERS": "remove",
    "SLUICE_RELAY_LONG_LINES": "wrap",
    "SLUICE_RELAY_FROM_ALIASES": "app@old.example=app@new.example",
}


def refused(line):
    figures = line.violations()
    return figures["malformed"] + figures["unverified"] + figures["other_refusals"]


def header_addresses(content):
    return {address for _, address in getaddresses(content.get_all("To", []) + content.get_all("Cc", []))}


def test_with_every_mending_a_strict_ses_takes_all_of_it_at_the_first_try():
    with Line(**MENDING) as line:
        line.change(**STRICT)
        line.worker()
        ids = line.submit(sender="app@old.example", recipients=EVERYBODY, content=ILL)
        line.wait_for(ids)
        assert refused(line) == 0
        assert len(line.ledger()) == 2
        for entry in line.ledger():
            taken = email.message_from_bytes(line.raw(entry), policy=email.policy.default)
            assert header_addresses(taken) == set(entry["destinations"])
            assert entry["source"] == "app@new.example"
            assert taken["From"] == "App <app@new.example>"
            assert taken.get_all("Subject") == ["first"]
            assert taken.get_content().strip() == BODY.strip()
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": len(EVERYBODY)}


def test_with_none_of_it_good_mail_stays_as_it_is_and_ill_mail_is_bounced_with_the_reason():
    fine = ILL.replace(b": nothing\r\nSubject: second\r\n", b"")
    with Line() as line:
        line.worker()
        good = line.submit(sender="app@old.example", recipients=EVERYBODY, content=fine)
        ill = line.submit(sender="app@old.example", recipients=EVERYBODY[:2], content=ILL)
        line.wait_for([*good, *ill])
        sent = [entry for entry in line.ledger() if entry["destinations"] != ["app@old.example"]]
        assert len(sent) == 2
        for entry in sent:
            ours, _, rest = line.raw(entry).partition(b"\r\n")
            assert ours.startswith(b"X-Sluice-Batch: ")
            assert rest == fine
        message = line.load(ill[0])
        assert set(message.states) == {RecipientState.REJECTED}
        assert "header" in message.attempts[0].reason.lower()
        line.account([*good, *ill]).assert_clean()


def test_headers_that_name_too_many_are_rewritten_when_ses_has_refused_them():
    fine = ILL.replace(b": nothing\r\nSubject: second\r\n", b"")
    with Line() as line:
        line.change(header_recipients="count")
        line.worker()
        ids = line.submit(sender="app@old.example", recipients=EVERYBODY, content=fine)
        line.wait_for(ids)
        assert 1 <= refused(line) <= 2
        for entry in line.ledger():
            assert header_addresses(email.message_from_bytes(line.raw(entry))) == set(entry["destinations"])
        account = line.account(ids)
        account.assert_clean()
        assert account.by_state == {"sent": len(EVERYBODY)}
