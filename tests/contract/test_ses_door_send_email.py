"""SendEmail of both APIs, by boto3 against the real API process: what is composed, and what is refused."""

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from tests.contract.ses_stand import RAW, SesStand, refusal, ses_stand

ARN = "arn:aws:ses:us-east-1:111122223333:identity/example.com"
TO = {"ToAddresses": ["bob@example.net"]}
SUBJECT = {"Data": "hello"}
MESSAGE = {"Subject": SUBJECT, "Body": {"Text": {"Data": "hello"}}}


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[SesStand]:
    with ses_stand(tmp_path_factory.mktemp("ses"), relay_configuration_sets="known=theirs") as one:
        yield one


def opened(stand: SesStand, answer: Any) -> EmailMessage:
    content = stand.content(answer)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    parsed = message_from_bytes(content, policy=policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    assert [part.defects for part in parsed.walk()] == [[] for _ in parsed.walk()]
    return parsed


def send(stand: SesStand, **parameters: Any) -> Any:
    return stand.ses.send_email(**{"Source": "ann@example.com", "Destination": TO, "Message": MESSAGE, **parameters})


def simple(stand: SesStand, content: Any = MESSAGE, **parameters: Any) -> Any:
    given = {"FromEmailAddress": "ann@example.com", "Destination": TO, "Content": {"Simple": content}, **parameters}
    return stand.sesv2.send_email(**given)


def test_all_parameters_of_v1_arrive(stand):
    answer = send(
        stand,
        Source="Ann Björk <ann@example.com>",
        Destination={
            "ToAddresses": ["Bob <bob@example.net>", '"Doe, Joe" <joe@example.net>'],
            "CcAddresses": ["carl@exämple.net"],
            "BccAddresses": ["secret@example.net"],
        },
        ReplyToAddresses=["reply@example.com", "=?utf-8?q?Hj=C3=A4lp?= <help@example.com>"],
        ReturnPath="back@example.com",
        SourceArn=ARN,
        ReturnPathArn=ARN + "-back",
        Tags=[{"Name": "a", "Value": "1"}, {"Name": "b", "Value": "2"}],
        ConfigurationSetName="known",
        Message={
            "Subject": {"Data": "Grüße aus Köln", "Charset": "ISO-8859-1"},
            "Body": {
                "Text": {"Data": "Grüße\nzweite Zeile", "Charset": "ISO-8859-1"},
                "Html": {"Data": "<p>Ωμέγα</p>", "Charset": "UTF-8"},
            },
        },
    )
    message = stand.message(answer)
    assert message.sender == "back@example.com"
    assert message.recipients == (
        "bob@example.net",
        "joe@example.net",
        "carl@xn--exmple-cua.net",
        "secret@example.net",
    )
    said = message.parameters
    assert (said.operation, said.configuration_set, said.tags) == ("SendEmail", "known", (("a", "1"), ("b", "2")))
    assert (said.from_arn, said.source_arn, said.return_path_arn) == (ARN, ARN + "-back", ARN + "-back")
    mime = opened(stand, answer)
    assert mime["From"] == "Ann Björk <ann@example.com>"
    assert mime["To"] == 'Bob <bob@example.net>, "Doe, Joe" <joe@example.net>'
    assert mime["Cc"] == "carl@xn--exmple-cua.net"
    assert mime["Reply-To"] == "reply@example.com, Hjälp <help@example.com>"
    assert mime["Subject"] == "Grüße aus Köln"
    assert mime["Bcc"] is None
    assert b"secret" not in stand.content(answer)
    assert mime.get_content_type() == "multipart/alternative"
    text, html = mime.iter_parts()
    assert (text.get_content_type(), text.get_content_charset()) == ("text/plain", "iso-8859-1")
    assert text.get_content().splitlines() == ["Grüße", "zweite Zeile"]
    assert (html.get_content_type(), html.get_content().strip()) == ("text/html", "<p>Ωμέγα</p>")


def test_without_return_path_bounces_go_to_the_source(stand):
    message = stand.message(send(stand, SourceArn=ARN, Destination={"BccAddresses": ["x@example.net"]}))
    assert (message.sender, message.recipients) == ("ann@example.com", ("x@example.net",))
    assert (message.parameters.source_arn, message.parameters.from_arn) == (ARN, ARN)
    assert message.parameters.return_path_arn == ""


@pytest.mark.parametrize(
    ("data", "charset", "encoding"),
    [
        ("plain", None, "7bit"),
        ("line\r\nother\rthird\nlast", None, "7bit"),
        ("some ä in a lot of ASCII " * 50, "UTF-8", "quoted-printable"),
        ("日本語のテキスト" * 40, "UTF-8", "base64"),
        ("日本語", "ISO-2022-JP", "7bit"),
        ("日本語", "Shift_JIS", "base64"),
        ("x" * 5000, None, "quoted-printable"),
        ("Ω does not fit", "ISO-8859-1", "quoted-printable"),
        ("Ω without a charset", None, "quoted-printable"),
        ("", None, "7bit"),
        ("nul \0 inside", None, "base64"),
        (". dots\n..\nFrom here\n=3D", "us-ascii", "7bit"),
    ],
)
def test_a_text_arrives_whatever_is_in_it(stand, data, charset, encoding):
    text = {"Data": data, **({"Charset": charset} if charset else {})}
    mime = opened(stand, send(stand, Message={"Subject": SUBJECT, "Body": {"Html": text}}))
    assert mime.get_content_type() == "text/html"
    assert mime["Content-Transfer-Encoding"] == encoding
    payload = mime.get_payload(decode=True)
    assert isinstance(payload, bytes)
    got = payload.decode(mime.get_content_charset() or "ascii")
    assert re.split(r"\r\n|\r|\n", got.rstrip("\r\n")) == re.split(r"\r\n|\r|\n", data)


@pytest.mark.parametrize(
    "subject",
    ["", "x" * 2000, "word  " * 400, "<" + "y" * 890 + ">", "Ünïcode " * 100, "=?utf-8?q?as_it_is?=", "a: b\tc"],
)
def test_a_subject_arrives_and_is_folded(stand, subject):
    mime = opened(stand, send(stand, Message={**MESSAGE, "Subject": {"Data": subject}}))
    expected = "as it is" if subject.startswith("=?") else subject
    assert " ".join(mime["Subject"].split()) == " ".join(expected.split())


@pytest.mark.parametrize("value", ["x\r\nBcc: evil@example.net", "x\nY: z", "x\rz", "x\0"])
def test_no_value_becomes_a_header_of_its_own(stand, value):
    for parameters in (
        {"Message": {**MESSAGE, "Subject": {"Data": value}}},
        {"Source": f'"{value}" <ann@example.com>'},
        {"ReplyToAddresses": [f"{value} <ann@example.com>"]},
        {"Destination": {"ToAddresses": [f"{value} <bob@example.net>"]}},
    ):
        status, code, _ = refusal(lambda **_: send(stand, **parameters))  # noqa: B023 - called at once
        assert (status, code) == (400, "InvalidParameterValue")
    encoded = "=?utf-8?q?x=0D=0ABcc:_evil=40example.net?= <ann@example.com>"
    assert refusal(lambda **_: send(stand, Source=encoded))[1] == "InvalidParameterValue"


def test_what_v1_refuses(stand):
    for parameters, text in (
        ({"Destination": {"BccAddresses": []}}, "Missing required header 'To'."),
        ({"Destination": {"ToAddresses": [f"u{n}@example.net" for n in range(51)]}}, "Recipient count exceeds 50."),
        ({"Source": ""}, "Missing required header 'From'."),
        ({"Source": "Doe, John <john@example.com>"}, "Missing final '@domain'"),
        ({"ReplyToAddresses": ["nobody"]}, "Missing final '@domain'"),
        ({"Message": {**MESSAGE, "Subject": {"Data": "x", "Charset": "rot13"}}}, "Unsupported charset <rot13>."),
        ({"Tags": [{"Name": "", "Value": ""}], "Destination": {"CcAddresses": []}}, "The tag name must be specified."),
    ):
        assert refusal(lambda **_: send(stand, **parameters)) == (400, "InvalidParameterValue", text)  # noqa: B023
    with pytest.raises(stand.ses.exceptions.ConfigurationSetDoesNotExistException):
        send(stand, ConfigurationSetName="unknown")


def test_v2_raw_is_taken_as_it_is_with_all_that_goes_with_it(stand):
    answer = stand.sesv2.send_email(
        FromEmailAddress="Ann <source@example.com>",
        FromEmailAddressIdentityArn=ARN,
        Destination={
            "ToAddresses": ["to@example.net"],
            "CcAddresses": ["cc@example.net"],
            "BccAddresses": ["bcc@example.net"],
        },
        Content={"Raw": {"Data": RAW}},
        EmailTags=[{"Name": "a", "Value": "1"}],
        ConfigurationSetName="known",
    )
    message = stand.message(answer)
    assert (message.sender, message.recipients) == (
        "source@example.com",
        ("to@example.net", "cc@example.net", "bcc@example.net"),
    )
    said = message.parameters
    assert (said.operation, said.configuration_set, said.tags) == ("SendEmail", "known", (("a", "1"),))
    assert (said.source_arn, said.from_arn) == (ARN, ARN)
    assert stand.content(answer) == RAW
    answer = stand.sesv2.send_email(
        Content={"Raw": {"Data": RAW}},
        FeedbackForwardingEmailAddress="back@example.com",
        FeedbackForwardingEmailAddressIdentityArn=ARN,
    )
    message = stand.message(answer)
    assert (message.sender, message.recipients) == ("back@example.com", ("bob@example.net",))
    assert (message.parameters.source_arn, message.parameters.from_arn) == (ARN, "")
    assert message.parameters.return_path_arn == ARN


def test_v2_simple_has_headers_and_attachments(stand):
    answer = simple(
        stand,
        {
            "Subject": {"Data": "two files"},
            "Body": {"Text": {"Data": "see"}, "Html": {"Data": "<img src='cid:logo'>"}},
            "Headers": [
                {"Name": "List-Unsubscribe", "Value": "<https://example.com/u?a=b>"},
                {"Name": "X-A", "Value": "b"},
            ],
            "Attachments": [
                {
                    "RawContent": b"\x89PNG\0\r\n",
                    "FileName": "logo.png",
                    "ContentDisposition": "INLINE",
                    "ContentId": "logo",
                },
                {
                    "RawContent": b"a;b\n1;2\n",
                    "FileName": "Überschrift mit einem sehr langen Namen, der nicht in eine Zeile passt.csv",
                    "ContentType": "text/csv; charset=utf-8",
                    "ContentDescription": "eine Größe",
                    "ContentTransferEncoding": "QUOTED_PRINTABLE",
                },
                {"RawContent": b"plain\n", "FileName": 'a "b".txt', "ContentTransferEncoding": "SEVEN_BIT"},
            ],
        },
        ReplyToAddresses=["reply@example.com"],
        FeedbackForwardingEmailAddress="back@example.com",
    )
    assert stand.message(answer).sender == "back@example.com"
    mime = opened(stand, answer)
    assert (mime["Reply-To"], mime["List-Unsubscribe"], mime["X-A"]) == (
        "reply@example.com",
        "<https://example.com/u?a=b>",
        "b",
    )
    assert mime.get_content_type() == "multipart/mixed"
    related, csv, plain = mime.iter_parts()
    assert related.get_content_type() == "multipart/related"
    alternative, logo = related.iter_parts()
    assert [part.get_content_type() for part in alternative.iter_parts()] == ["text/plain", "text/html"]
    assert (logo.get_content(), logo["Content-ID"], logo.get_content_disposition()) == (
        b"\x89PNG\0\r\n",
        "<logo>",
        "inline",
    )
    assert csv.get_filename() == "Überschrift mit einem sehr langen Namen, der nicht in eine Zeile passt.csv"
    assert (csv.get_payload(decode=True), csv["Content-Description"]) == (b"a;b\n1;2\n", "eine Größe")
    assert csv.get_content_type() == "text/csv"
    assert (plain.get_filename(), plain.get_content().rstrip()) == ('a "b".txt', "plain")


def test_what_v2_refuses_by_name(stand):
    raw = {"Raw": {"Data": RAW}}
    sender = {"FromEmailAddress": "ann@example.com", "Destination": TO}
    wrong_header = {**MESSAGE, "Headers": [{"Name": "Bcc", "Value": "x@example.net"}]}
    for parameters, words in (
        (
            {"Content": {"Template": {"TemplateName": "x", "TemplateData": "{}"}}},
            "Content.Template is not offered here",
        ),
        ({"Content": {}}, "Content must have exactly one of Raw and Simple."),
        ({"Content": {**raw, "Simple": MESSAGE}}, "Content must have exactly one of Raw and Simple."),
        ({"Content": raw, "ReplyToAddresses": ["a@example.com"]}, "ReplyToAddresses goes with Content.Simple"),
        (
            {"Content": raw, "ListManagementOptions": {"ContactListName": "x"}},
            "ListManagementOptions is not offered here",
        ),
        ({"Content": raw, "TenantName": "x"}, "TenantName is not offered here"),
        ({"Content": {"Simple": wrong_header}, **sender}, "Header 'Bcc' cannot be set"),
        (
            {"Content": {"Simple": {**MESSAGE, "Headers": [{"Name": "A B", "Value": "x"}]}}},
            "1 validation error detected: Value 'A B' at 'Content.Simple.Headers.1.member.Name' failed",
        ),
        ({"Content": raw, "Destination": {"ToAddresses": ["x"] * 51}}, "Recipient count exceeds 50."),
        ({"Content": {"Simple": MESSAGE}}, "Missing required header 'From'."),
        ({"Content": raw, "EmailTags": [{"Name": "a b", "Value": "x"}]}, "Invalid tag name <a b>: only"),
    ):
        status, code, text = refusal(stand.sesv2.send_email, **parameters)
        assert (status, code) == (400, "BadRequestException")
        assert text.startswith(words)


def test_an_endpoint_of_many_regions_is_refused_by_name(stand):
    url = f"{stand.url}/v2/email/outbound-emails"
    body = b'{"EndpointId": "x.y", "Content": {"Raw": {"Data": "RnJvbTogYQ0KDQp4"}}}'
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials(stand.key.access_key_id, stand.key.secret), "ses", "us-east-1").add_auth(request)
    answer = URLLib3Session(proxies={}).send(request.prepare())
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (400, "BadRequestException")
    assert b"EndpointId is not offered here" in answer.content


def test_an_unknown_configuration_set_is_not_found_in_v2(stand):
    with pytest.raises(stand.sesv2.exceptions.NotFoundException) as caught:
        simple(stand, ConfigurationSetName="unknown")
    assert caught.value.response["Error"]["Message"] == "Configuration set <unknown> does not exist."


def test_an_identity_that_is_not_the_keys_is_rejected_in_v2_with_the_region(stand):
    sesv2 = stand.client("sesv2", stand.keys.add("limited", ["example.org"]))
    told = refusal(sesv2.send_email, Content={"Raw": {"Data": RAW}})
    assert told[:2] == (400, "MessageRejected")
    assert told[2].endswith("in region US-EAST-1: Ann <ann@example.com>, ann@example.com")


def test_v2_takes_larger_messages_than_v1(stand):
    data = RAW + b"0123456789abcde\n" * (12 * 65536)
    answer = stand.sesv2.send_email(Content={"Raw": {"Data": data}})
    assert stand.content(answer) == data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    told = refusal(stand.sesv2.send_email, Content={"Raw": {"Data": RAW + b"x" * 31_500_000}})
    assert told[:2] == (400, "BadRequestException")
    assert re.match(r"Message length is more than 4194\d{4} bytes long: '42000100'\.", told[2])


def test_an_empty_body_and_nobody_to_send_to_are_refused_by_both_apis(stand):
    subject = {"Subject": {"Data": "s"}}
    to_bob = {"ToAddresses": ["bob@example.net"]}
    simple = {"Simple": {**subject, "Body": {}}}
    told = refusal(stand.sesv2.send_email, FromEmailAddress="a@example.com", Destination=to_bob, Content=simple)
    assert told == (400, "BadRequestException", "Body must have Text, Html or both.")
    message = {**subject, "Body": {}}
    told = refusal(stand.ses.send_email, Source="a@example.com", Destination=to_bob, Message=message)
    assert told == (400, "InvalidParameterValue", "Body must have Text, Html or both.")
    message = {**subject, "Body": {"Text": {"Data": "x"}}}
    told = refusal(stand.ses.send_email, Source="a@example.com", Destination={}, Message=message)
    assert told == (400, "InvalidParameterValue", "Missing required header 'To'.")
