"""SendRawEmail of the SES door, by boto3 against the real API process."""

import re
from collections.abc import Iterator

import pytest

from tests.contract.ses_stand import RAW, SesStand, refusal, ses_stand

ARN = "arn:aws:ses:us-east-1:111122223333:identity/example.com"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[SesStand]:
    with ses_stand(tmp_path_factory.mktemp("ses"), relay_configuration_sets="known=theirs, other=theirs") as one:
        yield one


def raw(*headers: str, body: str = "hello") -> dict[str, bytes]:
    lines = headers or ("From: ann@example.com", "To: bob@example.net", "Subject: hello")
    return {"Data": "\r\n".join([*lines, "", body, ""]).encode()}


def test_a_message_is_in_the_spool_under_the_id_of_the_answer(stand):
    answer = stand.ses.send_raw_email(RawMessage={"Data": RAW})
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000", answer["MessageId"])
    assert answer["ResponseMetadata"]["RequestId"]
    message = stand.message(answer)
    assert (message.sender, message.recipients) == ("ann@example.com", ("bob@example.net",))
    assert (message.door, message.user, message.client_address) == ("api", "shop", "127.0.0.1")
    assert message.parameters.operation == "SendRawEmail"
    assert stand.content(answer) == RAW


def test_the_parameters_are_the_envelope_whatever_the_headers_say(stand):
    answer = stand.ses.send_raw_email(
        Source="Bounces <bounces@example.com>",
        Destinations=["Carl <carl@example.net>", "dora@EXAMPLE.net", "dora@example.net"],
        RawMessage={"Data": RAW},
    )
    message = stand.message(answer)
    assert message.sender == "bounces@example.com"
    assert message.recipients == ("carl@example.net", "dora@EXAMPLE.net")
    assert stand.content(answer) == RAW


def test_without_parameters_the_headers_are_the_envelope(stand):
    answer = stand.ses.send_raw_email(
        RawMessage=raw(
            "From: =?utf-8?q?Bj=C3=B6rn?= <bjoern@example.com>, ann@example.com",
            'To: "Doe, Joe" <joe@example.net>, friends: a@example.net, b@example.net;',
            "Cc: c@exämple.net (a comment)",
            "Bcc: d@example.net,\r\n e@example.net",
        ),
    )
    message = stand.message(answer)
    assert message.sender == "bjoern@example.com"
    expected = ("joe@example.net", "a@example.net", "b@example.net", "c@xn--exmple-cua.net", "d@example.net")
    assert message.recipients == (*expected, "e@example.net")


def test_bounces_go_to_return_path_before_from_and_to_source_before_both(stand):
    message = raw("Return-Path: <back@example.com>", "From: ann@example.com", "To: bob@example.net")
    answer = stand.ses.send_raw_email(RawMessage=message)
    assert stand.message(answer).sender == "back@example.com"
    answer = stand.ses.send_raw_email(RawMessage=message, Source="source@example.com")
    assert stand.message(answer).sender == "source@example.com"


def test_lines_that_end_with_lf_get_crlf_and_all_else_stays(stand):
    data = RAW.replace(b"\r\n", b"\n") + bytes(range(128, 256)) + b"\0 no line end"
    answer = stand.ses.send_raw_email(RawMessage={"Data": data})
    assert stand.content(answer) == data.replace(b"\n", b"\r\n")


def test_an_empty_message_with_an_envelope_is_taken(stand):
    answer = stand.ses.send_raw_email(Source="a@example.com", Destinations=["b@example.net"], RawMessage={"Data": b""})
    assert stand.content(answer) == b""


def test_parameters_beat_headers_and_replace_all_tags(stand):
    headers = (
        "From: ann@example.com",
        "To: bob@example.net",
        "X-SES-CONFIGURATION-SET: other",
        "X-SES-MESSAGE-TAGS: a=1, b=2",
        f"X-SES-SOURCE-ARN: {ARN}/header-source",
        f"X-SES-FROM-ARN: {ARN}/header-from",
        f"X-SES-RETURN-PATH-ARN: {ARN}/header-return",
    )
    said = stand.message(stand.ses.send_raw_email(RawMessage=raw(*headers))).parameters
    assert (said.configuration_set, said.tags) == ("other", (("a", "1"), ("b", "2")))
    assert [one[len(ARN) :] for one in (said.source_arn, said.from_arn, said.return_path_arn)] == [
        "/header-source",
        "/header-from",
        "/header-return",
    ]
    said = stand.message(
        stand.ses.send_raw_email(
            RawMessage=raw(*headers),
            ConfigurationSetName="known",
            Tags=[{"Name": "c", "Value": "3.@_-"}],
            SourceArn=ARN,
            FromArn=ARN + "2",
            ReturnPathArn=ARN + "3",
        )
    ).parameters
    assert (said.configuration_set, said.tags) == ("known", (("c", "3.@_-"),))
    assert (said.source_arn, said.from_arn, said.return_path_arn) == (ARN, ARN + "2", ARN + "3")


@pytest.mark.parametrize("name", ["SourceArn", "FromArn", "ReturnPathArn"])
def test_what_is_no_arn_is_refused(stand, name):
    told = refusal(stand.ses.send_raw_email, RawMessage={"Data": RAW}, **{name: "no arn"})
    assert told == (400, "InvalidParameterValue", "Invalid ARN <no arn>.")


def test_an_unknown_configuration_set_is_refused_with_its_name(stand):
    for more in (
        {"ConfigurationSetName": "no<such>"},
        {"RawMessage": raw("From: a@b", "X-SES-CONFIGURATION-SET: no<such>")},
    ):
        with pytest.raises(stand.ses.exceptions.ConfigurationSetDoesNotExistException) as caught:
            stand.ses.send_raw_email(**{"RawMessage": {"Data": RAW}, "Destinations": ["b@example.net"], **more})
        response = caught.value.response
        assert response["Error"]["Message"] == "Configuration set <no<such>> does not exist."
        assert response["ConfigurationSetName"] == "no<such>"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (("To: bob@example.net",), "Missing required header 'From'."),
        (("From: ann@example.com",), "Missing required header 'To'."),
        (("From: ann", "To: bob@example.net"), "Missing final '@domain'"),
        (("From: ann@example.com", "To: bob"), "Missing final '@domain'"),
        (("From: <ann@example.com> <x@example.com>", "To: bob@example.net"), "Extra route-addr"),
        (("From: ann@example.com", "To: b\u00f6b@example.net"), "Local address contains control or whitespace"),
        (
            ("From: ann@example.com", "To: bob@example.net", "List-Unsubscribe: <a>", "list-unsubscribe: <b>"),
            "Duplicate header 'List-Unsubscribe'.",
        ),
        ((": x", "From: ann@example.com", "To: bob@example.net"), "Empty header names are illegal."),
        (("From: ann@example.com", "To: bob@example.net", "X: " + "x" * 110_000), "Header section too long."),
        (("From: ann@example.com", "To: bob@example.net", "Content-Type: text; charset=x"), "Expected '/', got ;"),
        (
            ("From: ann@example.com", "To: bob@example.net", 'Content-Type: multipart/mixed; boundary="xyz"'),
            "Missing start boundary",
        ),
        (
            ("From: ann@example.com", "To: " + ", ".join(f"u{n}@example.net" for n in range(51))),
            "Recipient count exceeds 50.",
        ),
        (
            ("From: ann@example.com", "To: bob@example.net", "X-SES-MESSAGE-TAGS: a:b=c"),
            "Invalid tag name <a:b>: only alphanumeric ASCII characters, '_',  '-' are allowed.",
        ),
    ],
)
def test_what_the_headers_lack_is_told_in_the_words_of_ses(stand, headers, text):
    assert refusal(stand.ses.send_raw_email, RawMessage=raw(*headers)) == (400, "InvalidParameterValue", text)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (("", "v"), "The tag name must be specified."),
        (("n", ""), "The tag value must be specified."),
        (("n" * 256, "v"), "Tag name cannot exceed 255 characters."),
        (("n", "v" * 256), "Tag value cannot exceed 255 characters."),
        (("<n>", "v"), "Invalid tag name <<n>>: only alphanumeric ASCII characters, '_',  '-' are allowed."),
        (
            ("n", "v w"),
            "Invalid tag value <v w>: only alphanumeric ASCII characters, '_',  '-' , '.', '@' are allowed.",
        ),
        (("sluice-batch", "v"), "Invalid tag name <sluice-batch>: it is reserved."),
    ],
)
def test_tags_are_checked_before_everything_that_follows(stand, tag, text):
    nobodys = stand.keys.find(stand.key.access_key_id)
    assert nobodys
    tags = [{"Name": tag[0], "Value": tag[1]}]
    told = refusal(
        stand.ses.send_raw_email, RawMessage={"Data": RAW}, Source="x", Tags=tags, ConfigurationSetName="unknown"
    )
    assert told == (400, "InvalidParameterValue", text)


def test_fifty_recipients_are_taken_and_fifty_one_are_not(stand):
    recipients = [f"u{number}@example.net" for number in range(51)]
    told = refusal(stand.ses.send_raw_email, RawMessage={"Data": RAW}, Destinations=recipients)
    assert told == (400, "InvalidParameterValue", "Recipient count exceeds 50.")
    answer = stand.ses.send_raw_email(RawMessage={"Data": RAW}, Destinations=recipients[:50])
    assert len(stand.message(answer).recipients) == 50


def test_one_malformed_address_refuses_the_whole_call(stand):
    before = stand.waiting()
    for wrong, text in {
        "bob": "Missing final '@domain'",
        "@example.net": "Missing local name",
        "a b@example.net": "Local address contains control or whitespace",
        "a@exa mple.net": "Domain contains control or whitespace",
        "a@example..net": "Domain contains dot-dot",
        "a@[192.0.2.1]": "Domain contains illegal character",
    }.items():
        told = refusal(stand.ses.send_raw_email, RawMessage={"Data": RAW}, Destinations=["c@example.net", wrong])
        assert told == (400, "InvalidParameterValue", text)
    assert stand.waiting() == before


def test_a_message_of_the_largest_size_is_taken_and_a_larger_one_is_not(stand):
    room = 10 * 1024 * 1024 // 4 * 3 - len(RAW)
    body = (b"\xff" * 62 + b"\r\n") * (room // 64)
    answer = stand.ses.send_raw_email(RawMessage={"Data": RAW + body})
    assert stand.content(answer) == RAW + body
    encoded = (len(RAW) + len(body) + 100 + 2) // 3 * 4
    told = refusal(stand.ses.send_raw_email, RawMessage={"Data": RAW + body + b"x" * 100})
    assert told == (400, "InvalidParameterValue", f"Message length is more than 10485760 bytes long: '{encoded}'.")


def test_a_bare_cr_is_refused_with_its_line(stand):
    told = refusal(stand.ses.send_raw_email, RawMessage={"Data": RAW + b"x\rBcc: evil@example.net\r\n"})
    assert told == (400, "InvalidParameterValue", "Line 6 has a CR without LF; lines end with CRLF or LF.")


def test_a_key_sends_as_whom_its_patterns_name(stand):
    key = stand.keys.add("limited", ["example.com", "*.example.org"])
    ses = stand.client("ses", key)
    answer = ses.send_raw_email(RawMessage={"Data": RAW}, Source="x@sub.example.org")
    assert stand.message(answer).user == "limited"
    words = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
    told = refusal(ses.send_raw_email, RawMessage={"Data": RAW}, Source="Eve <eve@example.net>")
    assert told == (400, "MessageRejected", words + "eve@example.net")
    message = RAW.replace(b"Ann <ann@example.com>", b"Ann <ann@example.net>")
    told = refusal(ses.send_raw_email, RawMessage={"Data": message})
    assert told == (400, "MessageRejected", words + "Ann <ann@example.net>, ann@example.net")
    told = refusal(ses.send_raw_email, RawMessage={"Data": b"Sender: eve@example.net\r\n" + RAW})
    assert told == (400, "MessageRejected", words + "eve@example.net")
    hidden = b"Subject: x\r\nno field\r\nFrom: eve@example.net\r\n\r\n"
    told = refusal(
        ses.send_raw_email, RawMessage={"Data": hidden}, Source="a@example.com", Destinations=["b@example.net"]
    )
    assert told == (400, "InvalidParameterValue", "Line 2 of the header section is no header field.")


def test_message_facts_are_read_of_the_headers(stand):
    answer = stand.ses.send_raw_email(
        RawMessage=raw(
            "From: ann@example.com",
            "To: b@example.net",
            "Message-ID:\r\n <1@example.com>",
            "Auto-Submitted: auto-replied",
        )
    )
    message = stand.message(answer)
    assert message.header_message_id == "1@example.com"
    assert message.is_auto_submitted
