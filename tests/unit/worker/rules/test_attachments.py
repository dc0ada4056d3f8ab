"""Which files a message carries."""

from email.message import EmailMessage

import pytest

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


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        (b"; filename=plan.exe", ("plan.exe",)),
        (b'; filename="a \\"b\\".exe"', ('a "b".exe',)),
        (b"; FileName=plan.exe; size=3", ("plan.exe",)),
        (b'; filename=\r\n\t"plan.exe"', ("plan.exe",)),
        (b'; filename="=?utf-8?q?pl=C3=A4n.exe?="', ("plän.exe",)),
        (b"; filename*=UTF-8''pl%C3%A4n%20b.exe", ("plän b.exe",)),
        (b"; filename*=iso-8859-1'de'pl%E4n.exe", ("plän.exe",)),
        (b"; filename*0=pl; filename*1=an.; filename*2=exe", ("plan.exe",)),
        (b"; filename*2=exe; filename*0*=utf-8''pl%C3; filename*1*=%A4n.", ("plän.exe",)),
        (b"; filename=a.txt; filename*=utf-8''b.exe", ("a.txt", "b.exe")),
        (b"; filename = spaced.exe", ("spaced.exe",)),
        (b'; filename="never closed.exe', ("never closed.exe",)),
        (b"; filename=", ()),
        (b"; filenames=a.exe", ()),
        (b"", ()),
    ],
)
def test_a_file_name_is_read_however_it_is_written(parameters, names):
    content = b"Content-Disposition: attachment" + parameters + b"\r\n\r\nx"
    assert attachments_of(content) == Attachments(is_any=True, names=names)


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
    ],
)
def test_where_the_structure_is_not_clear_every_line_that_says_so_counts(content):
    assert attachments_of(content).names == ("plan.exe",)


def test_a_file_that_is_only_quoted_in_a_text_is_none():
    content = b"Content-Type: text/plain\r\n\r\nContent-Disposition: attachment; filename=plan.exe\r\n"
    assert attachments_of(content) == Attachments()
