"""The query protocol of the SES door as bytes: the sample of 2011, orders of fields, errors, signatures, repeats."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.contract.message_flow_stand import client_of
from tests.contract.ses_stand import RAW, SesStand, refusal, ses_stand

HERE = Path(__file__).parent / "wire"
NAMESPACE = "{http://ses.amazonaws.com/doc/2010-12-01/}"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[SesStand]:
    with ses_stand(tmp_path_factory.mktemp("ses")) as one:
        yield one


@pytest.fixture(scope="module")
def trusting(tmp_path_factory) -> Iterator[SesStand]:
    with ses_stand(tmp_path_factory.mktemp("ses"), api_trust_loopback=True) as one:
        yield one


def posted(
    stand: SesStand, body: bytes, headers: dict[str, str] | None = None, path: str = "/"
) -> tuple[int, Any, Any]:
    """Status, headers and the XML of an answer."""
    connection = http.client.HTTPConnection(urlsplit(stand.url).netloc, timeout=60)
    connection.request("POST" if body else "GET", path, body or None, headers or {"Content-Type": FORM})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, ET.fromstring(text)


def signed(stand: SesStand, body: bytes) -> dict[str, str]:
    request = AWSRequest("POST", f"{stand.url}/", data=body, headers={"Content-Type": FORM})
    SigV4Auth(Credentials(stand.key.access_key_id, stand.key.secret), "ses", "eu-west-1").add_auth(request)
    return dict(request.prepare().headers)


def id_of(xml: Any) -> dict[str, str]:
    found = xml.find(f"{NAMESPACE}SendRawEmailResult/{NAMESPACE}MessageId")
    return {"MessageId": found.text}


def test_the_sample_of_2011_is_taken(trusting):
    body = (HERE / "send_raw_email_of_2011.txt").read_bytes().strip()
    headers = {
        "Content-Type": FORM,
        "X-Amzn-Authorization": "AWS3-HTTPS AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE, Algorithm=HMACSHA256, Signature=x",
        "Date": "Wed, 17 Aug 2011 00:21:38 GMT",
    }
    status, got, xml = posted(trusting, body, headers)
    assert (status, got["Content-Type"], xml.tag) == (200, "text/xml", f"{NAMESPACE}SendRawEmailResponse")
    assert xml.find(f"{NAMESPACE}ResponseMetadata/{NAMESPACE}RequestId").text == got["x-amzn-RequestId"]
    message = trusting.message(id_of(xml))
    assert (message.sender, message.recipients) == ("example@amazon.com", ("example@amazon.com",))
    decoded = (HERE / "send_raw_email_of_2011.eml").read_bytes()
    assert trusting.content(id_of(xml)) == decoded.replace(b"\n", b"\r\n")


def test_the_action_may_be_the_last_field_and_base64_unescaped(stand):
    body = b"RawMessage.Data=RnJvbTogYUBiLmNvbQpUbzogY0BkLmNvbQoKPz8/Pj4+&Tags.member.2.Value=w&Tags.member.2.Name=b"
    body += (
        b"&Tags.member.10.Name=c&Tags.member.10.Value=x&Source=&Destinations=&Version=2010-12-01&Action=SendRawEmail"
    )
    status, _, xml = posted(stand, body, signed(stand, body))
    assert status == 200
    assert stand.message(id_of(xml)).parameters.tags == (("b", "w"), ("c", "x"))
    assert stand.content(id_of(xml)).endswith(b"\r\n\r\n???>>>")


def test_a_link_is_no_call(trusting):
    connection = http.client.HTTPConnection(urlsplit(trusting.url).netloc, timeout=60)
    connection.request("GET", "/?Action=CreateConfigurationSet&ConfigurationSet.Name=of-a-link")
    assert connection.getresponse().status == 404
    connection.close()
    assert trusting.ses.list_configuration_sets()["ConfigurationSets"] == []


def test_sockets_that_announce_bodies_and_send_none_keep_nobody_out(stand):
    signed_head = signed(stand, b"Action=GetSendQuota")["Authorization"]
    with contextlib.ExitStack() as open_sockets:
        for size, authorization in ((13_900_000, ""), (13_900_000, signed_head), (9_000_000, signed_head)):
            place = urlsplit(stand.url)
            one = open_sockets.enter_context(socket.create_connection((place.hostname, place.port), timeout=60))
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {size}\r\n"
            one.sendall(f"{head}Authorization: {authorization}\r\n\r\n".encode())
            if not authorization:  # no key is refused before a byte of the body came
                with one.makefile("rb") as answer:
                    assert answer.read(12) == b"HTTP/1.1 403"
        for _ in range(3):
            assert stand.ses.send_raw_email(RawMessage={"Data": RAW})["MessageId"]


def test_on_the_trusted_machine_a_known_key_counts_as_itself(trusting):
    limited = trusting.keys.add("limited", senders=("shop.example.com",))
    told = refusal(trusting.client("ses", limited).send_raw_email, RawMessage={"Data": RAW})
    assert told[:2] == (400, "MessageRejected")
    message = trusting.message(trusting.ses.send_raw_email(RawMessage={"Data": RAW}))
    assert message.user == "shop"
    wrong = client_of("ses", trusting.url, trusting.key.access_key_id, "wrong")
    assert refusal(wrong.send_raw_email, RawMessage={"Data": RAW})[:2] == (403, "SignatureDoesNotMatch")


def test_a_key_that_is_limited_to_senders_changes_nothing_for_others(stand):
    limited = stand.keys.add("tenant", senders=("tenant.example",))
    ses, sesv2 = stand.client("ses", limited), stand.client("sesv2", limited)
    of_all = {"ConfigurationSetName": "x"}
    event = {"Name": "x", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": "arn:aws:sns:us-east-1:1:t"}}
    for call, parameters in (
        (ses.create_configuration_set, {"ConfigurationSet": {"Name": "x"}}),
        (ses.delete_configuration_set, of_all),
        (ses.create_configuration_set_event_destination, {**of_all, "EventDestination": event}),
        (ses.update_configuration_set_event_destination, {**of_all, "EventDestination": event}),
        (ses.delete_configuration_set_event_destination, {**of_all, "EventDestinationName": "x"}),
    ):
        assert refusal(call, **parameters)[:2] == (403, "AccessDenied")
    told = refusal(ses.delete_configuration_set, **of_all)[2]
    assert told.startswith("User: tenant is not authorized to perform: ses:DeleteConfigurationSet")
    address = {"EmailAddress": "a@example.com"}
    for call, parameters in (
        (sesv2.put_suppressed_destination, {**address, "Reason": "BOUNCE"}),
        (sesv2.get_suppressed_destination, address),
        (sesv2.list_suppressed_destinations, {}),
        (sesv2.delete_suppressed_destination, address),
    ):
        assert refusal(call, **parameters)[:2] == (403, "AccessDeniedException")
    assert ses.list_configuration_sets()["ConfigurationSets"] == []


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            b"Action=SendRawEmail",
            "ValidationError",
            "'RawMessage' failed to satisfy constraint: Member must not be null",
        ),
        (b"Action=SendRawEmail&RawMessage.Data=%21%21", "MalformedInput", "not valid base64"),
        (b"Action=SendRawEmail&RawMessage=x&RawMessage.Data=eA==", "MalformedInput", "has a value and members"),
        (b"Action=SendRawEmail&RawMessage.Data=eA==&Destinations.member.x=a", "MalformedInput", "member.1, member.2"),
        (b"Action=SendRawEmail" + b"&" * 10_000, "MalformedInput", "too many parameters"),
        (b"Action=SendTemplatedEmail", "InvalidAction", "The operation SendTemplatedEmail is not offered here."),
        (b"Action=RunInstances", "InvalidAction", "The operation RunInstances is not offered here."),
    ],
)
def test_a_form_that_is_no_call_is_told_what_is_wrong(trusting, body, code, words):
    status, got, xml = posted(trusting, body)
    assert (status, got["Content-Type"], xml.tag) == (400, "text/xml", f"{NAMESPACE}ErrorResponse")
    error = xml.find(f"{NAMESPACE}Error")
    assert [one.tag.removeprefix(NAMESPACE) for one in error] == ["Type", "Code", "Message"]
    assert (error[0].text, error[1].text) == ("Sender", code)
    assert words in error[2].text
    assert xml.find(f"{NAMESPACE}RequestId").text == got["x-amzn-RequestId"]


def test_what_a_client_sent_cannot_break_the_xml_of_an_error(trusting):
    body = b"Action=SendRawEmail&RawMessage.Data=eA==&ConfigurationSetName=%00%1b%3C%26]]%3E%F0%9F%98%80%FF&Source=a@b"
    status, _, xml = posted(trusting, body + b"&Destinations.member.1=c@d")
    error = xml.find(f"{NAMESPACE}Error")
    assert (status, error[1].text) == (400, "ConfigurationSetDoesNotExist")
    assert error.find(f"{NAMESPACE}ConfigurationSetName").text == "??<&]]>😀\ufffd"


def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(trusting):
    status, _, xml = posted(trusting, b"Action=SendRawEmail&RawMessage.Data=" + b"A" * 34_000_000)
    assert (status, xml.find(f"{NAMESPACE}Error")[1].text) == (413, "RequestEntityTooLarge")


def test_who_asks_is_told_what_is_wrong_with_the_signature(stand):
    unsigned = client_of("ses", stand.url, config=Config(signature_version=UNSIGNED, proxies={}))
    assert refusal(unsigned.get_send_quota)[:2] == (403, "MissingAuthenticationToken")
    unknown = client_of("ses", stand.url, "MSKEYUNKNOWN234567", "x")
    assert refusal(unknown.get_send_quota)[:2] == (403, "InvalidClientTokenId")
    wrong = client_of("ses", stand.url, stand.key.access_key_id, "wrong")
    assert refusal(wrong.send_raw_email, RawMessage={"Data": RAW})[:2] == (403, "SignatureDoesNotMatch")
    assert refusal(wrong.send_raw_email, RawMessage={"Data": RAW * 10_000})[:2] == (403, "SignatureDoesNotMatch")
    wrong = client_of("sesv2", stand.url, stand.key.access_key_id, "wrong")
    assert refusal(wrong.send_email, Content={"Raw": {"Data": RAW}})[:2] == (403, "SignatureDoesNotMatch")


def test_operations_that_are_not_offered_are_refused_by_name(stand):
    told = refusal(stand.ses.verify_email_identity, EmailAddress="a@example.com")
    assert told == (400, "InvalidAction", "The operation VerifyEmailIdentity is not offered here.")
    told = refusal(stand.ses.send_templated_email, Source="a@b.c", Destination={}, Template="t", TemplateData="{}")
    assert told == (400, "InvalidAction", "The operation SendTemplatedEmail is not offered here.")
    told = refusal(stand.sesv2.send_bulk_email, DefaultContent={}, BulkEmailEntries=[])
    assert told == (404, "UnknownOperationException", "The operation SendBulkEmail is not offered here.")


def test_on_the_trusted_machine_any_key_sends_as_anybody(trusting):
    ses = boto3.Session().client("ses", region_name="eu-west-1", endpoint_url=trusting.url, config=Config(proxies={}))
    message = trusting.message(ses.send_raw_email(RawMessage={"Data": RAW}))
    assert (message.user, message.sender) == ("", "ann@example.com")


@pytest.fixture
def losing(stand) -> Iterator[tuple[str, list[str]]]:
    """A proxy that passes every request on and loses the first answer; its URL, and the invocation ids it saw."""
    seen: list[str] = []

    class Losing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            upstream = http.client.HTTPConnection(urlsplit(stand.url).netloc, timeout=60)
            upstream.request("POST", self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            text = answer.read()
            upstream.close()
            seen.append(self.headers["amz-sdk-invocation-id"])
            if len(seen) > 1:
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(text)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Losing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("service", ["ses", "sesv2"])
def test_a_call_that_boto3_repeats_is_one_message(stand, losing, service):
    url, seen = losing
    client = stand.client(service, url=url, attempts=4)
    before = stand.waiting()
    if service == "ses":
        answer = client.send_raw_email(RawMessage={"Data": RAW})
    else:
        answer = client.send_email(Content={"Raw": {"Data": RAW}})
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert stand.waiting() == before + 1
    assert stand.message(answer).recipients == ("bob@example.net",)


def test_two_calls_are_two_messages(stand):
    first, second = (stand.ses.send_raw_email(RawMessage={"Data": RAW})["MessageId"] for _ in range(2))
    assert first != second


def with_key(client: Any, key: str) -> Any:
    client.meta.events.register(
        "before-sign.*", lambda request, **_: request.headers.add_header("X-Sluice-Idempotency-Key", key)
    )
    return client


def test_a_key_of_the_programs_own_makes_a_repeat_known(stand):
    ses = with_key(stand.client("ses"), "order-17")
    first = ses.send_raw_email(RawMessage={"Data": RAW})["MessageId"]
    assert ses.send_raw_email(RawMessage={"Data": RAW + b"x"})["MessageId"] == first
    other = ses.send_raw_email(RawMessage={"Data": RAW}, Destinations=["other@example.net"])["MessageId"]
    assert other != first
    somebody = with_key(stand.client("ses", stand.keys.add("somebody")), "order-17")
    assert somebody.send_raw_email(RawMessage={"Data": RAW})["MessageId"] not in {first, other}
    in_the_message = b"X-Sluice-Idempotency-Key: order-17\r\n" + RAW
    assert stand.ses.send_raw_email(RawMessage={"Data": in_the_message})["MessageId"] == first
    told = refusal(with_key(stand.client("ses"), "a b").send_raw_email, RawMessage={"Data": RAW})
    assert told[:2] == (400, "InvalidParameterValue")


def test_without_the_store_clients_are_told_to_try_again(tmp_path):
    with ses_stand(tmp_path, api_commit_timeout_seconds=1) as stand:
        patient = stand.client("ses", attempts=10)  # a second may be too short for a store that is there, too
        patient.send_raw_email(RawMessage={"Data": RAW})
        stand.redis.kill()
        for call, parameters, code in (
            (stand.ses.send_raw_email, {"RawMessage": {"Data": RAW}}, "ServiceUnavailable"),
            (stand.sesv2.send_email, {"Content": {"Raw": {"Data": RAW}}}, "ServiceUnavailableException"),
            (stand.ses.get_send_quota, {}, "ServiceUnavailable"),
        ):
            assert refusal(call, **parameters)[:2] == (503, code)
        with pytest.raises(ClientError) as caught:
            stand.client("ses", attempts=2).send_raw_email(RawMessage={"Data": RAW})
        assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 1
        stand.redis.start()
        assert stand.message(patient.send_raw_email(RawMessage={"Data": RAW})).door == "api"


def test_a_sender_that_nobody_can_verify_is_rejected_by_everybody(trusting):
    for address in (b"invalid@invalid", b"x@a.invalid"):
        told = refusal(trusting.ses.send_raw_email, RawMessage={"Data": RAW.replace(b"ann@example.com", address)})
        assert told[:2] == (400, "MessageRejected")
        assert told[2].startswith("Email address is not verified. The following identities failed the check in region")
