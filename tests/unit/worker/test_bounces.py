import dataclasses
import email
import email.policy
import re
from email.message import Message as ParsedMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.records import Message
from spool.states import Place, RecipientState
from worker.bounces import Failure, compose_bounce

BOUNCE_ID = "0000019a00000000-00000000-0000-4000-8000-000000000000-000000"
ORIGINAL = Message(
    message_id="0000019a11111111-11111111-1111-4111-8111-111111111111-000000",
    sender="ann@shop.example.com",
    recipients=("bob@example.net",),
    states=(RecipientState.REJECTED,),
    place=Place.LEASED,
    accepted_at_ms=1_767_225_600_000,
    size_bytes=100,
    door="smtp",
    header_message_id="first.1@shop.example.com",
    user="",
    client_address="",
    helo="",
    is_auto_submitted=False,
    content_ref="",
    rounds=0,
    failures=0,
    crashes=0,
    reason="",
    until_ms=0,
)
CONTENT = b"From: Ann <ann@shop.example.com>\r\nTo: bob@example.net\r\nSubject: an order\r\n folded\r\n\r\nthe body\r\n"
FAILURE = Failure("bob@example.net", "5.0.0", "Amazon SES refused it: MessageRejected no")


def bounce(failures=(FAILURE,), content=CONTENT, bounce_sender="", **changed):
    return compose_bounce(
        message_id=BOUNCE_ID,
        original=dataclasses.replace(ORIGINAL, **changed),
        original_content=content,
        failures=failures,
        reporting_host="mail.example.org",
        bounce_sender=bounce_sender,
        now_ms=1_767_229_200_000,
    )


def parsed(content: bytes) -> ParsedMessage:
    found = email.message_from_bytes(content, policy=email.policy.compat32)
    assert [part.defects for part in found.walk()] == [[] for _ in found.walk()]
    return found


def returned_headers(content: bytes) -> str:
    return parsed(content).get_payload(2).get_payload(decode=True).decode("latin-1")


def test_the_header_says_what_it_is_and_answers_the_original():
    made = bounce()
    found = parsed(made.content)
    assert dict(found.items()) == {
        "From": "Mail Delivery System <mailer-daemon@shop.example.com>",
        "To": "ann@shop.example.com",
        "Subject": "Undelivered Mail Returned to Sender",
        "Date": "Thu, 01 Jan 2026 01:00:00 +0000",
        "Message-ID": f"<{BOUNCE_ID}@mail.example.org>",
        "In-Reply-To": "<first.1@shop.example.com>",
        "References": "<first.1@shop.example.com>",
        "Auto-Submitted": "auto-replied",
        "MIME-Version": "1.0",
        "Content-Type": found["Content-Type"],
    }
    assert found.get_content_type() == "multipart/report"
    assert found.get_param("report-type") == "delivery-status"
    assert (made.message_id, made.sender, made.recipients) == (BOUNCE_ID, "", ("ann@shop.example.com",))
    assert (made.door, made.is_auto_submitted) == ("bounce", True)
    assert f"<{made.header_message_id}>" == found["Message-ID"]


def test_it_has_words_for_a_person_fields_for_a_program_and_the_original_header():
    words, status, headers = parsed(bounce().content).get_payload()
    assert words.get_content_type() == "text/plain"
    assert "<bob@example.net>: Amazon SES refused it: MessageRejected no" in words.get_payload()
    assert ORIGINAL.message_id in words.get_payload()
    assert status.get_content_type() == "message/delivery-status"
    about_message, about_bob = [group for group in status.get_payload() if group.items()]
    assert about_message.items() == [
        ("Reporting-MTA", "dns; mail.example.org"),
        ("X-Mailsluice-Message-Id", ORIGINAL.message_id),
        ("Arrival-Date", "Thu, 01 Jan 2026 00:00:00 +0000"),
    ]
    assert about_bob.items() == [
        ("Final-Recipient", "rfc822; bob@example.net"),
        ("Action", "failed"),
        ("Status", "5.0.0"),
        ("Diagnostic-Code", "X-Mailsluice; Amazon SES refused it: MessageRejected no"),
    ]
    assert headers.get_content_type() == "text/rfc822-headers"
    assert headers["Content-Transfer-Encoding"] == "7bit"
    assert headers.get_payload() == CONTENT.partition(b"\r\n\r\n")[0].decode() + "\r\n"


@pytest.mark.parametrize(
    ("sender", "setting", "author"),
    [
        ("ann@shop.example.com", "", "mailer-daemon@shop.example.com"),
        ("ann@shop.example.com", "noreply@example.org", "noreply@example.org"),
        ('"a@b c"@shop.example.com', "", "mailer-daemon@shop.example.com"),
        ("ann@[192.0.2.1]", "", "mailer-daemon@[192.0.2.1]"),
        ("without-domain", "", "mailer-daemon@mail.example.org"),
        ("ann@exämple.com", "", "mailer-daemon@mail.example.org"),
    ],
)
def test_the_author_is_of_the_sender_s_domain_unless_the_operator_says_otherwise(sender, setting, author):
    found = parsed(bounce(sender=sender, bounce_sender=setting).content)
    assert found["From"] == f"Mail Delivery System <{author}>"


@pytest.mark.parametrize("sender", ['"quoted, name <x>"@example.com', "o'hara+tag=1@example.com", "a@b"])
def test_the_sender_s_address_is_the_only_one_in_to(sender):
    found = email.message_from_bytes(bounce(sender=sender).content, policy=email.policy.default)
    assert [address.addr_spec for address in found["To"].addresses] == [sender]


@pytest.mark.parametrize(
    "sender", ["a@b\r\nBcc: x@y", "a@b, c@d", "a b@c", "<a@b>", "a@b>", "ü@b", "a" * 400 + "@b", '"\r\n"@b', "a@b\n"]
)
def test_an_address_that_a_header_cannot_hold_stays_in_the_envelope(sender):
    made = bounce(sender=sender)
    assert parsed(made.content)["To"] == "undisclosed-recipients:;"
    assert made.recipients == (sender,)


@pytest.mark.parametrize(
    ("header_message_id", "reference"),
    [
        ("a@b", "<a@b>"),
        ("<a@b>", "<a@b>"),
        ("", None),
        ("a b@c", None),
        ("a@b\r\nBcc: x", None),
        ("<a@b> <c@d>", None),
        ("ä@b", None),
        ("x" * 2000, None),
    ],
)
def test_only_a_sane_message_id_is_referred_to(header_message_id, reference):
    found = parsed(bounce(header_message_id=header_message_id).content)
    assert (found["References"], found["In-Reply-To"]) == (reference, reference)


HOSTILE_TEXT = st.text(max_size=700) | st.sampled_from(
    [
        "a\r\nBcc: x@y",
        "a\r\n\r\n--boundary",
        f"\r\n--=_{BOUNCE_ID}--\r\n",
        "\x00\x0b\x0c\x1b\u2028\u0085",
        "\ud800",
        "é" * 500,
        "\U0001f600" * 500,
        "x" * 5000,
    ]
)
FAILURES = st.lists(st.builds(Failure, HOSTILE_TEXT, st.just("5.0.0"), HOSTILE_TEXT), min_size=1, max_size=5)
CONTENTS = st.one_of(
    st.binary(max_size=400),
    st.lists(st.binary(max_size=30), max_size=20).map(b"\r\n".join),
    st.sampled_from(
        [
            b"",
            b"\r\n",
            b"\r\n\r\nbody",
            b"Subject: \xc3\xa4\r\n\r\n",
            b"a" * 100_000,
            b"Subject: " + b"x" * 2000 + b"\r\n\r\nbody",
            b"Subject: x\ry\r\n\r\n",
            f"X: y\r\n--=_{BOUNCE_ID}--\r\n\r\n".encode(),
            b"X: a\nY: b\n\nbody",
            b"X: \x00\r\n\r\n",
            b"X: ends in a blank \r\n\xff \r\n",
        ]
    ),
)


@given(FAILURES, CONTENTS, HOSTILE_TEXT, HOSTILE_TEXT)
def test_nothing_from_outside_can_break_its_form(failures, content, sender, header_message_id):
    made = bounce(failures, content, sender=sender, header_message_id=header_message_id).content
    assert made.isascii()
    assert re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", made) is None
    assert max(len(line) for line in made.split(b"\r\n")) <= 998
    found = parsed(made) if BOUNCE_ID.encode() not in content else email.message_from_bytes(made)
    assert set(found.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version",
        "Content-Type",
    }  # fmt: skip
    words, status, _ = found.get_payload()
    assert words.get_content_type() == "text/plain"
    groups = [group for group in status.get_payload() if group.items()]
    assert [set(group.keys()) for group in groups[1:]] == [
        {"Final-Recipient", "Action", "Status", "Diagnostic-Code"} for _ in failures
    ]


@pytest.mark.parametrize("name", [b"Subject: \xc3\xa4\xff", b"Subject: x\ry", b"Subject: \x00", b"X: " + b"=y" * 900])
def test_a_header_that_is_not_clean_ascii_is_returned_quoted_printable(name):
    content = b"From: a@b\r\n" + name + b"\r\nTo: c@d\r\n\r\nbody"
    made = bounce(content=content).content
    assert parsed(made).get_payload(2)["Content-Transfer-Encoding"] == "quoted-printable"
    assert returned_headers(made).encode("latin-1") == content.removesuffix(b"\r\nbody")


def test_hidden_recipients_and_our_own_headers_are_not_returned():
    content = b"From: a@b\r\nBcc: hidden@example.com,\r\n other@example.com\r\nX-SES-TAG: 1\r\nTo: c@d\r\n\r\nbody"
    assert returned_headers(bounce(content=content).content) == "From: a@b\r\nTo: c@d\r\n"


def test_a_large_message_is_not_copied_into_it():
    for content in (CONTENT + b"x" * 30_000_000, b"X: y\r\n" * 5_000_000):
        made = bounce(content=content).content
        assert len(made) < 12_000
        assert b"xxxx" not in made


def test_a_long_header_section_is_cut_between_lines():
    content = b"".join(b"X-Number-%d: %s\r\n" % (number, b"v" * 60) for number in range(1000)) + b"\r\n"
    headers = returned_headers(bounce(content=content).content)
    assert content.startswith(headers.encode())
    assert 8192 - 90 < len(headers) <= 8192


def test_five_hundred_refused_recipients_fit_into_a_bounded_bounce():
    failures = [Failure(f"{'r' * 300}{number}@example.net", "5.0.0", "ä" * 5000) for number in range(500)]
    made = bounce(failures).content
    assert len(made) < 500 * 1800
    assert sum(1 for line in made.split(b"\r\n") if line.startswith(b"Final-Recipient: rfc822; rrr")) == 500
