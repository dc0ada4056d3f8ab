"""What senders say in X-SES-* headers, and the key of a repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.idempotency import once_of
from spool.send_parameters import SendParameters
from spool.ses_headers import MAX_TAGS, idempotency_key_of, parameters_of, parse_tags

ARN = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"


def test_every_parameter_is_read_from_the_first_header_of_its_name():
    section = (
        b"Subject: X-SES-CONFIGURATION-SET: no\r\nx-ses-configuration-set : news_1\r\n"
        b"X-SES-Message-Tags: a=1,\r\n b=x.y@z\r\n"
        b"X-SES-CONFIGURATION-SET: second\r\nX-SES-MESSAGE-TAGS: c=3\r\nX-SES-SOURCE-ARN:\r\n\t%(arn)s\r\n"
        b"X-SES-FROM-ARN: %(arn)s/f\r\nX-SES-RETURN-PATH-ARN: %(arn)s/r\r\n" % {b"arn": ARN.encode()}
    )
    assert parameters_of(section, "SendRawEmail") == SendParameters(
        "SendRawEmail", "news_1", (("a", "1"), ("b", "x.y@z")), ARN, f"{ARN}/f", f"{ARN}/r"
    )


@pytest.mark.parametrize(
    "header",
    [
        b"X-SES-CONFIGURATION-SET: a b",
        b"X-SES-CONFIGURATION-SET: " + b"x" * 65,
        b"X-SES-CONFIGURATION-SET: {ms}:due",
        b"X-SES-CONFIGURATION-SET:",
        b"X-SES-CONFIGURATION-SET news",
        b"X-SES-SOURCE-ARN: not an arn",
        b"X-SES-SOURCE-ARN: arn:a b",
        b"X-SES-FROM-ARN: \xff",
        b"X-SES-SOMETHING: else",
        b"Subject: x\r\n X-SES-CONFIGURATION-SET: folded",
        b"Subject: x\rX-SES-CONFIGURATION-SET: lone",
    ],
)
def test_what_ses_could_not_take_is_not_said(header: bytes):
    assert parameters_of(header + b"\r\n", "SendEmail") == SendParameters("SendEmail")


def test_more_tags_than_ses_takes_are_left_out():
    assert len(parse_tags(",".join(f"t{n}=1" for n in range(200)))) == MAX_TAGS == 50


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b" order-1 ", "order-1"),
        (b"\r\n\torder-1", "order-1"),
        (b"x" * 255, "x" * 255),
        (b"x" * 256, ""),
        (b"a b", ""),
        (b"\xff", ""),
        (b"", ""),
        (b"1\r\nX-Sluice-Idempotency-Key: 2", "1"),
    ],
)
def test_a_key_is_one_visible_word(value: bytes, key: str):
    assert idempotency_key_of(b"From: a\r\nx-sluice-IDEMPOTENCY-key:" + value + b"\r\nTo: b\r\n") == key


@given(
    st.lists(
        st.sampled_from([b"X-SES-", b"x-sluice-idempotency-key", b":", b"\r\n", b"\n", b"\r", b" ", b"a=b", b"\xff"])
    )
)
def test_no_header_section_raises(pieces: list[bytes]):
    section = b"".join(pieces)
    parameters_of(section, "SendEmail")
    idempotency_key_of(section)


@pytest.mark.parametrize(
    "unit", [b"x-ses-", b"x-ses-message-tags:\r\n\t=,", b"X-SES-FROM-ARN: \r\n", b"x-sluice-idempotency-key:\n "]
)
def test_a_hostile_header_section_costs_no_more_than_its_length(unit: bytes, milliseconds):
    section = (unit * 102_400)[:102_400]
    assert milliseconds(lambda: (parameters_of(section, "SendEmail"), idempotency_key_of(section))) < 100


def test_a_mark_knows_caller_key_and_recipients_in_any_order_and_spelling():
    mark = once_of(("user", "app"), "1", ["b@Example.net", "a@example.net", "a@EXAMPLE.net"])
    assert mark == once_of(("user", "app"), "1", ("a@example.net", "b@example.net"))
    others = [
        once_of(("user", "app"), "2", ["a@example.net", "b@example.net"]),
        once_of(("key", "app"), "1", ["a@example.net", "b@example.net"]),
        once_of(("from", "app"), "1", ["a@example.net", "b@example.net"]),
        once_of(("user", "other"), "1", ["a@example.net", "b@example.net"]),
        once_of(("user", "app"), "1", ["a@example.net"]),
        once_of(("user", "app"), "1", ["A@example.net", "b@example.net"]),
        once_of(("user", "app1"), "", ["a@example.net"]),
        once_of(("from", "\udcff"), "1", []),
    ]
    assert len({mark, *others}) == len(others) + 1
    assert once_of(("user", "app"), "", ["a@example.net"]) == ""
