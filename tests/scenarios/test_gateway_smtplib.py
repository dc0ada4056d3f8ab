"""What an ordinary client sees: Python's smtplib, with 120 recipients, STARTTLS and a refused recipient."""

import ssl

import pytest

from tests.dialogues.stand import write_certificate
from tests.scenarios.gateway_process import GatewayProcess, due_ids
from tests.servers import RedisServer

pytestmark = pytest.mark.processes


def test_smtplib_sends_to_many_and_learns_who_was_refused(redis_server: RedisServer, tmp_path):
    certificate, key = write_certificate(tmp_path)
    with (
        GatewayProcess(redis_server.url, smtp_tls_certificate_file=certificate, smtp_tls_key_file=key) as gateway,
        gateway.client() as client,
    ):
        client.starttls(context=ssl._create_unverified_context())
        recipients = [f"user{number}@example.net" for number in range(120)]
        refused = client.sendmail(
            "app@example.com", [*recipients, "no-domain", "user0@EXAMPLE.net"], "Subject: s\n\n.dot\n..dots\n"
        )
        assert list(refused) == ["no-domain"]
        assert refused["no-domain"][0] == 553
        (accepted,) = gateway.log("message.accepted")
        assert accepted["recipients"] == 120
        assert due_ids(redis_server.url) == {accepted["message_id"]}
        assert "example.net" not in (gateway.folder / "log").read_text()
