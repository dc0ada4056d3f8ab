"""What is attached can be read where it arrives: mails as mails, packed files as files."""

from email import message_from_bytes, policy

import pytest

from aws_api.ses.composing import composed
from aws_api.ses.refusals import SendRefused

MAIL = b"From: x@example.com\r\nTo: y@example.net\r\nSubject: inner\r\n\r\nbody\r\n"
EIGHT_BIT = MAIL.replace(b"body", "Grüße".encode())
#: What neither 7bit nor 8bit may hold, or would not bring as it is.
NO_LINES = (MAIL + b"\0", MAIL + b"a\rb", MAIL + b"\n", MAIL + b"x" * 999, MAIL + b"\r")


def arrived(raw, file_name="m.eml", **members):
    """The whole message and the attached part, as a strict reader has them."""
    attachment = {"RawContent": raw, "FileName": file_name, **members}
    content = composed({}, {"Subject": {"Data": ""}, "Attachments": [attachment]})
    message = message_from_bytes(content, policy=policy.SMTP)
    _, part = message.iter_parts()
    assert not any(one.defects for one in message.walk())
    return message, part


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"file_name": "M.MHT"},
        {"file_name": "m", "ContentType": "Message/RFC822"},
        {"ContentTransferEncoding": "BASE64"},
        {"ContentTransferEncoding": "QUOTED_PRINTABLE"},
        {"ContentTransferEncoding": "SEVEN_BIT"},
        {"ContentDisposition": "INLINE"},
    ],
)
@pytest.mark.parametrize("raw", [MAIL, MAIL.replace(b"\r\n", b"\n")], ids=["crlf", "lf"])
def test_an_attached_mail_is_a_mail(raw, members):
    _, part = arrived(raw, **members)
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("message/rfc822", "7bit")
    inner = part.get_content()
    assert (inner["Subject"], inner.get_payload(), inner.defects) == ("inner", "body\r\n", [])


def test_a_mail_with_other_letters_goes_as_8bit_and_all_around_it_say_so():
    message, part = arrived(EIGHT_BIT)
    assert (message["Content-Transfer-Encoding"], part["Content-Transfer-Encoding"]) == ("8bit", "8bit")
    assert "Grüße".encode() in part.get_content().get_payload(decode=True)


@pytest.mark.parametrize("raw", NO_LINES, ids=["nul", "bare cr", "mixed ends", "long line", "cr at the end"])
@pytest.mark.parametrize("members", [{}, {"ContentType": "message/rfc822"}, {"ContentType": "multipart/mixed"}])
def test_a_mail_that_would_not_arrive_as_it_is_goes_as_a_file(raw, members):
    _, part = arrived(raw, **members)
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("application/octet-stream", "base64")
    assert (part.get_content(), part.get_filename()) == (raw, "m.eml")


def test_what_is_asked_for_as_seven_bit_and_is_not_is_refused_for_mails_too():
    with pytest.raises(SendRefused, match="SEVEN_BIT"):
        arrived(EIGHT_BIT, ContentTransferEncoding="SEVEN_BIT")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.txt.gz", "a.svgz", "a.tar.bz2", "a.txt.xz", "a.eml.gz", "a.no"])
def test_a_packed_file_is_not_the_text_inside(name):
    raw = b"\x1f\x8b\x08\x00\xff"
    _, part = arrived(raw, name)
    assert (part.get_content_type(), part.get_content()) == ("application/octet-stream", raw)


def test_a_type_that_is_given_counts_before_the_name():
    assert arrived(b"\x1f\x8b", "a.csv.gz", ContentType="application/gzip")[1].get_content_type() == "application/gzip"
    assert arrived(b"a;b", "a.csv")[1].get_content_type() == "text/csv"


@pytest.mark.parametrize("kind", ["text/plain\u2028; a=b", "text/plain\x85;a=b", "text/plain\u00a0;a=b"])
def test_a_blank_that_is_not_ascii_is_no_part_of_a_content_type(kind):
    with pytest.raises(SendRefused, match="Invalid content type"):
        arrived(b"x", ContentType=kind)


def test_separators_of_lines_survive_in_names_and_descriptions():
    text = "a\u2028b\u0085c\u2029d"
    _, part = arrived(b"x", text, ContentDescription=text)
    assert part.get_filename() == text
    assert part["Content-Description"] == text
