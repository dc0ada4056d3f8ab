"""SendRawEmail of the v1 API, as the unmodified client sees it."""

import hashlib
import re
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

FIXTURES = Path(__file__).parent / "fixtures" / "ses"
HEADERS = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n"
RAW = HEADERS + b"\r\n\x00\xff body +/=\r\n"
SES_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[0-9]{6}")


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, raw=RAW, **parameters):
    return ses.client("ses").send_raw_email(RawMessage={"Data": raw}, **parameters)


def error_of(ses, raw=RAW, **parameters):
    with pytest.raises(ClientError) as caught:
        send(ses, raw, **parameters)
    assert ses.ledger() == []
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    return caught.value.response["Error"]


def test_an_accepted_call_is_in_the_ledger_byte_for_byte(ses):
    answer = send(
        ses,
        Source="ann@example.com",
        Destinations=["b+1@example.com", "c@example.com"],
        Tags=[{"Name": "n", "Value": "v@1.x"}],
        ConfigurationSetName="set-1",
    )
    assert SES_ID.fullmatch(answer["MessageId"])
    uuid.UUID(answer["ResponseMetadata"]["RequestId"])
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"] == answer["ResponseMetadata"]["RequestId"]
    [line] = ses.ledger()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line.pop("accepted_at"))
    assert line == {
        "ses_message_id": answer["MessageId"],
        "source": "ann@example.com",
        "destinations": ["b+1@example.com", "c@example.com"],
        "configuration_set": "set-1",
        "tags": {"n": "v@1.x"},
        "size_bytes": len(RAW),
        "sha256": hashlib.sha256(RAW).hexdigest(),
        "header_message_id": "<1@x>",
        "subject": "hi",
    }
    status, headers, body = ses.request("GET", f"/messages/{answer['MessageId']}")
    assert (status, headers["Content-Type"], body) == (200, "message/rfc822", RAW)


def test_without_an_envelope_the_headers_are_it(ses):
    send(ses)
    [line] = ses.ledger()
    assert (line["source"], line["destinations"]) == ("ann@example.com", ["bob@example.com"])


def test_an_empty_message_with_an_envelope_is_accepted(ses):
    send(ses, b"", Source="ann@example.com", Destinations=["bob@example.com"])
    assert ses.ledger()[0]["size_bytes"] == 0


def test_the_sample_request_of_2011_is_accepted(ses):
    body = (FIXTURES / "send_raw_email_2011_form_body.txt").read_bytes()
    status, headers, answer = ses.request("POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert (status, headers["Content-Type"]) == (200, "text/xml")
    space = "{http://ses.amazonaws.com/doc/2010-12-01/}"
    root = ET.fromstring(answer)
    assert root.tag == f"{space}SendRawEmailResponse"
    assert SES_ID.fullmatch(root.findtext(f"{space}SendRawEmailResult/{space}MessageId"))
    assert root.findtext(f"{space}ResponseMetadata/{space}RequestId")
    assert ses.ledger()[0]["destinations"] == ["example@amazon.com"]


def test_five_megabytes_arrive_unharmed(ses):
    raw = RAW + bytes(range(256)) * 20_000
    ses_message_id = send(ses, raw)["MessageId"]
    assert ses.request("GET", f"/messages/{ses_message_id}")[2] == raw


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"Destinations": [f"r{number}@example.com" for number in range(51)]}, "Recipient count exceeds 50."),
        ({"Destinations": ["good@example.com", "bad"]}, "Missing final '@domain'"),
        ({"Source": "ann"}, "Missing final '@domain'"),
        ({"Destinations": ["dån@example.com"]}, "Local address contains control or whitespace"),
        ({"Destinations": ["dan@exämple.com"]}, "Domain contains control or whitespace"),
        ({"raw": b"To: a@example.com\r\n\r\n"}, "Missing required header 'From'."),
        ({"raw": b"From: a@example.com\r\n\r\n"}, "Missing required header 'To'."),
        ({"raw": b"Subject: a\r\nSubject: b\r\n" + RAW.replace(b"Subject", b"X")}, "Duplicate header 'Subject'."),
        ({"raw": b": a\r\n" + RAW}, "Empty header names are illegal."),
        (
            {"Tags": [{"Name": "a b", "Value": "v"}]},
            "Invalid tag name <a b>: only alphanumeric ASCII characters, '_',  '-' are allowed.",
        ),
        (
            {"Tags": [{"Name": "n", "Value": "<&>"}]},
            "Invalid tag value <<&>>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed.",
        ),
        ({"Tags": [{"Name": "n" * 256, "Value": "v"}]}, "Tag name cannot exceed 255 characters."),
        ({"Tags": [{"Name": "n", "Value": "v" * 256}]}, "Tag value cannot exceed 255 characters."),
        ({"Tags": [{"Name": "", "Value": "v"}]}, "The tag name must be specified."),
        ({"Tags": [{"Name": "n", "Value": ""}]}, "The tag value must be specified."),
    ],
)
def test_an_unacceptable_call_is_refused_with_the_text_of_the_real_service(ses, parameters, text):
    error = error_of(ses, **parameters)
    assert (error["Code"], error["Message"], error["Type"]) == ("InvalidParameterValue", text, "Sender")


def test_more_than_ten_megabytes_of_base64_are_refused(ses):
    error = error_of(ses, RAW + b"x" * (10 * 1024 * 1024 // 4 * 3))
    assert error["Code"] == "InvalidParameterValue"
    assert re.fullmatch(r"Message length is more than 10485760 bytes long: '\d+'\.", error["Message"])


def test_a_call_over_the_rate_is_throttled_and_counted():
    with simulated_ses(max_send_rate=0.01) as ses:
        send(ses)
        with pytest.raises(ClientError) as caught:
            send(ses)
        assert caught.value.response["Error"]["Code"] == "Throttling"
        assert caught.value.response["Error"]["Message"] == "Maximum sending rate exceeded."
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert ses.violations() == {"rate": 1, "rate_recipients": 1, "largest_burst": 1}
        assert ses.json("GET", "/ledger/count") == {"calls": 1, "recipients": 1}


def test_a_call_over_the_daily_quota_is_throttled_and_counted():
    with simulated_ses(max_24_hour_send=2) as ses:
        send(ses, Destinations=[f"r{number}@example.com" for number in range(5)])
        with pytest.raises(ClientError, match="Daily message quota exceeded") as caught:
            send(ses)
        assert caught.value.response["Error"]["Code"] == "Throttling"
        assert ses.violations() == {"daily_quota": 1, "daily_quota_recipients": 1, "largest_burst": 5}


def test_another_action_is_unknown_in_the_form_of_ses(ses):
    with pytest.raises(ClientError) as caught:
        ses.client("ses").list_custom_verification_email_templates()
    assert caught.value.response["Error"]["Code"] == "InvalidAction"
    assert "ListCustomVerificationEmailTemplates" in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_call_without_a_message_is_refused(ses):
    status, _, body = ses.request("POST", "/", b"Action=SendRawEmail")
    assert status == 400
    assert b"<Code>ValidationError</Code>" in body
    assert ses.request("POST", "/", b"")[0] == 400
    assert ses.request("POST", "/", b"Action=SendRawEmail&RawMessage.Data=%25%25")[0] == 400


def test_the_answer_comes_after_the_latency():
    import time

    with simulated_ses(latency_seconds=0.3) as ses:
        started = time.monotonic()
        send(ses)
        assert time.monotonic() - started >= 0.3
