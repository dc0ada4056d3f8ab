"""Faults over HTTP: what the client sees, and whether the message was accepted all the same."""

import threading

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)
from simulated_ses import simulated_ses

from tests.line import wait_until

RAW = b"From: ann@example.com\r\nTo: bob@example.com\r\n\r\nbody\r\n"


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, read_timeout_seconds=60, **parameters):
    return ses.client("ses", read_timeout_seconds).send_raw_email(RawMessage={"Data": RAW}, **parameters)


def send_v2(ses):
    return ses.client("sesv2").send_email(Content={"Raw": {"Data": RAW}})


@pytest.mark.parametrize(
    ("kind", "code", "status", "text"),
    [
        ("throttle", "Throttling", 400, "Maximum sending rate exceeded."),
        ("daily_quota", "Throttling", 400, "Daily message quota exceeded."),
        ("error_500", "InternalFailure", 500, "The request processing has failed"),
        ("error_503", "ServiceUnavailable", 503, "temporary failure"),
        ("reject", "MessageRejected", 400, "Address blacklisted."),
        ("not_verified", "MessageRejected", 400, "Email address is not verified."),
        ("paused", "MessageRejected", 400, "Sending paused for this account."),
    ],
)
def test_a_refusing_fault_is_seen_as_its_error_and_nothing_is_accepted(ses, kind, code, status, text):
    ses.json("PUT", "/faults", {"kind": kind, "count": 1})
    with pytest.raises(ClientError) as caught:
        send(ses)
    assert caught.value.response["Error"]["Code"] == code
    assert text in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert ses.ledger() == []
    assert ses.violations() == {}
    send(ses)
    assert ses.json("GET", "/faults")[0]["hits"] == 1


@pytest.mark.parametrize(("kind", "accepted"), [("hang_before", 0), ("hang_after", 1)])
def test_a_hanging_call_gets_no_answer(ses, kind, accepted):
    ses.json("PUT", "/faults", {"kind": kind})

    def hits():
        return ses.json("GET", "/faults")[0]["hits"]

    def is_hanging():
        with pytest.raises(ReadTimeoutError):
            send(ses, read_timeout_seconds=0.5)
        return hits()  # a simulator that was slow may not have come to it

    wait_until(is_hanging, "the simulator has a call that hangs")
    wait_until(lambda: len(ses.ledger()) == accepted * hits(), "every one is accepted, or none is")


@pytest.mark.parametrize(("kind", "accepted"), [("close_before", 0), ("close_after", 1)])
def test_a_closed_connection_is_seen_as_one(ses, kind, accepted):
    ses.json("PUT", "/faults", {"kind": kind})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        send(ses)
    assert len(ses.ledger()) == accepted


def test_a_hanging_call_is_closed_when_its_time_is_up(ses):
    ses.json("PUT", "/faults", {"kind": "hang_before", "hang_seconds": 0.2})
    with pytest.raises((ConnectionClosedError, HTTPClientError)) as caught:
        send(ses)
    assert not isinstance(caught.value, ReadTimeoutError)


def test_a_hanging_call_is_closed_when_the_faults_are_cleared(ses):
    ses.json("PUT", "/faults", {"kind": "hang_after"})
    seen = []

    def call():
        try:
            send(ses)
        except HTTPClientError as error:
            seen.append(type(error))

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: ses.json("GET", "/faults")[0]["hits"], "the call hangs")
    assert ses.json("DELETE", "/faults") == []
    thread.join(60)
    assert len(seen) == 1
    assert seen != [ReadTimeoutError]
    assert len(ses.ledger()) == 1


def test_a_page_instead_of_a_v1_answer_is_accepted_and_useless(ses):
    ses.json("PUT", "/faults", {"kind": "html_200"})
    with pytest.raises(KeyError):
        send(ses)
    assert len(ses.ledger()) == 1


def test_a_page_instead_of_a_v2_answer_is_accepted_and_has_no_id(ses):
    ses.json("PUT", "/faults", {"kind": "html_200"})
    assert "MessageId" not in send_v2(ses)  # the client takes it for a success
    assert len(ses.ledger()) == 1


@pytest.mark.parametrize("send_once", [send, send_v2])
def test_half_an_answer_is_accepted_and_useless(ses, send_once):
    ses.json("PUT", "/faults", {"kind": "cut_answer"})
    with pytest.raises(ConnectionClosedError):
        send_once(ses)
    assert len(ses.ledger()) == 1


def test_only_the_matching_recipient_is_hit(ses):
    ses.json("PUT", "/faults", {"kind": "reject", "match_recipient": "poison@"})
    send(ses)
    with pytest.raises(ClientError):
        send(ses, Destinations=["bob@example.com", "Poison@example.com"])
    assert len(ses.ledger()) == 1


def test_only_the_matching_sender_is_hit(ses):
    ses.json("PUT", "/faults", {"kind": "throttle", "match_sender": "NEWS@", "match_recipient": "bob@"})
    send(ses)
    with pytest.raises(ClientError):
        send(ses, Source="news@example.com")
    send(ses, Source="news@example.com", Destinations=["carol@example.com"])
    assert [line["source"] for line in ses.ledger()] == ["ann@example.com", "news@example.com"]


@pytest.mark.parametrize("send_once", [send, send_v2])
def test_any_refusal_can_be_given(ses, send_once):
    fault = {"kind": "refuse", "code": "LimitExceeded", "status": 418, "text": "one <two> & three"}
    ses.json("PUT", "/faults", fault)
    with pytest.raises(ClientError) as caught:
        send_once(ses)
    assert caught.value.response["Error"]["Code"] == "LimitExceeded"
    assert caught.value.response["Error"]["Message"] == "one <two> & three"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418
    assert ses.ledger() == []


def test_several_faults_are_asked_in_their_order(ses):
    ses.json("PUT", "/faults", [{"kind": "throttle", "count": 1}, {"kind": "error_500", "count": 1}])
    codes = []
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            send(ses)
        codes.append(caught.value.response["Error"]["Code"])
    send(ses)
    assert codes == ["Throttling", "InternalFailure"]
    assert [fault["hits"] for fault in ses.json("GET", "/faults")] == [1, 1]


def test_a_wrong_fault_is_refused_and_changes_nothing(ses):
    ses.json("PUT", "/faults", {"kind": "throttle", "count": 3})
    for wrong in (b"{", b'{"kind": "nope"}', b'{"kind": "throttle", "cuont": 1}', b"5"):
        status, _, text = ses.request("PUT", "/faults", wrong)
        assert status == 400
        assert text.strip()
    assert ses.json("GET", "/faults")[0]["count"] == 3
