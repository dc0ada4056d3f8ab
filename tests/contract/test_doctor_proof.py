"""The proof of the feedback loop on a real spool: what counts as come back, and what is said when something did not."""

import asyncio
import smtplib
from pathlib import Path

from mailsluice.doctor_proof import EXPECTED, prove
from spool import keys
from spool.feedback_states import FeedbackState
from spool.records import NewMessage, new_message_id
from spool.store import Spool
from tests.spooled import settings_of, with_spool

SENDER = "app@example.com"


class Ses:
    """Takes the mails into the spool, and writes what SES would tell of those that it is to tell of."""

    def __init__(self, spool: Spool, *names: str, tells_of_sends: bool = True) -> None:
        self._spool = spool
        self._names = names
        self._tells_of_sends = tells_of_sends
        self.addresses: list[str] = []

    async def submit(self, sender: str, address: str, mail: str) -> str:
        assert f"To: {address}\r\n" in mail
        message_id = new_message_id()
        await self._spool.accept(NewMessage(message_id, sender, (address,), mail.encode()))
        self.addresses.append(address)
        name = address.partition("+")[0]
        if name in self._names:
            await self._spool.redis.hset(keys.message_key(message_id), "fb", EXPECTED[name][1].value)
        if self._tells_of_sends:
            await self._spool.redis.hincrby(keys.COUNTERS, "feedback_events:known", 1)
        return message_id


def test_all_four_events_prove_the_loop(redis_url: str, tmp_path: Path) -> None:
    async def work(spool: Spool) -> None:
        ses = Ses(spool, *EXPECTED)
        proof, findings = await prove(spool, ses.submit, SENDER, wait_seconds=30)
        assert proof.is_complete
        assert {one.level for one in findings} == {"ok"}
        assert findings[0].about == "sent"
        assert len({address.partition("+")[2] for address in ses.addresses}) == 1

    with_spool(settings_of(redis_url, tmp_path), work)


def test_an_event_that_does_not_come_is_named(redis_url: str, tmp_path: Path) -> None:
    async def work(spool: Spool) -> None:
        proof, findings = await prove(spool, Ses(spool, "success", "bounce").submit, SENDER, wait_seconds=0.3)
        assert proof.missing == ["Complaint"]
        # The mail of the complaint was never relayed: that is the reason, and it is told.
        assert (findings[-1].level, findings[-1].about) == ("fail", "relay")
        proof, _ = await prove(spool, Ses(spool, *EXPECTED, tells_of_sends=False).submit, SENDER, wait_seconds=0.3)
        assert proof.missing == ["Send"]

    with_spool(settings_of(redis_url, tmp_path), work)


def test_it_is_looked_once_although_the_time_was_over_before_the_mails_were_in(redis_url: str, tmp_path: Path) -> None:
    async def work(spool: Spool) -> None:
        proof, _ = await prove(spool, Ses(spool, *EXPECTED).submit, SENDER, wait_seconds=0)
        assert proof.is_complete

    with_spool(settings_of(redis_url, tmp_path), work)


def test_a_door_that_refuses_is_quoted(redis_url: str, tmp_path: Path) -> None:
    async def refuse(*_: str) -> str:
        await asyncio.sleep(0)
        raise smtplib.SMTPResponseException(530, b"5.7.0 Authentication required")

    async def work(spool: Spool) -> None:
        proof, (finding,) = await prove(spool, refuse, SENDER, wait_seconds=30)
        assert not proof.is_complete
        assert "530 5.7.0 Authentication required" in finding.text
        assert "--user" in finding.remedy

    with_spool(settings_of(redis_url, tmp_path), work)


def test_every_state_that_is_waited_for_is_one_that_ends_the_waiting() -> None:
    assert {state for _, state in EXPECTED.values()} == {
        *(FeedbackState.DELIVERED, FeedbackState.BOUNCED, FeedbackState.COMPLAINED)
    }
