from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from aws_api.wire.failures import NotAdmitted
from aws_api.wire.signature import SKEW, Received, check_time, is_right, read_shown

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY_ID = "AKIDEXAMPLE"
HOST = ("Host", "example.amazonaws.com")


def authorization(signature: str, *, signed: str = "host;x-amz-date", service: str = "service") -> tuple[str, str]:
    scope = f"{KEY_ID}/20150830/us-east-1/{service}/aws4_request"
    value = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
    return ("Authorization", value)


def received(path: str, signature: str, method: str = "GET", **options: str) -> Received:
    headers = (HOST, ("X-Amz-Date", "20150830T123600Z"), authorization(signature, **options))
    return Received(method, path, headers, b"")


def signed_by_botocore(method: str, path: str, body: bytes = b"", **headers: str) -> Received:
    request = AWSRequest(method, f"http://127.0.0.1:2580{path}", headers=headers, data=body)
    SigV4Auth(Credentials(KEY_ID, SECRET), "service", "us-east-1").add_auth(request)
    return Received(method, path, (("Host", "127.0.0.1:2580"), *request.headers.items()), body)


def counts(one: Received, secret: str = SECRET) -> bool:
    return is_right(one, read_shown(one, "service"), secret)


# The signatures of AWS's own test suite for Signature Version 4.
@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_the_signatures_of_awss_test_suite_are_right(method, path, signature):
    assert counts(received(path, signature, method))
    assert not counts(received(path, signature[:-1] + ("0" if signature[-1] != "0" else "1"), method))


@pytest.mark.parametrize("signature", ["", "0" * 64, "é" * 64, "\udcff", "5fa0", "0" * 100_000])
def test_other_signatures_are_not(signature):
    one = received("/", signature or "-")
    assert not counts(one)


@pytest.mark.parametrize(
    "path",
    [
        "/messages/x%2F..%2Fy",
        "/messages/4e87856b-f02f-39d5-a029-9e39ace5b6f1",
        "/messages/%C3%A9%20~",
        "/messages/a//b/./c/../d",
        "/messages/x?b=2&a=1&a=0&c",
        "/messages/x?name=a%20b&plus=a%2Bb&slash=%2F",
    ],
)
def test_paths_and_queries_are_signed_as_boto3_signs_them(path):
    assert counts(signed_by_botocore("GET", path))
    assert not counts(replace(signed_by_botocore("GET", path), raw_path=path + "x"))


@given(
    body=st.binary(max_size=200),
    path=st.lists(st.sampled_from(["a", "%2F", "..", "%25", "~", "-", "%C3%A9"]), max_size=6).map(
        lambda pieces: "/messages/" + "".join(pieces)
    ),
    header=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
)
def test_what_boto3_signs_is_right_and_with_another_body_or_secret_it_is_not(body, path, header):
    one = signed_by_botocore("POST", path, body, **{"X-Amz-Meta-Odd": header})
    assert counts(one)
    assert not counts(replace(one, body=body + b"x"))
    assert not counts(one, SECRET + "x")


def test_headers_that_boto3_would_not_sign_count_when_the_request_signed_them():
    request = AWSRequest("GET", "http://h/", headers={"Host": "h", "User-Agent": "sdk-java"})

    class SignsAll(SigV4Auth):
        def headers_to_sign(self, request):
            found = HTTPMessage()
            for name, value in request.headers.items():
                found[name.lower()] = value
            return found

    SignsAll(Credentials(KEY_ID, SECRET), "service", "us-east-1").add_auth(request)
    one = Received("GET", "/", tuple(request.headers.items()), b"")
    assert "user-agent" in read_shown(one, "service").signed_headers
    assert counts(one)
    changed = tuple((name, "curl" if name == "User-Agent" else value) for name, value in one.headers)
    assert not counts(replace(one, headers=changed))


def test_bytes_that_are_no_text_are_a_wrong_signature_and_no_error():
    one = signed_by_botocore("GET", "/messages/x", **{"X-Amz-Meta-Odd": "x"})
    headers = tuple((name, "\udcff" if name == "X-Amz-Meta-Odd" else value) for name, value in one.headers)
    assert not counts(replace(one, headers=headers))
    assert not counts(replace(one, raw_path="/messages/\udcff"))


@pytest.mark.parametrize("missing", ["host", "x-amz-date"])
def test_host_and_date_must_be_signed(missing):
    signed = ";".join({"host", "x-amz-date"} - {missing})
    with pytest.raises(NotAdmitted, match=f"'{missing}' must be a 'SignedHeader'"):
        read_shown(received("/", "0", signed=signed), "service")


def test_a_header_that_is_signed_must_be_there():
    with pytest.raises(NotAdmitted, match="not in the request: x-gone"):
        read_shown(received("/", "0", signed="host;x-amz-date;x-gone"), "service")


def test_the_date_of_the_scope_is_that_of_the_request():
    one = received("/", "0")
    later = tuple((name, "20150831T123600Z" if name == "X-Amz-Date" else value) for name, value in one.headers)
    with pytest.raises(NotAdmitted, match="does not match YYYYMMDD"):
        read_shown(replace(one, headers=later), "service")


@pytest.mark.parametrize("date", ["", "today", "20150830", "2015-08-30T12:36:00Z", "20159930T123600Z"])
def test_the_date_must_be_one(date):
    one = received("/", "0")
    other = tuple((name, date if name == "X-Amz-Date" else value) for name, value in one.headers)
    with pytest.raises(NotAdmitted) as caught:
        read_shown(replace(one, headers=other), "service")
    assert caught.value.cause == "incomplete"


def test_two_authorization_headers_are_none():
    one = received("/", "0")
    with pytest.raises(NotAdmitted) as caught:
        read_shown(replace(one, headers=(*one.headers, authorization("1"))), "service")
    assert caught.value.cause == "incomplete"


def test_clocks_may_differ_by_five_minutes_and_no_more():
    shown = read_shown(received("/", "0"), "service")
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    for now in (at, at + SKEW, at - SKEW):
        check_time(shown, now)
    with pytest.raises(NotAdmitted) as late:
        check_time(shown, at + SKEW + timedelta(seconds=1))
    assert late.value.reason == (
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
    )
    with pytest.raises(NotAdmitted) as early:
        check_time(shown, at - SKEW - timedelta(seconds=1))
    assert early.value.reason == (
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T123059Z + 5 min.)"
    )
