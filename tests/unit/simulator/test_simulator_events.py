"""The JSON of an event, beside the samples of the documentation."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caller import Caller
from simulator.checks import Envelope
from simulator.events import MAX_HEADER_BYTES, AcceptedCall, accepted_call, line_of
from simulator.header_section import read_header_section
from simulator.mailbox import Happening, Kind

FIXTURES = Path(__file__).parents[2] / "contract" / "fixtures" / "ses" / "events"
SES_ID = "00000131d51d6b36-1d4f9293-0aee-4503-b573-9ae4e70e9e38-000000"
RAW = (
    b"X-Sluice-Batch: abc.1\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <ann@example.com>\r\nTo: Bob <bob@example.org>,\r\n"
    b"\tc@example.org\r\nSubject: hi\r\nSubject-2: x\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nFrom: body\r\n"
)
TO = ("bob@example.org", "c@example.org")


def call(raw: bytes = RAW, tags=(("sluice-batch", "abc.1"), ("n", "1"), ("n", "2")), configuration_set="set"):
    headers = read_header_section(raw)
    envelope = Envelope("ann@example.com", TO, configuration_set, tags, None, None, headers)
    return accepted_call(SES_ID, 1_313_540_498_500, envelope, Caller("SendEmail", "eu-west-1", "192.0.2.1"))


def event(kind: Kind = Kind.SEND, accepted: AcceptedCall | None = None, recipients=TO) -> dict:
    return json.loads(line_of(accepted or call(), Happening(kind, recipients)))


def test_the_mail_object_tells_the_call():
    told = event()
    assert (told["eventType"], told["send"]) == ("Send", {})
    mail = told["mail"]
    assert mail["messageId"] == SES_ID
    assert mail["timestamp"] == "2011-08-17T00:21:38.500Z"
    assert (mail["source"], mail["destination"]) == ("ann@example.com", list(TO))
    assert mail["sourceArn"] == "arn:aws:ses:eu-west-1:123456789012:identity/ann@example.com"
    assert mail["headersTruncated"] is False
    assert [header["name"] for header in mail["headers"]] == [
        "X-Sluice-Batch", "From", "To", "Subject", "Subject-2", "Date",
    ]  # fmt: skip
    assert mail["headers"][0] == {"name": "X-Sluice-Batch", "value": "abc.1"}
    assert mail["commonHeaders"] == {
        "messageId": SES_ID,
        "from": ["=?utf-8?q?J=C3=BCrgen?= <ann@example.com>"],
        "to": ["Bob <bob@example.org>", "c@example.org"],
        "date": "Mon, 1 Jan 2024 00:00:00 +0000",
        "subject": "hi",
    }


def test_tags_are_lists_with_the_automatic_ones():
    assert event()["mail"]["tags"] == {
        "ses:operation": ["SendEmail"],
        "ses:configuration-set": ["set"],
        "ses:source-ip": ["192.0.2.1"],
        "ses:from-domain": ["example.com"],
        "ses:caller-identity": ["simulated"],
        "sluice-batch": ["abc.1"],
        "n": ["1", "2"],
    }
    assert "ses:outgoing-ip" in event(Kind.DELIVERY)["mail"]["tags"]


def test_a_message_without_headers_has_no_from_domain():
    mail = event(accepted=call(b"", (), None))["mail"]
    assert (mail["headers"], mail["commonHeaders"]) == ([], {"messageId": SES_ID})
    assert not {"ses:from-domain", "ses:configuration-set"} & set(mail["tags"])


def test_long_headers_are_cut_between_two_of_them():
    many = b"".join(b"X-%04d: %s\r\n" % (number, b"y" * 100) for number in range(500))
    mail = event(accepted=call(many + RAW))["mail"]
    assert mail["headersTruncated"] is True
    assert {len(header["value"]) for header in mail["headers"]} == {100}
    assert MAX_HEADER_BYTES - 300 < 110 * len(mail["headers"]) <= MAX_HEADER_BYTES


@pytest.mark.parametrize(
    ("kind", "member", "sub_type"), [(Kind.BOUNCE, "bounce", "General"), (Kind.SUPPRESSED, "bounce", "Suppressed")]
)
def test_a_bounce_names_its_recipients_together(kind, member, sub_type):
    told = event(kind)
    assert told["eventType"] == "Bounce"
    bounce = told[member]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", sub_type)
    assert [one["emailAddress"] for one in bounce["bouncedRecipients"]] == list(TO)
    assert all(one["status"] == "5.1.1" for one in bounce["bouncedRecipients"])


@pytest.mark.parametrize(
    ("kind", "fixture"),
    [
        (Kind.SEND, "send"),
        (Kind.DELIVERY, "delivery"),
        (Kind.BOUNCE, "bounce"),
        (Kind.SUPPRESSED, "bounce"),
        (Kind.COMPLAINT, "complaint"),
    ],
)
def test_every_event_has_the_members_of_the_documented_one(kind, fixture):
    documented, told = json.loads((FIXTURES / f"{fixture}.json").read_bytes()), event(kind)
    assert told["eventType"] == documented["eventType"]
    assert set(told) == set(documented)
    assert set(documented["mail"]) == set(told["mail"])
    assert set(documented["mail"]["commonHeaders"]) <= set(told["mail"]["commonHeaders"])
    assert {name for name in documented["mail"]["tags"] if name.startswith("ses:")} <= set(told["mail"]["tags"])
    own = next(name for name in documented if name not in ("eventType", "mail"))
    assert set(documented[own]) <= set(told[own])
    for name, value in documented[own].items():
        assert type(told[own][name]) is type(value)
        if value and isinstance(value, list) and isinstance(value[0], dict):
            assert set(value[0]) <= set(told[own][name][0])


@given(st.binary(max_size=300))
def test_no_header_section_breaks_an_event(raw):
    for kind in Kind:
        assert event(kind, call(b"From: a@[\r\nTo: " + raw))["mail"]["messageId"] == SES_ID
        event(kind, call(raw))
