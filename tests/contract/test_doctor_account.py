"""What `mailsluice doctor` tells of the SES account: against the simulator, and against moto."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import boto3
import pytest
from moto.server import ThreadedMotoServer
from simulated_ses import simulated_ses

from config.aws_clients import aws_session, set_up_client
from mailsluice.doctor_account import AccountClients, Sender, check_account
from mailsluice.doctor_report import Finding


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


async def look(sender: str = "") -> tuple[dict[str, Finding], str]:
    chosen = Sender(sender)
    async with AsyncExitStack() as stack:
        session = aws_session()
        sts, ses, sesv2 = [
            await stack.enter_async_context(set_up_client(session, service)) for service in ("sts", "ses", "sesv2")
        ]
        return {one.about: one async for one in check_account(AccountClients(sts, ses, sesv2), chosen)}, chosen.address


@pytest.mark.parametrize(
    ("settings", "about", "level", "words"),
    [
        ({"max_send_rate": 14, "max_24_hour_send": 50000, "others_sent": 32}, "quota", "ok", "14/s, 32 of 50,000"),
        ({"max_24_hour_send": 10, "others_sent": 10}, "quota", "warn", "10 of 10"),
        ({"sandbox": True, "verified_identities": ["example.com"]}, "account", "warn", "sandbox"),
        ({"account_state": "paused"}, "account", "fail", "switched off"),
        ({"quota_forbidden": True}, "SES", "fail", "AccessDenied"),
        ({"sandbox": True}, "identities", "fail", "no address and no domain"),
        ({"verified_identities": ["example.com", "ann@example.net"]}, "identities", "ok", "example.com, ann@"),
    ],
)
async def test_the_account_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], about: str, level: str, words: str
) -> None:
    with simulated_ses(**settings) as ses:
        monkeypatch.setenv("AWS_ENDPOINT_URL", ses.url)
        finding = (await look())[0][about]
    assert finding.level == level
    assert words in finding.text
    assert bool(finding.remedy) == (level != "ok")


@pytest.mark.parametrize(
    ("sender", "level"),
    [
        ("ann@example.com", "ok"),
        ("ann@mail.example.com", "ok"),
        ("bob@example.net", "ok"),
        ("ann@example.net", "warn"),
    ],
)
async def test_a_sender_that_was_named_is_looked_up(monkeypatch: pytest.MonkeyPatch, sender: str, level: str) -> None:
    with simulated_ses(verified_identities=["example.com", "bob@example.net"]) as ses:
        monkeypatch.setenv("AWS_ENDPOINT_URL", ses.url)
        found, chosen = await look(sender)
    assert (found["identities"].level, chosen) == (level, sender)


async def test_without_one_a_verified_address_is_taken_else_one_in_a_verified_domain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with simulated_ses(verified_identities=["example.com", "bob@example.net"]) as ses:
        monkeypatch.setenv("AWS_ENDPOINT_URL", ses.url)
        assert (await look())[1] == "bob@example.net"
    with simulated_ses(verified_identities=["example.com"]) as ses:
        monkeypatch.setenv("AWS_ENDPOINT_URL", ses.url)
        assert (await look())[1] == "mailsluice-doctor@example.com"


async def test_an_account_whose_newer_api_does_not_answer_is_told_as_far_as_it_goes(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    boto3.client("ses", endpoint_url=moto, region_name="eu-north-1").verify_email_identity(
        EmailAddress="ann@example.com"
    )
    found, sender = await look()
    assert {about: one.level for about, one in found.items()} == {
        "credentials": "ok",
        "quota": "ok",
        "identities": "ok",
    }
    assert sender == "ann@example.com"


async def test_missing_keys_and_a_missing_network_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found, _ = await look()
    assert found["SES"].level == "fail"
    assert "network" in found["SES"].remedy
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found, _ = await look()
    assert "keys" in found["SES"].remedy
