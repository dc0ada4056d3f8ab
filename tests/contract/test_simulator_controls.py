"""Ledger, messages, settings and health over HTTP."""

import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

RAW = b"From: ann@example.com\r\nTo: bob@example.com\r\n\r\nbody\r\n"


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, raw=RAW):
    return ses.client("ses").send_raw_email(RawMessage={"Data": raw})["MessageId"]


def test_it_is_healthy(ses):
    status, _, body = ses.request("GET", "/healthz")
    assert (status, body) == (200, b"ok")


def test_the_ledger_can_be_read_from_a_line_on(ses):
    ids = [send(ses) for _ in range(4)]
    assert [line["ses_message_id"] for line in ses.ledger()] == ids
    assert [line["ses_message_id"] for line in ses.ledger("?since=3")] == ids[3:]
    assert ses.ledger("?since=4") == ses.ledger("?since=999999") == []
    status, headers, _ = ses.request("GET", "/ledger")
    assert (status, headers["Content-Type"]) == (200, "application/x-ndjson")
    assert ses.request("GET", "/ledger?since=-1")[0] == 400
    assert ses.json("GET", "/ledger/count") == {"calls": 4, "recipients": 4}


def test_a_long_ledger_is_streamed_whole(ses):
    body = b"Action=SendRawEmail&Source=a@x&Destinations.member.1=b@x&RawMessage.Data="
    for _ in range(2500):
        assert ses.request("POST", "/", body)[0] == 200
    assert len(ses.ledger()) == 2500


def test_bytes_that_are_no_longer_kept_are_gone_and_unknown_ids_are_not_found():
    with simulated_ses(kept_message_bytes=1000) as ses:
        first, last = send(ses, RAW + b"x" * 600), send(ses, RAW + b"y" * 600)
        status, _, text = ses.request("GET", f"/messages/{first}")
        assert status == 410
        assert b"no longer kept" in text
        assert ses.request("GET", f"/view/{first}")[0] == 410
        assert ses.request("GET", f"/messages/{last}")[0] == 200
        unknown = f"{0:016x}-00000000-0000-0000-0000-000000000000-000000"
        for path in (unknown, "x", "..%2F..%2Fetc%2Fpasswd"):
            assert ses.request("GET", f"/messages/{path}")[0] == 404
            assert ses.request("GET", f"/view/{path}")[0] == 404


def test_settings_change_at_run_time(ses):
    before = ses.json("GET", "/settings")
    assert [before[name] for name in ("max_send_rate", "max_24_hour_send", "latency_seconds")] == [0.0, -1.0, 0.0]
    send(ses)
    assert ses.json("PUT", "/settings", {"max_24_hour_send": 1})["max_24_hour_send"] == 1
    with pytest.raises(ClientError, match="Daily message quota exceeded"):
        send(ses)
    ses.json("PUT", "/settings", {"max_24_hour_send": -1, "latency_seconds": 0.001})
    send(ses)
    assert ses.json("GET", "/settings") == before | {"latency_seconds": 0.001}


def test_every_setting_that_is_told_can_be_set(ses):
    before = ses.json("GET", "/settings")
    assert ses.json("PUT", "/settings", before) == before
    other = {"sandbox": True, "verified_identities": ["example.com"], "window_seconds": 5, "header_recipients": "count"}
    assert ses.json("PUT", "/settings", other) == before | other


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b'{"rate": 1}',
        b'{"max_send_rate": -1}',
        b'{"latency_seconds": "1"}',
        b'{"sandbox": 1}',
        b'{"verified_identities": "example.com"}',
        b'{"verified_identities": [""]}',
        b'{"account_state": "stopped"}',
        b'{"account_state": []}',
        b'{"window_seconds": 0}',
        b'{"others_sent": -1}',
        b'{"others_sent": 1.5}',
        b'{"max_send_rate": 5, "events": null}',
        b'{"port": 1}',
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(ses, wrong):
    before = ses.json("GET", "/settings")
    status, _, text = ses.request("PUT", "/settings", wrong)
    assert status == 400
    assert text.strip()
    assert ses.json("GET", "/settings") == before


def test_a_request_above_the_limit_is_refused():
    with simulated_ses(max_request_bytes=10_000) as ses:
        assert ses.request("POST", "/", b"Action=SendRawEmail&RawMessage.Data=" + b"A" * 20_000)[0] == 413


def test_nothing_is_written_until_it_is_asked_for(tmp_path):
    directory = tmp_path / "kept"
    with simulated_ses(data_dir=directory) as ses:
        ses_message_id = send(ses)
        assert not directory.exists()
        assert ses.json("POST", "/save")["messages"] == 1
        assert (directory / "messages" / f"{ses_message_id}.eml").read_bytes() == RAW
        assert (directory / "ledger.ndjson").read_bytes().count(b"\n") == 1


def test_without_a_directory_there_is_nothing_to_save_to(ses):
    assert ses.request("POST", "/save")[0] == 409
