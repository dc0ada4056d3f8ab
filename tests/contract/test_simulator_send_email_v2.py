"""SendEmail with raw content and GetAccount of the v2 API, as the unmodified client sees them."""

import re

import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\n\x00\xff body\r\n"


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, raw=RAW, **parameters):
    return ses.client("sesv2").send_email(Content={"Raw": {"Data": raw}}, **parameters)


def test_an_accepted_call_is_in_the_ledger_byte_for_byte(ses):
    answer = send(
        ses,
        FromEmailAddress="ann@example.com",
        Destination={"ToAddresses": ["b@example.com"], "BccAddresses": ["c@example.com"]},
        EmailTags=[{"Name": "n", "Value": "v"}],
        ConfigurationSetName="set-1",
    )
    [line] = ses.ledger()
    assert line["ses_message_id"] == answer["MessageId"]
    assert line["destinations"] == ["b@example.com", "c@example.com"]
    assert (line["configuration_set"], line["tags"]) == ("set-1", {"n": "v"})
    assert ses.request("GET", f"/messages/{answer['MessageId']}")[2] == RAW


def test_without_an_envelope_the_headers_are_it(ses):
    send(ses)
    assert ses.ledger()[0]["destinations"] == ["bob@example.com"]


def test_twelve_megabytes_are_accepted_and_forty_of_base64_are_not(ses):
    assert send(ses, RAW + b"x" * 12_000_000)["MessageId"]
    with pytest.raises(ses.client("sesv2").exceptions.BadRequestException, match="more than 41943040 bytes"):
        send(ses, RAW + b"x" * (40 * 1024 * 1024 // 4 * 3))
    assert len(ses.ledger()) == 1


def raised(ses, name, call=send, **parameters):
    client = ses.client("sesv2")
    with pytest.raises(getattr(client.exceptions, name)) as caught:
        call(ses, **parameters)
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    return caught.value.response


def test_an_unacceptable_call_raises_the_typed_error(ses):
    answer = raised(ses, "BadRequestException", Destination={"ToAddresses": ["bad"]})
    assert answer["Error"]["Message"] == "Missing final '@domain'"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    tags = [{"Name": "a b", "Value": "v"}]
    assert raised(ses, "BadRequestException", EmailTags=tags)["Error"]["Message"].startswith("Invalid tag name <a b>:")


def test_a_call_over_the_rate_raises_the_typed_error():
    with simulated_ses(max_send_rate=0.01) as ses:
        send(ses)
        answer = raised(ses, "TooManyRequestsException")
        assert answer["Error"]["Message"] == "Maximum sending rate exceeded."
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_a_call_over_the_quota_raises_the_typed_error():
    with simulated_ses(max_24_hour_send=1) as ses:
        send(ses)
        assert raised(ses, "TooManyRequestsException")["Error"]["Message"] == "Daily message quota exceeded."


@pytest.mark.parametrize(
    ("kind", "name"),
    [("reject", "MessageRejected"), ("paused", "SendingPausedException"), ("throttle", "TooManyRequestsException")],
)
def test_a_fault_raises_the_typed_error(ses, kind, name):
    ses.json("PUT", "/faults", {"kind": kind})
    raised(ses, name)
    assert ses.ledger() == []


@pytest.mark.parametrize(("kind", "status"), [("error_500", 500), ("error_503", 503)])
def test_a_server_error_has_its_status(ses, kind, status):
    ses.json("PUT", "/faults", {"kind": kind})
    with pytest.raises(ClientError) as caught:
        send(ses)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_simple_content_is_refused_by_name(ses):
    with pytest.raises(ses.client("sesv2").exceptions.BadRequestException, match=r"Content\.Raw"):
        ses.client("sesv2").send_email(
            Content={"Simple": {"Subject": {"Data": "s"}, "Body": {}}}, Destination={"ToAddresses": ["a@example.com"]}
        )


def test_the_account_tells_its_limits():
    with simulated_ses(max_send_rate=14, max_24_hour_send=50_000) as ses:
        send(ses, Destination={"ToAddresses": [f"r{number}@example.com" for number in range(7)]})
        account = ses.client("sesv2").get_account()
        assert account["SendQuota"] == {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 7.0}
        assert account["ProductionAccessEnabled"] is True
        assert account["SendingEnabled"] is True


def test_another_operation_is_not_found(ses):
    with pytest.raises(ClientError) as caught:
        ses.client("sesv2").list_configuration_sets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
    status, headers, _ = ses.request("GET", "/v2/email/outbound-emails")
    assert (status, headers["Content-Type"]) == (404, "application/json")


def test_a_body_that_is_no_json_is_refused(ses):
    status, headers, body = ses.request("POST", "/v2/email/outbound-emails", b"{")
    assert (status, headers["x-amzn-ErrorType"]) == (400, "SerializationException")
    assert re.fullmatch(rb'\{"message":".+"\}', body)
