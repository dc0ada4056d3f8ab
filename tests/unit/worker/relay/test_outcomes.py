from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.relay.credentials import REFUSED_CODES
from worker.relay.outcomes import (
    NOT_REACHED,
    Accepted,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
    Unknown,
    of_answer,
    of_code,
    unavailable_of_record,
)
from worker.relay.refusals import CODES, named_addresses, words_of

FIXTURES = Path(__file__).parents[3] / "contract" / "fixtures" / "ses"
ERROR_TABLE = orjson.loads((FIXTURES / "error_table.json").read_bytes())
SES_ID = "010001890af3b4c1-2c1e2a2e-7e0c-4b7f-9a29-7e9f2a8f1e11-000000"

ADDRESS, CONTENT, COUNT = (partial(Rejected, about=about) for about in ("address", "content", "count"))
ACCOUNT, DENIED, IDENTITY, MESSAGE = (
    partial(Unavailable, scope=scope) for scope in ("account", "denied", "identity", "message")
)
RATE, DAILY = Throttled, partial(Throttled, is_daily=True)

# One row for each of SES's, by code and beginning of its text: what it means in an answer to a send.
EXPECTED = {
    ("Throttling", "Maximum sending rate exceeded."): RATE,
    ("Throttling", "Daily message quota exceeded."): DAILY,
    ("MessageRejected", "Email address is not verified."): IDENTITY,
    ("MessageRejected", "Sending paused for this account."): ACCOUNT,
    ("AccountSendingPausedException", ""): ACCOUNT,
    ("ConfigurationSetSendingPausedException", ""): ACCOUNT,
    ("MailFromDomainNotVerifiedException", ""): IDENTITY,
    ("ConfigurationSetDoesNotExist", "Configuration set <"): ACCOUNT,
    ("ConfigurationSetAlreadyExists", "Configuration set <"): MESSAGE,
    ("EventDestinationDoesNotExist", "No EventDestination found"): MESSAGE,
    ("EventDestinationAlreadyExists", ""): MESSAGE,
    ("InvalidSNSDestination", "SNS topic"): MESSAGE,
    ("InvalidCloudWatchDestination", ""): MESSAGE,
    ("InvalidFirehoseDestination", ""): MESSAGE,
    ("InvalidConfigurationSet", ""): ACCOUNT,
    ("LimitExceeded", ""): ACCOUNT,
    ("InvalidParameterValue", "Invalid tag name"): CONTENT,
    ("InvalidParameterValue", "Invalid tag value"): CONTENT,
    ("InvalidParameterValue", "Tag name cannot exceed"): CONTENT,
    ("InvalidParameterValue", "Tag value cannot exceed"): CONTENT,
    ("InvalidParameterValue", "The tag name must be"): CONTENT,
    ("InvalidParameterValue", "The tag value must be"): CONTENT,
    ("InvalidParameterValue", "Recipient count exceeds 50."): COUNT,
    ("InvalidParameterValue", "Missing required header 'From'."): CONTENT,
    ("InvalidParameterValue", "Missing required header 'To'."): CONTENT,
    ("InvalidParameterValue", "Missing final '@domain'"): ADDRESS,
    ("InvalidParameterValue", "Duplicate header"): CONTENT,
    ("InvalidParameterValue", "Empty header names are illegal."): CONTENT,
    ("InvalidParameterValue", "Header section too long."): CONTENT,
    ("InvalidParameterValue", "Missing start boundary"): CONTENT,
    ("InvalidParameterValue", "Expected '/', got ;"): CONTENT,
    ("InvalidParameterValue", "Extra route-addr"): ADDRESS,
}
V2_CODES = {
    "Throttling": "TooManyRequestsException",
    "InvalidParameterValue": "BadRequestException",
    "LimitExceeded": "LimitExceededException",
    "ConfigurationSetDoesNotExist": "NotFoundException",
}


def of_row(row: dict[str, str]) -> Callable[[str, str], Outcome]:
    text = row["message"] or ""
    (kind,) = (
        kind
        for (code, beginning), kind in EXPECTED.items()
        if code == row["code"] and (text.startswith(beginning) if beginning else not text)
    )
    return kind


def test_the_table_has_a_row_for_each_of_ses_and_no_other():
    assert len(ERROR_TABLE) == len(EXPECTED)
    assert len({id(of_row(row)) for row in ERROR_TABLE}) <= len(EXPECTED)


def v1_error(code: str, text: str) -> bytes:
    return (
        '<ErrorResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/">\n  <Error>\n    <Type>Sender</Type>\n'
        f"    <Code>{code}</Code>\n    <Message>{escape(text)}</Message>\n  </Error>\n"
        "  <RequestId>8f23e6e6-b4f2-4572-b426-343b370cb32c</RequestId>\n</ErrorResponse>\n"
    ).encode()


@pytest.mark.parametrize("row", ERROR_TABLE, ids=lambda row: f"{row['code']}: {(row['message'] or '')[:30]}")
def test_every_known_error_has_its_outcome_in_an_answer_to_a_v1_send(row):
    text = row["message"] or ""
    outcome = of_answer(row["http"], "", v1_error(row["code"], text))
    assert outcome == of_row(row)(row["code"], " ".join(text.split()))


@pytest.mark.parametrize("row", ERROR_TABLE, ids=lambda row: f"{row['code']}: {(row['message'] or '')[:30]}")
@pytest.mark.parametrize("suffix", ["", ":http://internal.amazon.com/coral/com.amazonaws.services.email/"])
def test_every_known_error_has_its_outcome_in_an_answer_to_a_v2_send(row, suffix):
    code, text = V2_CODES.get(row["code"], row["code"]), row["message"] or ""
    outcome = of_answer(row["http"], code + suffix, orjson.dumps({"message": text}))
    assert outcome == of_row(row)(code, " ".join(text.split()))


def test_the_recorded_throttling_answer_is_throttled():
    body = (FIXTURES / "throttling_rate.xml").read_bytes()
    assert of_answer(400, "", body) == Throttled("Throttling", "Maximum sending rate exceeded.")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("TooManyRequestsException", "", RATE),
        ("TooManyRequestsException", "Daily message quota exceeded.", DAILY),
        ("ThrottlingException", "Rate exceeded", RATE),
        ("LimitExceededException", "Daily message quota exceeded.", DAILY),
        ("SendingPausedException", "", ACCOUNT),
        ("AccountSuspendedException", "", ACCOUNT),
        ("MailFromDomainNotVerifiedException", "", IDENTITY),
        ("NotFoundException", "", ACCOUNT),
        ("MessageRejected", "Address blacklisted.", ADDRESS),
        ("MessageRejected", "Sending suspended for this account. For more information, please check", ACCOUNT),
        ("BadRequestException", "Sending paused for this account.", ACCOUNT),
        ("BadRequestException", "Email address is not verified.", IDENTITY),
        ("BadRequestException", "Something new about the request", ADDRESS),
        ("SignatureDoesNotMatch", "Signature expired: 20261121T080000Z is now earlier than", ACCOUNT),
        ("AccessDenied", "User is not authorized to perform `ses:SendRawEmail'", DENIED),
        ("AccessDenied", "Maximum sending rate exceeded.", DENIED),
        ("AccessDeniedException", "", DENIED),
        ("InternalFailure", "", Unavailable),
        ("ServiceUnavailable", "", Unavailable),
    ],
)
def test_other_codes_of_both_versions_have_their_outcomes(code, text, kind):
    assert of_code(code, text) == kind(code, text)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503, 599])
def test_a_code_that_nobody_knows_is_temporary_for_its_message(status):
    assert of_answer(status, "", v1_error("BrandNew", "Hm.")) == MESSAGE("BrandNew", "Hm.")
    assert of_answer(status, "BrandNewException", b'{"message":"Hm."}') == MESSAGE("BrandNewException", "Hm.")


def test_a_v2_error_may_name_itself_in_the_body():
    body = b'{"__type":"com.amazonaws.sesv2#TooManyRequestsException","Message":"Slow down."}'
    assert of_answer(429, "", body) == Throttled("TooManyRequestsException", "Slow down.")
    assert of_answer(400, "", b'{"code":"BadRequestException"}') == Rejected("BadRequestException", "")


def test_the_operator_is_told_different_words_for_each_trouble_of_an_account():
    paused = words_of("MessageRejected", "Sending paused for this account.")
    told = {
        paused,
        *(words_of(code, "") for code in ("AccountSendingPausedException", "AccountSuspendedException")),
        *(words_of(code, "") for code in ("ConfigurationSetDoesNotExist", "ConfigurationSetSendingPausedException")),
        *(words_of(code, "") for code in ("InvalidClientTokenId", "ExpiredToken", "SignatureDoesNotMatch")),
        *(words_of(code, "") for code in ("RequestExpired", "AccessDenied", "NoCredentials", "LimitExceeded")),
    }
    assert len(told) == 12
    assert words_of("SignatureDoesNotMatch", "Signature expired: x") == words_of("RequestExpired", "")
    assert paused.startswith("AWS paused")


@pytest.mark.parametrize(
    "code", [code for code, meaning in CODES.items() if meaning.kind in {"account", "denied", "identity"}]
)
def test_every_trouble_of_an_operator_has_words(code):
    assert len(words_of(code, "")) > 20


def test_a_refusal_without_words_of_ours_is_told_in_ses_s():
    assert words_of("MessageRejected", "Address blacklisted.") == "Address blacklisted."
    assert words_of("InternalFailure", "") == "InternalFailure"


NAMES = st.from_regex(r"[a-z]{1,5}@[a-z]{1,5}\.example", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_the_identities_in_ses_s_text_are_found(names):
    text = "Email address is not verified. The following identities failed the check in region US-EAST-1: "
    assert named_addresses(text + ", ".join(names), is_cut=False) == set(names)
    assert named_addresses(text + ", ".join(names), is_cut=True) == set(names[:-1])
    assert named_addresses(f"{text}Ann <{names[0].upper()}>, {names[0]}", is_cut=False) == {names[0]}


def test_a_text_without_identities_names_nobody():
    for text in ("", "Email address is not verified.", "identities failed the check", "ann@example.com"):
        assert named_addresses(text, is_cut=False) == frozenset()


@pytest.mark.parametrize("status", [413, 503])
def test_a_record_tells_whose_matter_it_was(status):
    of_a_proxy = of_answer(status, "", b"<html>")
    not_reached = Unavailable("ClientConnectorError", f"{NOT_REACHED}: refused")
    for outcome in (of_a_proxy, not_reached, of_code("AccessDenied", "x"), of_code("New", "x"), of_code("OptIn", "")):
        assert isinstance(outcome, Unavailable)
        assert unavailable_of_record(outcome.code, outcome.reason) == outcome
    assert unavailable_of_record("Throttling", "x") == Unavailable("Throttling", "x")


def test_credential_codes_are_all_temporary():
    assert {type(of_code(code, "")) for code in REFUSED_CODES} == {Unavailable}
    assert set(CODES) >= REFUSED_CODES


def test_a_v1_success_has_its_message_id():
    body = (
        '<SendRawEmailResponse xmlns="http://ses.amazonaws.com/doc/2010-12-01/"><SendRawEmailResult>'
        f"<MessageId>\n {SES_ID} </MessageId></SendRawEmailResult><ResponseMetadata><RequestId>x</RequestId>"
        "</ResponseMetadata></SendRawEmailResponse>"
    )
    assert of_answer(200, "", body.encode()) == Accepted(SES_ID)


@pytest.mark.parametrize("body", [{"MessageId": SES_ID}, {"New": [1], "MessageId": SES_ID, "Newer": None}])
def test_a_v2_success_has_its_message_id_whatever_else_it_says(body):
    assert of_answer(200, "", b" " + orjson.dumps(body) + b"\n") == Accepted(SES_ID)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body><h1>It works!</h1></body></html>",
        b"{}",
        b"[]",
        b"null",
        b'{"MessageId":null}',
        b'{"MessageId":"',
        b'{"MessageId":["x"]}',
        b'{"MessageId":"a b<script>"}',
        b"<MessageId></MessageId>",
        b"<MessageId>0100",
        "<MessageId>€</MessageId>".encode(),
        f"<MessageId>{SES_ID}</MessageId>".encode("utf-16"),
        b"\x1f\x8b\x08" + bytes(200),
    ],
)
def test_a_200_without_a_message_id_is_unknown(body):
    assert isinstance(of_answer(200, "", body), Unknown)


@pytest.mark.parametrize("status", [100, 201, 204, 206, 300, 303, 304, 500, 502, 504, 520])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"\xff\xfe", b"{"])
def test_an_answer_that_is_not_ses_s_leaves_the_batch_in_doubt(status, body):
    assert isinstance(of_answer(status, "", body), Unknown)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 403, 404, 407, 408, 413, 429, 503])
@pytest.mark.parametrize("body", [b"", b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>"])
def test_an_answer_that_says_that_nothing_was_passed_on_is_no_doubt(status, body):
    assert isinstance(of_answer(status, "", body), Unavailable)


def test_a_reason_is_one_printable_line_of_bounded_length():
    outcome = of_answer(400, "", v1_error("MessageRejected", "a\r\nBcc: b\x00\x1b[31m\u2028" + "x" * 5000))
    assert isinstance(outcome, Rejected)
    assert outcome.reason.startswith("a Bcc: b[31m x")
    assert len(outcome.reason) == 500
    assert of_answer(400, "", b"<Error><Code>X</Code><Message>a&#10;&lt;b&gt;</Message></Error>") == MESSAGE(
        "X", "a <b>"
    )


@pytest.mark.parametrize("unit", [b"<Error>", b"<Error><Code>", b"<Code>", b"<MessageId>", b"{", b'{"a":', b"<"])
def test_a_hostile_answer_costs_no_more_than_its_length(unit, milliseconds):
    body = (unit * 65536)[:65536]
    for status in (200, 400, 500):
        assert milliseconds(lambda status=status: of_answer(status, "", body)) < 50


STATUS = st.one_of(st.integers(100, 599), st.integers())
FRAGMENT = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"<Error>", b"</Error>", b"<Code>", b"</Code>", b"<Message>", b"</Message>", b"<MessageId>", b"</MessageId>"]
    ),
    st.sampled_from([b'{"', b'"}', b'"message":', b'"MessageId":"', b"Throttling", b"&#x0;", b"&#xD800;", b"\\u0000"]),
)


@given(STATUS, st.text(max_size=40), st.lists(FRAGMENT, max_size=12).map(b"".join))
def test_every_answer_has_an_outcome(status, error_type, body):
    outcome = of_answer(status, error_type, body)
    assert isinstance(outcome, Outcome)
    if isinstance(outcome, Accepted):
        assert status == 200
    else:
        assert isinstance(outcome.code, str)
        assert outcome.reason.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["message", "code", "__type", "MessageId"]), inner),
    max_leaves=8,
)


@given(STATUS, JSON)
def test_every_json_answer_has_an_outcome(status, value):
    assert isinstance(of_answer(status, "", orjson.dumps(value)), Outcome)


@given(st.text(), st.text())
def test_every_code_and_text_has_an_outcome_and_unknown_codes_are_temporary(code, reason):
    if code not in CODES:
        assert of_code(code, reason) == MESSAGE(code, reason)
