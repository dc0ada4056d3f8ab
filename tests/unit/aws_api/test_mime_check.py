"""What an update of a message may be: AWS's criteria, never stricter than the message itself was."""

import email
import email.policy
import re
import threading
import time
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from aws_api.message_flow.header_fields import read_header_section
from aws_api.message_flow.line_ends import count_of, position_of_bare_cr, size_with_crlf, text_hash, with_crlf
from aws_api.message_flow.mime_check import MessageRejected, check_update
from config.settings import MIB, Settings

SETTINGS = Settings()
HEAD = (
    b"Received: from app ([127.0.0.1])\r\n\tby mx.example.net with ESMTP\r\n\tid 1; Mon, 1 Jan 2029 00:00:00 +0000\r\n"
    b"From: =?utf-8?q?J=C3=B6rg?= <app@example.com>\r\n"
    b"To: you@example.net\r\n"
    b"Date: Mon, 1 Jan 2029 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"Subject: hello\r\n"
)
PLAIN = HEAD + b"\r\nHello.\r\n"
MULTIPART = (
    HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
    b"--=_b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"
    b"--=_b\r\nContent-Type: application/pdf; name=a.pdf\r\n"
    b"Content-Disposition: attachment; filename=a.pdf\r\n\r\nx\r\n"
    b"--=_b--\r\n"
)


def refusal(new: bytes, original: bytes = PLAIN, settings: Settings = SETTINGS) -> str:
    """The reason, or "" when the update is taken."""
    try:
        check_update(new, original, settings)
    except MessageRejected as error:
        return error.reason
    return ""


def with_attachment(line: bytes) -> bytes:
    return MULTIPART.replace(b"Content-Disposition: attachment; filename=a.pdf", line)


# -- line ends

MIXED = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"--", b"\0"]), max_size=30).map(b"".join)


@given(MIXED, st.integers(1, 7))
def test_lines_are_the_same_however_small_the_pieces_are_in_which_they_are_looked_at(content, piece_bytes):
    expected = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert with_crlf(content, piece_bytes) == expected
    assert size_with_crlf(content) == len(expected)
    bare = re.search(rb"\r(?!\n)", content)
    assert position_of_bare_cr(content, piece_bytes) == (bare.start() if bare else -1)
    for wanted in (b"\n", b"\r\n", b"\0"):
        assert count_of(wanted, content, piece_bytes=piece_bytes) == content.count(wanted)
        assert count_of(wanted, content, 3, piece_bytes) == content.count(wanted, 0, 3)


@given(st.text(" \ta:", max_size=30).map(str.encode), st.integers(0, 9), st.integers(0, 30), st.integers(1, 5))
def test_texts_are_told_apart_without_the_blanks_around_them(content, start, end, piece_bytes):
    text = content[start:end]
    assert text_hash(content, start, start + len(text), piece_bytes) == hash(text.strip())


LARGE = {
    "line feeds alone": HEAD + b"\r\n" + b"\n" * (8 * MIB),
    "an endless header": HEAD + b"X: y" + b"\r\n yyyyyyyyyyyy" * MIB + b"\r\n\r\nb",
    "a bare carriage return at the end": HEAD + b"\r\n" * (8 * MIB) + b"\rx",
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_while_a_large_update_is_checked_other_threads_go_on(content):
    # In CPU time, which does not go by while the process is not let run; a try may still be spoilt by a thread that is
    # not. What never lets others go on spoils all.
    shares = [1.0]
    while shares[-1] >= 0.25 and len(shares) <= 30:
        checking, longest = threading.Thread(target=refusal, args=(content,)), 0.0
        begin = last = time.process_time()
        checking.start()
        while checking.is_alive():
            time.sleep(0.0005)
            now = time.process_time()
            longest, last = max(longest, now - last), now
        checking.join()
        shares.append(longest / (last - begin))
    assert shares[-1] < 0.25, shares


def test_of_an_endless_field_no_more_than_a_bounded_piece_is_taken():
    section = read_header_section(b"A: b\r\nX: y" + b"\r\n z" * 100_000 + b"\r\n\r\nbody", 0, 1000)
    assert section.values[b"a"] == [b" b"]
    assert 900 < len(section.first(b"x")) < 6000
    assert 1000 < section.end < 6000
    assert not section.odd_line


@given(st.integers(5000, 5020))
def test_a_field_is_cut_anywhere(limit):
    content = b"X: y" + b"\r\n z" * 100_000 + b"\r\n\r\nbody"
    assert read_header_section(content, 0, limit).end == limit + 4096


def test_the_message_itself_is_taken_unchanged():
    assert check_update(PLAIN, PLAIN, SETTINGS) == PLAIN


@pytest.mark.parametrize("uploaded", [PLAIN.replace(b"\r\n", b"\n"), PLAIN.replace(b"\r\n", b"\n", 3)])
def test_line_feeds_alone_become_crlf_also_in_a_mixture(uploaded):
    assert check_update(uploaded, PLAIN, SETTINGS) == PLAIN


def test_a_bare_carriage_return_is_refused_with_its_line():
    assert refusal(PLAIN + b"one\r\ntwo\rthree\r\n") == "Line 12 has a carriage return without a line feed."


def test_a_nul_byte_is_refused_with_its_line():
    assert refusal(PLAIN + b"a\0b\r\n") == "Line 11 has a NUL byte."


def test_a_line_of_998_bytes_is_taken_and_a_longer_one_refused_with_its_line():
    assert refusal(PLAIN + b"x" * 998 + b"\r\n") == ""
    assert refusal(PLAIN + b"x" * 999 + b"\r\n").startswith("Line 11 is 999 bytes long, allowed: 998")
    assert refusal(PLAIN + b"x" * 999).startswith("Line 11 is 999 bytes")
    assert refusal(PLAIN + b"x" * 5000 + b"\ny\n").startswith("Line 11 is 5000 bytes")


# -- headers


@pytest.mark.parametrize("name", ["From", "Date", "Message-ID"])
def test_a_required_header_may_not_get_lost(name):
    kept = b"".join(line for line in PLAIN.splitlines(True) if not line.startswith(name.encode() + b":"))
    assert refusal(kept) == f"The required header {name} is missing."


@pytest.mark.parametrize("name", ["Date", "Message-ID", "From"])
def test_a_header_that_was_always_missing_may_be_missing_and_may_be_added(name):
    before = b"".join(line for line in PLAIN.splitlines(True) if not line.startswith(name.encode() + b":"))
    assert refusal(before + b"More.\r\n", before) == ""
    assert refusal(PLAIN, before) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (PLAIN.replace(b"app@example.com", b"boss@example.com"), "The immutable header From was changed."),
        (PLAIN.replace(b"<1@example.com>", b"<2@example.com>"), "The immutable header Message-ID was changed."),
        (PLAIN.replace(b"mx.example.net", b"mx.example.org"), "The immutable header Received was changed."),
        (b"Received: by nobody\r\n" + PLAIN, "The immutable header Received was changed."),
        (b"Sender: boss@example.com\r\n" + PLAIN, "The immutable header Sender was added."),
    ],
)
def test_an_immutable_header_keeps_its_value(changed, reason):
    assert refusal(changed) == reason


def test_other_headers_may_change_come_and_go():
    changed = PLAIN.replace(b"Subject: hello", b"Subject: [external] hello\r\nX-Team: a").replace(
        b"To: you@example.net\r\n", b""
    )
    assert refusal(changed) == ""


def test_folding_and_another_encoding_of_the_same_words_are_no_change():
    assert refusal(PLAIN.replace(b"\r\n\tby mx", b" by mx")) == ""
    assert refusal(PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?= <", b"=?UTF-8?b?SsO2cmc=?=\r\n <")) == ""
    assert refusal(PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?= <", b"=?utf-8?q?J=C3?= =?utf-8?q?=B6rg?= <")) == ""


@pytest.mark.parametrize(
    ("written", "again"),
    [
        (b'"Ann Example" <app@example.com>', b"Ann Example <app@example.com>"),
        (b'"Example, Ann" <app@example.com>', b"=?utf-8?q?Example=2C_Ann?= <app@example.com>"),
        (b"=?utf-8?q?J=C3=B6rg_M=C3=BCller_und?= =?utf-8?q?_S=C3=B6hne?= <app@example.com>",
         b"=?utf-8?q?J=C3=B6rg_M=C3=BCller?= und =?utf-8?b?U8O2aG5l?= <app@example.com>"),
    ],
)  # fmt: skip
def test_another_way_to_write_the_same_name_is_no_change(written, again):
    old, new = (PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?= <app@example.com>", one) for one in (written, again))
    assert refusal(new, old) == ""


@pytest.mark.parametrize("policy", [email.policy.default, email.policy.SMTP, email.policy.compat32])
@pytest.mark.parametrize(
    "name", ['"' + "Ann " * 30 + 'Example"', "=?utf-8?q?J=C3=B6rg_" + "und_" * 30 + "S=C3=B6hne?="]
)
def test_a_long_name_that_a_library_folds_anew_is_no_change(policy, name):
    before = PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?=", name.encode())
    assert refusal(email.message_from_bytes(before, policy=policy).as_bytes(), before) == ""


def test_quotes_that_a_name_needs_may_not_get_lost():
    """Some versions of Python drop them when they fold a long From, and one address becomes two."""
    before = PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?=", b'"Example, Ann"')
    assert refusal(before.replace(b'"', b""), before) == "The immutable header From was changed."


def test_a_long_word_of_a_header_may_be_folded_onto_a_line_of_its_own():
    before = PLAIN.replace(b"Subject:", b"X-Long: " + b"y" * 1500 + b"\r\nSubject:")
    assert refusal(before.replace(b"X-Long: ", b"X-Long:\r\n "), before) == ""


def test_headers_behind_a_line_that_is_none_may_become_headers_again():
    before = b"Received: by a\r\nFrom ann Mon Jan 1 00:00:00\r\n" + PLAIN
    assert refusal(email.message_from_bytes(before).as_bytes(), before) == ""


def test_an_address_does_not_come_out_of_an_encoded_word():
    before = PLAIN.replace(b"=?utf-8?q?J=C3=B6rg?=", b"=?utf-8?q?boss=40example.org=2C?=")
    assert "From was changed" in refusal(
        before.replace(b"=?utf-8?q?boss=40example.org=2C?=", b"boss@example.org,"), before
    )


def test_which_headers_are_immutable_is_a_setting():
    settings = Settings.model_validate({"message_flow": {"immutable_headers": ["Subject"]}})
    assert refusal(PLAIN.replace(b"app@example.com", b"boss@example.com"), PLAIN, settings) == ""
    assert refusal(PLAIN.replace(b"hello", b"hullo"), PLAIN, settings) == "The immutable header Subject was changed."


def test_a_once_only_header_may_not_be_doubled_unless_it_was():
    doubled = b"subject: again\r\n" + PLAIN
    assert refusal(doubled) == 'The header "subject" stands there 2 times, allowed: once.'
    assert refusal(doubled + b"More.\r\n", doubled) == ""
    assert refusal(b"X-Note: 1\r\nX-Note: 2\r\n" + PLAIN) == ""


def test_a_line_that_is_no_header_is_refused_with_its_number_unless_it_was_there():
    odd = b"this is no header\r\n" + PLAIN
    assert refusal(PLAIN.replace(b"Subject:", b"Subject")) == "Line 8 is neither a header nor a continuation of one."
    assert refusal(odd + b"More.\r\n", odd) == ""


def test_the_header_section_has_a_limit():
    settings = Settings.model_validate({"smtp": {"max_header_bytes": 1024}})
    long = PLAIN.replace(b"Subject:", b"X-Note: a\r\n" * 100 + b"Subject:")
    assert refusal(long, PLAIN, settings).startswith("The header section is longer than 1024 bytes")
    assert refusal(long + b"More.\r\n", long, settings) == ""


def test_the_size_has_a_limit_that_counts_the_line_ends_to_come():
    settings = Settings.model_validate({"smtp": {"max_message_bytes": 2048}})
    room = 2048 - len(PLAIN)
    assert refusal(PLAIN + b"x\n" * (room // 3), PLAIN, settings) == ""
    assert "too large" in refusal(PLAIN + b"x\n" * (room // 3 + 1), PLAIN, settings)
    large = PLAIN + b"x\r\n" * room
    assert refusal(large.replace(b"Hello", b"HELLO"), large, settings) == ""


# -- multiparts and attachments


def test_a_whole_multipart_is_taken():
    assert refusal(MULTIPART.replace(b"Hello.", b"Hello.\r\n-- \r\nFooter"), MULTIPART) == ""


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (MULTIPART.replace(b"--=_b--", b""), 'Line 1: the boundary "=_b" of the multipart is not closed.'),
        (MULTIPART.replace(b'"=_b"', b'"other"'), 'Line 1: the boundary "other" of the multipart does not occur.'),
        (MULTIPART.replace(b'; boundary="=_b"', b""), "Line 1: the multipart declares no usable boundary."),
        (
            MULTIPART.replace(b"text/plain", b"multipart/alternative; boundary=in"),
            'Line 13: the boundary "in" of the multipart does not occur.',
        ),
        (
            MULTIPART.replace(b"text/plain", b'multipart/alternative; boundary="=_b"'),
            'Line 13: the multipart has the boundary "=_b" of one around it.',
        ),
    ],
)
def test_a_multipart_that_the_update_broke_is_refused_and_one_that_came_broken_is_not(broken, reason):
    assert refusal(broken, MULTIPART) == reason
    assert refusal(broken + b"More.\r\n", broken) == ""


def test_a_broken_multipart_does_not_excuse_another_flaw():
    broken = MULTIPART.replace(b"--=_b--", b"")
    assert "a.exe" in refusal(broken.replace(b"filename=a.pdf", b"filename=a.exe"), broken)


def test_multiparts_are_nested_up_to_a_limit():
    def nested(depth: int) -> bytes:
        opened = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%d.\r\n" % (n, n) for n in range(depth)
        )
        return HEAD + opened + b"\r\nHello.\r\n" + b"".join(b"--b%d.--\r\n" % n for n in reversed(range(depth)))

    assert refusal(nested(100), HEAD + b"\r\n") == ""
    assert "nested more than 100 deep" in refusal(nested(101), HEAD + b"\r\n")
    assert refusal(nested(1000) + b"More.\r\n", nested(1000)) == ""


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Disposition: attachment; filename=setup.EXE",
        b'Content-Disposition: attachment;\r\n filename="setup.exe"',
        b"Content-Disposition: attachment; filename*=utf-8''se%74up.e%78e",
        b'Content-Disposition: attachment; filename*0="setup."; filename*1="exe"',
        b"Content-Disposition: attachment; filename*0*=utf-8''setup%2E; filename*1=exe",
        b'Content-Disposition: attachment; filename="=?utf-8?b?c2V0dXAuZXhl?="',
        b'Content-Disposition: attachment; filename="setup.exe. "',
        b"Content-Disposition: inline; filename=setup.exe",
        b'X-Odd: 1\r\nContent-Disposition: attachment; x; ="; filename=no"; filename=setup.exe',
    ],
)
def test_an_attachment_that_ses_does_not_take_is_refused_by_name(line):
    assert "setup.exe" in refusal(with_attachment(line), MULTIPART).lower()


def test_the_name_in_content_type_counts_too():
    assert "setup.js" in refusal(MULTIPART.replace(b"name=a.pdf", b"name=setup.js"), MULTIPART)


def test_an_attachment_that_was_there_may_stay():
    before = with_attachment(b"Content-Disposition: attachment; filename=setup.exe")
    assert refusal(before.replace(b"Hello", b"Bye"), before) == ""
    assert "other.exe" in refusal(before.replace(b"setup.exe", b"other.exe"), before)


@pytest.mark.parametrize("name", [b"a.pdf", b"exe", b"a.exe.txt", b"archive.tar.gz"])
def test_other_attachments_are_taken(name):
    assert refusal(with_attachment(b"Content-Disposition: attachment; filename=" + name), MULTIPART) == ""


# -- never stricter, never an exception


def test_lines_that_were_too_long_may_stay_while_others_change():
    before = PLAIN + b"x" * 2000 + b"\r\n"
    assert refusal(b"X-Note: 1\r\n" + before + b"Footer\r\n", before) == ""
    assert "2001 bytes" in refusal(before.replace(b"xx\r", b"xxx\r"), before)


@pytest.mark.parametrize("policy", [email.policy.compat32, email.policy.default, email.policy.SMTP])
@pytest.mark.parametrize("content", [PLAIN, MULTIPART, PLAIN.replace(b"Hello", "Grüße".encode())])
def test_what_the_email_package_makes_of_a_message_is_taken(policy, content):
    parsed = email.message_from_bytes(content, policy=policy)
    parsed.replace_header("Subject", "[external] hello")
    assert refusal(parsed.as_bytes(), content) == ""


def test_superfluous_mime_version_headers_in_parts_are_taken():
    """The public WorkMail templates make such parts."""
    parsed = email.message_from_bytes(MULTIPART)
    wrapped = MIMEMultipart("mixed")
    for name, value in parsed.items():
        if name.lower() not in {"content-type", "mime-version"}:
            wrapped[name] = value
    wrapped.attach(MIMEText("footer"))
    assert refusal(wrapped.as_bytes(), MULTIPART) == ""


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                b"\r\n",
                b"\n",
                b"\r",
                b"\0",
                b"--=_b",
                b"--=_b--",
                b"--",
                b" ",
                b"\t",
                b":",
                b";",
                b'"',
                b"=",
                b"'",
                b"*",
            ),
            *(
                b"From: a",
                b"Date: b",
                b"Content-Type: multipart/mixed; boundary=",
                b"=_b",
                b"filename*0*=",
                b"%",
                b"\xff",
            ),
            *(
                b"=?utf-8?q?",
                b"?=",
                b"=?x?b?!!",
                b"Content-Disposition: attachment; filename=",
                b"a.exe",
                b"x" * 999,
                b"\\",
            ),
        ]
    ),
    max_size=40,
).map(b"".join)
MESSAGES = st.one_of(st.binary(max_size=200), PIECES, PIECES.map(MULTIPART.__add__), PIECES.map(PLAIN[:150].__add__))


@given(new=MESSAGES, original=MESSAGES)
@example(new=b"", original=b"")
@example(new=b"\r", original=b"")
@examples(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_bytes_are_the_answer_is_content_or_a_reason(new, original):
    if reason := refusal(new, original):
        assert reason.isprintable()
        assert len(reason) < 300
        return
    content = check_update(new, original, SETTINGS)
    assert content.count(b"\n") == content.count(b"\r\n")
    assert content.replace(b"\r\n", b"\n") == new.replace(b"\r\n", b"\n")


@given(original=MESSAGES, added=st.sampled_from([b"", b"Footer.\r\n", b"Footer\n"]))
@examples(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_message_can_always_be_put_back_with_a_line_below(original, added):
    """Behind a line end the line is in the body, or in a header section that has no end and gets an odd line."""
    ended = original if original.endswith(b"\n") else original + b"\r\n"
    reason = refusal(ended + (added and b"\r\n" + added), ended)
    assert reason == ""


def test_hostile_structures_take_no_time():
    """Bounded in steps of the walk, not in seconds: of 30,000 parts only so many are looked at."""
    hostile = MULTIPART + b"--=_b\r\n\r\n" * 30_000
    assert refusal(hostile.replace(b"--=_b--\r\n", b""), PLAIN).endswith("more than 1500 parts.")
    assert "begin with --" in refusal(MULTIPART.replace(b"Hello.", b"--\r\n" * 200_001), PLAIN)
