"""An unmodified boto3 client sends through the whole line: API, spool, worker, simulated SES."""

import json
import subprocess
import sys
import urllib.request

import pytest
from botocore.client import Config

from aws_api.wire.access_keys import AccessKeyFile
from tests.contract.message_flow_stand import client_of
from tests.line import HOUSE, Line
from tests.servers import free_port

pytestmark = pytest.mark.processes
RAW = (
    b"From: ann@example.com\r\nTo: bob@example.net\r\nBcc: eve@example.net\r\nX-SES-MESSAGE-TAGS: a=b\r\n\r\nhello\r\n"
)


def test_mail_of_every_operation_reaches_ses_with_what_was_said_about_it():
    port = free_port()
    with Line(SLUICE_API_PORT=str(port), SLUICE_RELAY_CONFIGURATION_SETS="ours=theirs") as line:
        line.start("api")
        line.worker()
        key = AccessKeyFile(line.settings.access_keys_file).add("shop")
        # Repeats, since a store that is silent for two seconds has an answer of its own: try again.
        config = Config(retries={"total_max_attempts": 6}, proxies={}, read_timeout=60)
        ses, sesv2 = (
            client_of(service, f"http://127.0.0.1:{port}", key.access_key_id, key.secret, config=config)
            for service in ("ses", "sesv2")
        )
        text = {"Subject": {"Data": "hello"}, "Body": {"Text": {"Data": "hello"}}}
        to = {"ToAddresses": ["bob@example.net"], "BccAddresses": ["eve@example.net"]}
        sends = [
            ses.send_raw_email(RawMessage={"Data": RAW}, ConfigurationSetName="ours"),
            ses.send_email(Source="ann@example.com", Destination=to, Message=text, Tags=[{"Name": "a", "Value": "b"}]),
            sesv2.send_email(
                FromEmailAddress="ann@example.com",
                Destination=to,
                Content={"Simple": text},
                EmailTags=[{"Name": "a", "Value": "b"}],
            ),
        ]
        ids = [answer["MessageId"] for answer in sends]
        line.wait_for(ids)
        line.account(ids).assert_clean()
        entries = {entry["tags"]["sluice-batch"].partition(".")[0]: entry for entry in line.ledger()}
        assert sorted(entries) == sorted(ids)
        for message_id in ids:
            entry = entries[message_id]
            assert (entry["source"], entry["destinations"]) == (
                "ann@example.com",
                ["bob@example.net", "eve@example.net"],
            )
            assert entry["tags"]["a"] == "b"
            relayed = line.raw(entry)
            assert b"eve@" not in relayed
            assert b"X-SES" not in relayed
        assert entries[ids[0]]["configuration_set"] == "theirs"
        command = [sys.executable, "-m", "mailsluice", "show", ids[0], "--json"]
        shown = subprocess.run(command, cwd=HOUSE, env=line.environment, capture_output=True, check=True, timeout=60)
        assert json.loads(shown.stdout)["message_id"] == ids[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b"mailsluice_api_accepted_total" in answer.read()
