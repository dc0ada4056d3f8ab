"""What rules can ask about a message: right for ordinary mail, a value for any bytes, in bounded time."""

import ipaddress
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.rules.case import CONTENT, a_message
from worker.rules.facts import MAX_HEADERS_OF_A_NAME, Facts


def facts_of(content: bytes, **keys: str) -> Facts:
    return Facts(a_message(**keys), content)


def every_answer(content: bytes) -> list[object]:
    facts = facts_of(content)
    return [
        *(facts.subject, facts.headers("X-Any"), facts.sender_addresses, facts.from_addresses, facts.size_bytes),
        *(facts.source_ip, facts.user, facts.attachment_names, facts.has_attachments, facts.envelope_sender),
    ]


def test_an_ordinary_message():
    content = (
        b"Sender: bot@example.com\r\nFrom: =?utf-8?q?Bj=C3=B6rn?= <b@example.com>,\r\n\teve@example.com (Eve)\r\n"
        b"SUBJECT: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n  aus\r\n Bonn\r\nX-A: 1\r\nx-a :  2 \r\n\r\nX-A: 3\r\n"
    )
    facts = facts_of(content, user="shop", ip="192.0.2.1")
    assert facts.subject == "Grüße aus Bonn"
    assert facts.headers("x-A") == ("1", "2")
    assert facts.headers("X-None") == ()
    assert facts.sender_addresses == ("bot@example.com",)
    assert facts.from_addresses == ("b@example.com", "eve@example.com")
    assert facts.size_bytes == len(content)
    assert facts.user == "shop"
    assert facts.source_ip == ipaddress.ip_address("192.0.2.1")
    assert not facts.has_attachments


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_line_ends_do_not_matter(line_end):
    facts = facts_of(CONTENT.replace(b"\r\n", line_end))
    assert facts.subject == "Your invoice"
    assert facts.from_addresses == ("app@shop.example.com",)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("::1", ipaddress.ip_address("::1")),
        ("::ffff:192.0.2.1", ipaddress.ip_address("192.0.2.1")),
        ("fe80::1%eth0", ipaddress.ip_address("fe80::1")),
        ("", None),
        ("unix socket", None),
    ],
)
def test_the_source_is_an_address_or_none(address, found):
    assert facts_of(b"", ip=address).source_ip == found


@pytest.mark.parametrize(
    "head",
    [
        b"To: <",
        b"From: <",
        b"Sender: <[",
        b"Message-ID: <[",
        b"From: =?x?q?=?= <",
        b"From: a@[",
        b"From: alice@example.org)bob@example.com",
        b"From: " + b"(" * 3000,
        b"From: " + b'"' * 3001,
        b"Sender: " + b"<" * 3000 + b"@" * 3000,
        b"From: " + "ü@".encode() * 3000,
        b"From: x@" + "ü".encode() * 4000,
        b"Subject: \xff\xfe\x80\x00raw",
        b"Subject: =?utf-16?b?2D8=?= =?utf-7?q?+2AA-?=",
        b"Subject: " + b"=?utf-8?q?" * 3000,
        b"Subject:\r\n \r\n \r\n",
        b": no name",
        b"\x00\x00: x",
        b"Content-Type: multipart/mixed",
        b"Content-Type: multipart/mixed; boundary=",
        b"Content-Type: multipart/mixed; boundary=\xff",
        b"Content-Type: ; name*=x'; name*0*=%; name*999999999999=a; filename*=utf-8''%ff%zz",
        b"Content-Disposition: attachment; filename*1*=b; filename*0*=idna'x'a; filename*=punycode''%ff",
    ],
)
def test_odd_headers_have_a_value(head):
    for content in (head, head + b"\r\n", head + b"\r\n\r\nbody", b"\r\n" + head):
        assert len(every_answer(content)) == 10


def nested(depth: int) -> bytes:
    content = b""
    for level in range(depth):
        content += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level)
    return content + b'Content-Disposition: attachment; filename="deep.exe"\r\n\r\nx\r\n'


@pytest.mark.parametrize("depth", [0, 1, 50, 300, 1000])
def test_a_file_is_found_however_deep_it_is(depth):
    assert facts_of(nested(depth)).attachment_names == ("deep.exe",)


def parts_without_end(number: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * number


@pytest.mark.parametrize(
    "content",
    [
        b"X-Any: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"X-Any: x\r\n" * 100_000 + b"\r\n",
        b"From: a@b.example\r\n" * 60_000,
        b"From: " + b"a@b.example, " * 80_000,
        b"Subject: " + b"=?utf-8?b?eA==?= " * 60_000,
        b"Subject: " + b"\r\n " * 300_000,
        b"Content-Type: text/plain" + b"; name=x" * 100_000 + b"\r\n\r\n",
        b"Content-Type: text/plain" + b';name*1="' * 100_000,
        b"Content-Type: text/plain; x=" + b'"\\' * 500_000,
        nested(1000) * 20,
        parts_without_end(500_000),
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b--b" * 1_000_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n" * 3_000_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 100_000,
        b"\ncontent-" * 500_000,
        b":" * 1_000_000,
        b" " * 1_000_000,
        b"a" * 1_000_000,
    ],
    ids=range(18),
)
def test_a_megabyte_of_anything_takes_moments(content):
    began = time.process_time()
    every_answer(content)
    assert time.process_time() - began < 15


def test_of_many_headers_the_first_count():
    content = b"".join(b"X-A: %d\r\n" % number for number in range(1000))
    found = facts_of(content).headers("X-A")
    assert len(found) == MAX_HEADERS_OF_A_NAME
    assert found[:2] == ("0", "1")


pieces = st.sampled_from(
    [
        *(b"From: ", b"Sender:", b"Subject: =?utf-8?q?", b"?=", b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\t", b"<", b">"),
        *(b"(", b'"', b"a@b.example", b",", b";", b":", b"Content-Type: multipart/mixed; boundary=b", b"--b", b"--b--"),
        *(b"name*0*=", b"Content-Disposition: attachment; filename=", b"utf-16''%ff", b"message/rfc822", b"\\", b"="),
        *(b"\x00", b"\xff"),
    ]
)


@given(st.binary(max_size=300) | st.lists(pieces | st.binary(max_size=5), max_size=40).map(b"".join))
def test_any_bytes_have_an_answer(content):
    for answer in every_answer(content):
        for text in answer if isinstance(answer, tuple) else (answer,):
            if isinstance(text, str):
                text.encode("utf-8")


class SlowAddress(str):
    """An address that cannot be looked at before it may."""

    __slots__ = ("began", "may_end")

    def __init__(self, _: str) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()

    def partition(self, separator: str, /) -> tuple[str, str, str]:
        self.began.set()
        assert self.may_end.wait(100)
        return super().partition(separator)


def test_facts_of_one_message_do_not_wait_for_those_of_another():
    address = SlowAddress("192.0.2.1")
    slow = threading.Thread(target=lambda: facts_of(b"", ip=address).source_ip)
    slow.start()
    assert address.began.wait(60)
    other = threading.Thread(target=lambda: facts_of(b"", ip="192.0.2.2").source_ip)
    other.start()
    other.join(60)
    has_waited = other.is_alive()
    address.may_end.set()
    slow.join(60)
    other.join(60)
    assert not has_waited
