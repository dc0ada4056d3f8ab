"""Addresses and parameters: what is taken, what is refused, and that nothing raises."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_gateway.addresses import MailCommand, address_of, identity_of, parse_mail, parse_rcpt
from smtp_gateway.replies import Reply

BAD = Reply.BAD_RECIPIENT

TAKEN = {
    "a@b": "a@b",
    "A.b+c_d=e/f@Sub.Example.COM": "A.b+c_d=e/f@Sub.Example.COM",
    '"a b"@example.com': '"a b"@example.com',
    '"a\\"b@c"@example.com': '"a\\"b@c"@example.com',
    "x@_dmarc.example.com": "x@_dmarc.example.com",
    "a@xn--bcher-kva.example": "a@xn--bcher-kva.example",
    "a@bücher.example": "a@xn--bcher-kva.example",
    "a@BÜCHER.example": "a@xn--bcher-kva.example",
    "a@例え.テスト": "a@xn--r8jz45g.xn--zckzah",
    "l" * 64 + "@example.com": "l" * 64 + "@example.com",
}
REFUSED = [
    "", "@", "a", "a@", "@b", "a@b@c", "a..b@c", ".a@b", "a.@b", "a@b.", "a@.b", "a@b..c", "a@-b.c", "a@b-.c",
    "a b@c", "a@b c", "a@[192.0.2.1]", "a@b\n", "a\r@b", "a\x00@b", "a@b\x07", "(x)a@b", "a@b(x)", "a,b@c", "<a@b>",
    '"a@b', 'a"@b', "a@b,c@d", "a@b;c", "l" * 65 + "@example.com", "a@" + "d" * 64 + ".com", "a@" + "d." * 127 + "com",
    "a@\ud800.com", "a@\u202e.com", "a@ü" + "x" * 300 + ".com", "a@ü..com", "a@b\u00a0c", "a@b\u2028c",
]  # fmt: skip


@pytest.mark.parametrize(("text", "taken"), TAKEN.items())
def test_an_address_that_ses_can_carry_is_taken(text: str, taken: str):
    assert address_of(text, BAD) == taken


@pytest.mark.parametrize("text", REFUSED)
def test_an_address_that_is_odd_is_refused(text: str):
    assert address_of(text, BAD) is BAD


@pytest.mark.parametrize("text", ["ä@example.com", "ä@bücher.example", "用户@example.com"])
def test_a_local_part_beyond_ascii_is_refused_by_name(text: str):
    assert address_of(text, BAD) is Reply.NON_ASCII_LOCAL_PART


@given(st.text(max_size=60))
def test_what_is_taken_is_plain_ascii_without_controls_or_brackets(text: str):
    address = address_of(text, BAD)
    if isinstance(address, str):
        assert address.isascii()
        assert address.isprintable()
        assert address.count("@") >= 1
        assert not set(address.rpartition("@")[2]) & set(' <>()[],;:"\\')


@given(st.text(alphabet='<>@a.": =\\é', max_size=40), st.booleans())
def test_no_argument_raises(text: str, is_extended):
    parse_mail("FROM:" + text, is_extended=is_extended)
    parse_rcpt("TO:" + text, is_extended=is_extended)


@pytest.mark.parametrize("piece", ["a.", "a", '"', '\\"', "@a,", "<", '"a"', "é", "-", '"\\', "@", " A=1"])
def test_no_argument_takes_long(piece: str):
    text = "TO:<" + piece * (4096 // len(piece))
    began = time.process_time()
    for ending in ("", ">", "@b>", "\n"):
        parse_rcpt(text + ending, is_extended=True)
        parse_mail("FROM:" + text[3:] + ending, is_extended=True)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("argument", "understood"),
    [
        ("FROM:<>", MailCommand("")),
        ("from: <a@b.c>", MailCommand("a@b.c")),
        ("FROM:a@b.c", MailCommand("a@b.c")),
        ("FROM:<a@b.c> SIZE=12 BODY=8bitmime", MailCommand("a@b.c", declared_bytes=12)),
        ("FROM:<a@b.c>  smtputf8  AUTH=<>", MailCommand("a@b.c", is_smtputf8=True)),
        ("FROM:<@r1,@r2:a@b.c>", MailCommand("a@b.c")),
        ("FROM:<a@b.c>SIZE=1", Reply.BAD_ARGUMENTS),
        ("FROM:<a@b.c> <x>", Reply.BAD_PARAMETER),
        ("FROM:<a@b.c> SIZE=\u0661", Reply.BAD_PARAMETER),
        ("FROM:<a@b.c> X-NEW=1", Reply.UNKNOWN_PARAMETER),
        ("FROM <a@b.c>", Reply.BAD_ARGUMENTS),
        ("", Reply.BAD_ARGUMENTS),
        ("FROM:", Reply.BAD_ARGUMENTS),
    ],
)
def test_mail_is_understood(argument: str, understood: MailCommand | Reply):
    assert parse_mail(argument, is_extended=True) == understood


def test_parameters_belong_to_ehlo():
    assert parse_mail("FROM:<a@b.c> SIZE=1", is_extended=False) is Reply.UNKNOWN_PARAMETER


def test_only_the_domains_case_does_not_matter():
    assert identity_of("A@B.Example") == "A@b.example"
