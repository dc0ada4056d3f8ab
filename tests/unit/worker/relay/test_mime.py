import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.ses_headers import MAX_TAGS, parse_tags
from worker.relay.mime import header_end, without_private_headers

HEADER_LIMIT_BYTES = 102_400


def sent(content: bytes) -> bytes:
    return without_private_headers(content)[0]


PRIVATE = [
    b"Bcc: a@example.com\r\n",
    b"bCC:a@example.com\r\n",
    b"Resent-Bcc: a@example.com\r\n",
    b"BCC :a@example.com\r\n",
    b"Bcc \t : a@example.com\r\n",
    b"Bcc:\r\n",
    b"Bcc: a@example.com,\r\n b@example.com,\r\n\tc@example.com\r\n",
    b"Bcc:\r\n a@example.com\r\n \r\n b@example.com\r\n",
    b"X-SES-CONFIGURATION-SET: set\r\n",
    b"x-ses-source-arn: arn:aws:ses:\r\n",
    b"X-Ses-Anything_Else!: 1\r\n",
    b"X-SES-: 1\r\n",
    b"X-Sluice-Lane: bulk\r\n",
]
KEPT = [
    b"Subject: Bcc: a@example.com\r\n",
    b"Subject: x\r\n Bcc: a@example.com\r\n",
    b"X-Bcc: a@example.com\r\n",
    b"Bccc: a@example.com\r\n",
    b"Bcc a@example.com\r\n",
    b"X-SESSION: 1\r\n",
    b"XX-SES-TAG: 1\r\n",
    b"X-SES-NO COLON HERE\r\n",
    b"Subject: =?utf-8?q?b?=\xff\x00\r\n",
]


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("body", [b"", b"\r\nBcc: in@the.body\r\nX-SES-TAG: body\r\n", b"\nX\n\r\n\r\nBcc: y@z\r\n"])
def test_a_private_header_is_removed_wherever_it_stands_and_nothing_else_changes(private, line_end, body):
    private = private.replace(b"\r\n", line_end)
    first, last = b"From: a@example.com" + line_end, b"Subject: s" + line_end + b" folded" + line_end
    for head in (private + first + last, first + private + last, first + last + private, private + first + private):
        assert sent(head + body) == head.replace(private, b"") + body


@pytest.mark.parametrize("kept", KEPT)
def test_other_headers_stay(kept):
    content = b"From: a@example.com\r\n" + kept + b"To: b@example.com\r\n\r\nbody"
    assert sent(content) is content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"\n",
        b"\r\nBcc: this is the body\r\n",
        b"\nBcc: this is the body\n\r\n\r\n",
        b"no header at all",
        b"From: a\n\nBcc: body\r\n\r\nBcc: body\r\n",
        b"From: a\r\n\nBcc: body\r\n",
        b"From: a\n\r\nBcc: body\r\n",
        b"Subject: x\rBcc: a lone CR ends no line\r\n\r\n",
    ],
)
def test_what_is_no_private_header_is_left_alone(content):
    assert sent(content) is content


@pytest.mark.parametrize("private", [b"Bcc: a@x", b"Bcc: a@x\r\n", b"Bcc: a@x\r\n b@x", b"X-SES-A: 1\n"])
def test_a_header_that_ends_the_message_is_removed_too(private):
    assert sent(b"From: a\r\n" + private) == b"From: a\r\n"
    assert sent(private) == b""


def test_a_message_with_nothing_but_private_headers_keeps_its_body_a_body():
    assert sent(b"Bcc: a@x\r\n\r\nSubject: body\r\n") == b"\r\nSubject: body\r\n"


LINE = st.one_of(
    st.sampled_from(PRIVATE + KEPT),
    st.sampled_from([b"bcc:\n", b" folded\r\n", b"\tfolded\n", b"X-SES-MESSAGE-TAGS: a=b\r\n", b"\r", b" \r\n"]),
    st.binary(max_size=12).map(lambda raw: raw + b"\r\n"),
)


@given(st.lists(LINE, max_size=12).map(b"".join), st.sampled_from([b"\r\n", b"\n", b""]), st.binary(max_size=60))
def test_bytes_are_only_ever_taken_out_as_whole_private_headers(head, empty_line, body):
    content = head + empty_line + body
    kept, _ = without_private_headers(content)
    expected, is_taken = [], False
    end = header_end(content)
    for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", content[:end]):
        if line[:1] not in {b" ", b"\t"}:
            name, colon, _ = line.partition(b":")
            name = name.rstrip(b" \t").lower()
            is_private = name in {b"bcc", b"resent-bcc"} or bool(re.fullmatch(rb"x-(ses|sluice)-[!-9;-~]*", name))
            is_taken = bool(colon) and is_private
        if not is_taken:
            expected.append(line)
    assert kept == b"".join(expected) + content[end:]


@given(st.binary(max_size=200))
def test_the_header_section_ends_before_the_first_empty_line(content):
    end = header_end(content)
    if end < len(content):
        assert content[end : end + 1] == b"\n" or content[end : end + 2] == b"\r\n"
    assert end == 0 or end == len(content) or content[:end].endswith(b"\n")
    assert not re.search(rb"\n\r?\n", content[:end])


def test_tags_come_from_the_first_tag_header():
    content = b"X-SES-Message-Tags: a=1,\r\n b=x.y@z\r\nX-SES-MESSAGE-TAGS: c=3\r\n\r\nX-SES-MESSAGE-TAGS: d=4\r\n"
    assert without_private_headers(content) == (
        b"\r\nX-SES-MESSAGE-TAGS: d=4\r\n",
        {"a": "1", "b": "x.y@z"},
    )


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        (" a = 1 ,b=2;", {"a": "1"}),
        ("a=1, a=2", {"a": "1"}),
        ("a=, =b, c, ä=1, d=ä, e=1=2, ses:x=1, f=6", {"f": "6"}),
        (f"{'n' * 255}={'v' * 255},{'n' * 256}=1,x={'v' * 256}", {"n" * 255: "v" * 255}),
        ("a=\ufffd,b=1", {"b": "1"}),
    ],
)
def test_tags_that_ses_would_refuse_are_left_out(text, tags):
    assert parse_tags(text) == tags


def test_there_are_never_more_tags_than_ses_takes():
    assert len(parse_tags(",".join(f"t{n}=1" for n in range(200)))) == MAX_TAGS == 50


HOSTILE = [
    b"x-ses-",
    b"x-ses-\r\n",
    b"x-ses-:\r\n",
    b"bcc",
    b"bcc ",
    b"bcc:",
    b"bcc:\r\n",
    b"bcc:\r\n\t",
    b" \r\n",
    b"\t",
    b"\r",
    b"a:\r\n b\r\n",
    b"X-SES-MESSAGE-TAGS: a=1,",
    b"x-ses-message-tags:\r\n\t=,",
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("ending", [b"", b"\r\n\r\nbody"])
def test_a_hostile_header_section_costs_no_more_than_its_length(unit, ending, milliseconds):
    for before in (b"", b"Bcc: a\r\n", b"X-SES-MESSAGE-TAGS: "):
        content = (before + unit * HEADER_LIMIT_BYTES)[:HEADER_LIMIT_BYTES] + ending
        assert milliseconds(lambda content=content: without_private_headers(content)) < 50


def test_a_header_section_of_a_megabyte_is_worked_through(milliseconds):
    content = b"Received: by x\r\n\tfor y\r\n" * 45_000 + b"Bcc: a@x\r\n\r\n" + b"b" * 1000
    assert sent(content) == content.replace(b"Bcc: a@x\r\n", b"")
    assert milliseconds(lambda: without_private_headers(content)) < 500
