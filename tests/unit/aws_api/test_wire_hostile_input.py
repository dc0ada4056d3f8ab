"""What costs little to send costs little to read: hostile input of real sizes, with generous limits of time."""

import contextlib
import time
from collections.abc import Callable

import pytest

from aws_api.message_flow.header_fields import comparable
from aws_api.ses.addresses import addresses_in, mailbox_of
from aws_api.ses.composing import composed
from aws_api.ses.preparing import prepared
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import SendRequest
from aws_api.wire.addressing import by_form
from aws_api.wire.failures import OperationRefused
from aws_api.wire.forms import WrongForm, blob_of, text_of, tree_of
from aws_api.wire.rest_json import MOST_VALUES, _json_object
from aws_api.wire.shapes import WrongKind
from config.settings import Settings
from spool.header_addresses import mailboxes
from spool.header_text import text_of as header_text_of
from spool.ses_headers import idempotency_key_of, parameters_of

#: Each takes some hundredths of a second; what is quadratic takes minutes.
LIMIT_SECONDS = 10.0


def ends_soon(work: Callable[[], object]) -> None:
    began = time.thread_time()
    with contextlib.suppress(SendRefused, WrongForm, WrongKind, OperationRefused):
        work()
    assert time.thread_time() - began < LIMIT_SECONDS


HEADERS = (
    b'Cc: "' + b'\\"' * 45_000,
    b"Cc: " + b"<" * 90_000,
    b"Cc: " + b"<a>" * 30_000,
    b"Cc: " + b"(" * 90_000,
    b"Cc: " + b'"a' * 45_000,
    b"Cc: " + b"=?x?q?" * 15_000,
    b"Content-Type: " + b"multipart/" * 9_000,
    b"Content-Type: multipart/x;" + b" " * 90_000,
    b"Content-Type: multipart/x" + b"; " * 45_000,
    b"Content-Type: multipart/x" + b";boundary" * 10_000,
    b"Content-Type: multipart/x;boundary=" + b"\t" * 90_000,
    b"X-SES-MESSAGE-TAGS: " + b"a=b," * 20_000,
    b"X-SES-MESSAGE-TAGS: a" + b" " * 90_000,
    b"Auto-Submitted: " + b" " * 90_000,
    b"Message-ID: " + b"<" * 90_000,
)


@pytest.mark.parametrize("header", HEADERS, ids=lambda one: one[:24].decode())
def test_a_header_is_read_in_time_whatever_it_says(header):
    content = b"From: a@x.example\r\nTo: b@y.example\r\n" + header + b"\r\n\r\nhi\r\n"
    ends_soon(lambda: prepared(SendRequest("v1", "SendRawEmail", content), Settings(), None))
    value = header.partition(b":")[2] * 4
    for read in (mailboxes, header_text_of, idempotency_key_of, lambda one: parameters_of(one, "")):
        ends_soon(lambda read=read: read(value))
    ends_soon(lambda: addresses_in(value.decode()))
    ends_soon(lambda: comparable(value, "cc"))
    ends_soon(lambda: mailbox_of(value.decode()))


@pytest.mark.parametrize(
    "text",
    [" " * 1_000_000, "a " * 400_000, "\xe9" * 100_000, "a" * 30_000_000],
    ids=["blanks", "words", "other", "long"],
)
def test_a_subject_is_composed_in_time(text):
    ends_soon(lambda: composed({}, {"Subject": {"Data": text}, "Body": {"Text": {"Data": "x"}}}))


def test_a_body_of_long_lines_is_composed_in_time():
    text = ("x" * 998 + "\n") * 5_000
    ends_soon(lambda: composed({}, {"Subject": {"Data": ""}, "Body": {"Text": {"Data": text}}}))


FORMS = (
    b"Action=" + b"%zz" * 4_500_000,
    b"Action=" + b"%41" * 4_500_000,
    b"%zz" * 4_500_000 + b"=",
    b"." * 13_000_000 + b"=1",
    b"A=" + b"%" * 13_000_000,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda one: one[:16].decode())
def test_a_form_is_read_in_time_whatever_it_says(form):
    ends_soon(lambda: by_form(form))
    ends_soon(lambda: tree_of(form))
    value = form.partition(b"=")[2]
    ends_soon(lambda: text_of(value))
    ends_soon(lambda: blob_of(value))


def test_the_action_has_no_more_than_a_names_length():
    assert by_form(b"Action=" + b"%zz" * 100) is None
    assert by_form(b"Action=" + b"%53endEmail&x=y") == "SendEmail"
    with pytest.raises(WrongForm):
        text_of(b"%zz" * 5_000)


@pytest.mark.parametrize("piece", [b"{},", b"[],", b"1,", b'"a",', b'"\\\\",'])
def test_json_of_many_values_is_refused_before_it_becomes_objects(piece):
    with pytest.raises(WrongKind, match="too many values"):
        _json_object(b'{"a":[' + piece * (5 * MOST_VALUES) + b"1]}")


def test_braces_and_quotes_inside_a_text_are_no_values():
    text = '{"a": [1, 2, 3]}, \\ ' * MOST_VALUES
    written = b'{"a":"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"}'
    assert _json_object(written) == {"a": text}


def test_a_json_text_that_nobody_closed_is_looked_at_once():
    ends_soon(lambda: _json_object(b'{"a":"' + b'\\"' * 5_000_000))
