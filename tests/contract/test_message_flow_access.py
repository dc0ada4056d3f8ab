"""Who may use the message flow: signatures of boto3 and of our own making against the real API process."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.auth
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from mailsluice.key_commands import add_key, remove_key
from tests.contract.message_flow_stand import (
    ORIGINAL,
    UPDATED,
    MessageFlowStand,
    client_of,
    message_flow_stand,
)
from tests.line import wait_until

SERVICE = "workmailmessageflow"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[MessageFlowStand]:
    with message_flow_stand(tmp_path_factory.mktemp("flow")) as one:
        yield one


@pytest.fixture(scope="module")
def trusting(tmp_path_factory) -> Iterator[MessageFlowStand]:
    with message_flow_stand(tmp_path_factory.mktemp("flow"), api_trust_loopback=True) as one:
        yield one


def refusal(call: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def sent(request: AWSRequest) -> tuple[int, str, Any]:
    """Status, error and body of a request that was made by hand, again while the door says "later"."""
    session = URLLib3Session(proxies={})

    def answered() -> Any:
        answer = session.send(request.prepare())
        return answer if answer.status_code != 503 else None

    answer = wait_until(answered, "an answer that is none of a slow spool")
    session.close()
    assert answer.headers["x-amzn-RequestId"]
    is_error = answer.status_code >= 300
    return (
        answer.status_code,
        answer.headers.get("x-amzn-ErrorType", ""),
        json.loads(answer.content)["message"] if is_error else answer.content,
    )


def signed(stand: MessageFlowStand, url: str, service: str = SERVICE, **fields: Any) -> AWSRequest:
    request = AWSRequest("GET", url, **fields)
    SigV4Auth(Credentials(stand.key.access_key_id, stand.key.secret), service, "us-east-1").add_auth(request)
    return request


def test_a_request_of_a_known_key_is_answered_in_any_region(stand):
    message_id = stand.message()
    assert stand.get(message_id) == ORIGINAL
    session = boto3.Session(
        aws_access_key_id=stand.key.access_key_id, aws_secret_access_key=stand.key.secret, region_name="eu-west-1"
    )
    client = session.client(SERVICE, endpoint_url=stand.url, config=Config(proxies={}))
    assert stand.get(message_id, client) == ORIGINAL


def test_the_key_is_looked_at_before_the_message(stand):
    assert refusal(lambda: stand.get("x", stand.client("MSKEYUNKNOWN234567"))) == (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_a_wrong_secret_does_not_match(stand):
    client = stand.client(secret="wrong")
    status, code, text = refusal(lambda: stand.get(stand.message(), client))
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert text.startswith("The request signature we calculated does not match the signature you provided.")
    assert stand.key.secret not in text


def test_a_request_without_a_signature_misses_it(stand):
    client = client_of(SERVICE, stand.url, config=Config(signature_version=UNSIGNED, proxies={}))
    assert refusal(lambda: stand.get(stand.message(), client)) == (
        403,
        "MissingAuthenticationToken",
        "Missing Authentication Token",
    )


def test_credentials_with_a_session_token_are_unknown(stand):
    client = client_of(
        SERVICE, stand.url, stand.key.access_key_id, stand.key.secret, aws_session_token="FwoGZXIvYXdzEXAMPLE"
    )
    assert refusal(lambda: stand.get(stand.message(), client))[1] == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("minutes", "words"), [(-6, "Signature expired: "), (6, "Signature not yet current: ")], ids=["late", "early"]
)
def test_a_clock_that_is_wrong_is_told_with_both_times(stand, monkeypatch, minutes, words):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    status, code, text = refusal(lambda: stand.get(stand.message()))
    assert (status, code) == (403, "InvalidSignatureException")
    assert text.startswith(f"{words}{at:%Y%m%dT%H%M%SZ} is ")
    assert "5 min.)" in text


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_that_is_a_little_wrong_does(stand, monkeypatch, minutes):
    message_id, at = stand.message(), datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    assert stand.get(message_id) == ORIGINAL


def test_a_signature_for_another_service_does_not_count(stand):
    status, code, text = sent(signed(stand, f"{stand.url}/messages/{stand.message()}", service="ses"))
    assert (status, code) == (403, "SignatureDoesNotMatch")
    assert SERVICE in text


def test_a_presigned_request_is_refused_by_name(stand):
    request = AWSRequest("GET", f"{stand.url}/messages/{stand.message()}")
    SigV4QueryAuth(Credentials(stand.key.access_key_id, stand.key.secret), SERVICE, "us-east-1").add_auth(request)
    status, code, text = sent(request)
    assert (status, code) == (403, "IncompleteSignature")
    assert "Presigned" in text


def test_an_unsigned_payload_is_refused_by_name(stand):
    url = f"{stand.url}/messages/{stand.message()}"
    _, code, text = sent(signed(stand, url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}))
    assert code == "SignatureDoesNotMatch"
    assert "UNSIGNED-PAYLOAD" in text


def test_a_body_that_was_changed_on_the_way_does_not_match(stand):
    message_id, reference = stand.message(), stand.in_bucket(UPDATED)
    body = json.dumps({"content": {"s3Reference": reference}}).encode()
    request = AWSRequest("POST", f"{stand.url}/messages/{message_id}", data=body)
    SigV4Auth(Credentials(stand.key.access_key_id, stand.key.secret), SERVICE, "us-east-1").add_auth(request)
    request.data = body.replace(b"update", b"upDate")
    assert sent(request)[1] == "SignatureDoesNotMatch"
    assert stand.get(message_id) == ORIGINAL


def test_a_path_that_was_changed_on_the_way_does_not_match(stand):
    request = signed(stand, f"{stand.url}/messages/{stand.message()}")
    request.url = f"{stand.url}/messages/{stand.message()}"
    assert sent(request)[1] == "SignatureDoesNotMatch"


def test_a_query_and_odd_blanks_in_headers_are_part_of_the_signature(stand):
    url = f"{stand.url}/messages/{stand.message()}?b=2&a=x%20y&a=&c"
    request = signed(stand, url, headers={"X-Amz-Meta-Odd": "  two   blanks  "})
    assert sent(request)[0] == 200
    request.url = url.replace("b=2", "b=3")
    assert sent(request)[1] == "SignatureDoesNotMatch"


def test_every_amz_header_must_be_signed(stand):
    request = signed(stand, f"{stand.url}/messages/{stand.message()}")
    request.headers["X-Amz-Later"] = "added"
    assert sent(request)[1:] == (
        "SignatureDoesNotMatch",
        "'x-amz-later' must be a 'SignedHeader' in the AWS Authorization.",
    )


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("", "MissingAuthenticationToken"),
        ("Bearer x", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=A/20260101/r/s/aws4_request, Signature=0", "IncompleteSignature"),
        ("AWS3-HTTPS AWSAccessKeyId=A, Algorithm=HmacSHA256, Signature=x", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 " + "=,/" * 2000, "IncompleteSignature"),
    ],
)
def test_what_is_no_signature_is_told(stand, shown, code):
    request = AWSRequest("GET", f"{stand.url}/messages/x", headers={"Authorization": shown} if shown else {})
    assert sent(request)[:2] == (403, code)


def test_a_key_works_from_the_moment_it_is_made_until_it_is_removed(stand):
    message_id, file = stand.message(), stand.settings.access_keys_file
    said = dict(line.split("=", 1) for line in add_key(file, "second", ()).splitlines() if line.startswith("AWS_"))
    client = stand.client(said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"])
    assert stand.get(message_id, client) == ORIGINAL
    remove_key(file, "second")
    assert refusal(lambda: stand.get(message_id, client))[1] == "UnrecognizedClientException"


def test_a_file_of_keys_that_others_can_read_is_not_used(stand):
    message_id, file = stand.message(), stand.settings.access_keys_file
    file.chmod(0o644)
    try:
        status, code, text = refusal(lambda: stand.get(message_id, stand.client(attempts=1)))
    finally:
        file.chmod(0o600)
    assert (status, code) == (503, "ServiceUnavailableException")
    assert str(file) not in text
    assert stand.get(message_id) == ORIGINAL


def test_a_trusted_machine_needs_no_key_and_no_signature(trusting):
    message_id = trusting.message()
    assert trusting.get(message_id, trusting.client("test", "test")) == ORIGINAL
    unsigned = client_of(SERVICE, trusting.url, config=Config(signature_version=UNSIGNED, proxies={}))
    assert trusting.get(message_id, unsigned) == ORIGINAL
    assert sent(AWSRequest("GET", f"{trusting.url}/messages/{message_id}"))[0] == 200
    with_token = client_of(SERVICE, trusting.url, aws_session_token="FwoGZXIvYXdzEXAMPLE")
    assert trusting.get(message_id, with_token) == ORIGINAL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Origin", "https://evil.example"),
        ("Referer", "https://evil.example/"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ],
)
def test_what_was_passed_on_is_not_of_the_trusted_machine(trusting, name, value):
    url = f"{trusting.url}/messages/{trusting.message()}"
    assert sent(AWSRequest("GET", url, headers={name: value}))[1] == "MissingAuthenticationToken"
    assert sent(signed(trusting, url, headers={name: value}))[0] == 200


@pytest.mark.parametrize("message_id", ["%ff", "a%ff", "%ed%a0%80"])
def test_an_id_that_is_no_utf_8_is_not_found(trusting, message_id):
    status, code, _ = sent(AWSRequest("GET", f"{trusting.url}/messages/{message_id}"))
    assert (status, code) == (404, "ResourceNotFoundException")


def test_no_secret_is_in_the_log(tmp_path):
    with message_flow_stand(tmp_path) as stand:
        stand.get(stand.message())
        refusal(lambda: stand.get(stand.message(), stand.client(secret="wrong-and-secret")))
        stand.process.terminate()
        _, log = stand.process.communicate(timeout=30)
    assert "api.started" in log
    assert stand.key.secret not in log
    assert "wrong-and-secret" not in log
