"""An address on the suppression list gets no mail by any door, its sender hears of it; removal lets mail through."""

import smtplib

import pytest

from spool.suppression import Suppression
from tests.line import Line, wait_until

pytestmark = pytest.mark.processes

BOB, ANN = "bob@example.net", "ann@example.net"


def rcpt(line, address):
    """What the gateway says about a recipient."""
    with smtplib.SMTP("127.0.0.1", int(line.environment["SLUICE_SMTP_PORT"]), timeout=60) as client:
        client.ehlo()
        client.mail("app@example.com")
        code, words = client.rcpt(address)
        return code, words.decode()


def bounces(line):
    """SES's own form of a bounce, by the addresses that it is about."""
    found = {}
    for event in line.published():
        if event["eventType"] == "Bounce":
            found |= {one["emailAddress"]: event["bounce"] for one in event["bounce"]["bouncedRecipients"]}
    return found


def test_a_suppressed_address_gets_no_mail_until_it_is_removed():
    with Line() as line:
        line.run(lambda spool: Suppression(spool.redis).enter("Bob@example.net", "BOUNCE"))
        line.gateway()
        line.worker()
        code, words = rcpt(line, BOB)
        assert (code, words[:6]) == (550, "5.1.1 ")
        assert "suppressed" in words
        assert rcpt(line, ANN)[0] == 250

        [message_id] = line.submit(recipients=[ANN, BOB])  # as mode report takes it
        line.wait_for([message_id])
        message = line.load(message_id)
        assert "".join(message.states) == "SR"
        assert message.suppressed == {1}
        told = wait_until(lambda: bounces(line).get(BOB), "the event of the suppressed recipient")
        assert (told["bounceType"], told["bounceSubType"]) == ("Permanent", "OnAccountSuppressionList")
        account = line.account([message_id])
        account.assert_clean()
        assert account.by_state == {"sent": 1, "rejected": 1}
        returned = wait_until(
            lambda: [one for one in map(line.raw, line.ledger()) if b"Undelivered Mail" in one], "the bounce mail"
        )
        assert b"Status: 5.1.1\r\n" in returned[0]

        assert line.run(lambda spool: Suppression(spool.redis).remove([BOB])) == [True]
        assert wait_until(lambda: rcpt(line, BOB)[0] == 250, "the gateway takes mail for it again")
        [again] = line.submit(recipients=[BOB])
        line.wait_for([again])
        account = line.account([again])
        account.assert_clean()
        assert account.by_state == {"sent": 1}
