"""Which files a message carries."""

import time
from email.message import EmailMessage

import pytest

from worker.rules import attachments
from worker.rules.attachments import Attachments, attachments_of


def a_mail(*files: tuple[str, str]) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "a@example.com"
    mail.set_content("Hello")
    for name, disposition in files:
        mail.add_attachment(b"x", maintype="application", subtype="pdf", filename=name, disposition=disposition)
    return mail


def test_a_plain_message_has_none():
    assert attachments_of(a_mail().as_bytes()) == Attachments()


def test_names_in_all_their_spellings():
    mail = a_mail(("plan.pdf", "attachment"), ("größe und länge.pdf", "attachment"), ("logo.png", "inline"))
    names = ("plan.pdf", "größe und länge.pdf", "logo.png")
    assert attachments_of(mail.as_bytes()) == Attachments(is_any=True, names=names)


def test_an_alternative_text_is_none():
    mail = a_mail()
    mail.add_alternative("<p>Hello</p>", subtype="html")
    assert attachments_of(mail.as_bytes()) == Attachments()


def test_the_files_of_a_message_within_count():
    outer = a_mail()
    outer.add_attachment(a_mail(("plan.exe", "attachment")))
    assert attachments_of(outer.as_bytes()).names == ("plan.exe",)


def test_an_attachment_needs_no_name():
    content = b"Content-Disposition: ATTACHMENT\r\nContent-Type: application/pdf\r\n\r\nx"
    assert attachments_of(content) == Attachments(is_any=True)


def test_the_name_of_a_type_counts_too():
    content = b'Content-Type: application/x; name="plan.exe"\r\n\r\nx'
    assert attachments_of(content) == Attachments(is_any=True, names=("plan.exe",))


AMBIGUOUS = (
    b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n"
    b'--a\r\nContent-Type: x/y; name="plan.exe"\r\n\r\n--a--'
)


@pytest.mark.parametrize(
    "content",
    [
        AMBIGUOUS,
        AMBIGUOUS.replace(b"boundary=b", b"(comment) x=y"),
        AMBIGUOUS.replace(b"; boundary=b\r\n", b"\r\nContent-Type: multipart/mixed; boundary=b\r\n"),
        AMBIGUOUS.replace(b"\r\n\r\n--a--", b""),
        AMBIGUOUS.replace(b"; boundary=a; boundary=b", b"; boundary*0=a"),
        AMBIGUOUS.replace(b"; boundary=a; boundary=b", b"; boundary=x; boundary*=us-ascii''a"),
        AMBIGUOUS.replace(b"boundary=a; boundary=b", b'boundary="=?utf-8?q?a?="'),
        AMBIGUOUS.replace(b"boundary=a; boundary=b", b'boundary="\\a"'),
        AMBIGUOUS.replace(b"boundary=a; boundary=b", b"boundary=other"),
        AMBIGUOUS.replace(b"boundary=a; boundary=b", b"charset=utf-8"),
    ],
)
def test_where_the_structure_is_not_clear_every_line_that_says_so_counts(content):
    assert attachments_of(content).names == ("plan.exe",)


def test_a_file_that_is_only_quoted_in_a_text_is_none():
    content = b"Content-Type: text/plain\r\n\r\nContent-Disposition: attachment; filename=plan.exe\r\n"
    assert attachments_of(content) == Attachments()


EXE = b"Content-Disposition: attachment; filename=plan.exe\r\n\r\nx\r\n"


def test_parts_of_a_digest_and_of_any_kind_of_message_are_messages():
    inner = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + EXE + b"--b--\r\n"
    digest = b"Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n\r\n" + inner + b"--a--\r\n"
    assert attachments_of(digest).names == ("plan.exe",)
    assert attachments_of(digest.replace(b"digest", b"mixed")) == Attachments()
    assert attachments_of(b"Content-Type: message/global\r\n\r\n" + inner).names == ("plan.exe",)


def decoys(number: int, *, decoy: bytes = b"Content-Type: a/b; name=%d.txt\r\n\r\n") -> bytes:
    harmless = b"".join(b"--b\r\n" + (decoy % n if b"%" in decoy else decoy) for n in range(number))
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + harmless + b"--b\r\n" + EXE + b"--b--\r\n"


@pytest.mark.parametrize("number", [1000, 4000])
def test_a_file_behind_many_others_is_found(number):
    found = attachments_of(decoys(number))
    assert (found.names[-1], len(found.names), found.is_cut) == ("plan.exe", number + 1, False)


def test_a_file_behind_more_boundaries_than_are_read_is_found():
    decoy = b"Content-Type: text/plain\r\n\r\n"
    assert attachments_of(decoys(attachments.MAX_BOUNDARIES * 2, decoy=decoy)).names == ("plan.exe",)


@pytest.mark.parametrize(
    "content",
    [
        decoys(attachments.MAX_NAMES + 1),
        decoys(attachments.MAX_LINES, decoy=b"Content-Type:\r\n\r\n"),
        decoys(attachments.MAX_LINES, decoy=b"content-x: y\r\n\r\n"),
        b"content-type:\r\n" * (attachments.MAX_LINES + 1) + b"\r\n",
        EXE.replace(b";", b"; x=" + b"y" * attachments.MAX_VALUES_BYTES + b";"),
    ],
)
def test_what_is_more_than_can_be_read_is_told(content):
    found = attachments_of(content)
    assert found.is_cut
    assert found.is_any


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type: a/b; name=a\n",
        b"content-\n",
        b"Content-Type: " + b"name=a;" * 10_000 + b"\n",
        b"Content-Type: " + b'name="' * 10_000 + b"\n",
        b"Content-Type: " + b"name*0=(" * 10_000 + b"\n",
        b"Content-Type: " + b"name  " * 10_000 + b"\n",
    ],
)
def test_ten_million_bytes_take_moments_whatever_they_are(field):
    content = b"Content-Type: multipart/mixed; boundary*=b\r\n\r\n" + field * (10_000_000 // len(field))
    began = time.process_time()
    attachments_of(content)
    assert time.process_time() - began < 15
