"""The record of what was accepted, and its bounds."""

import hashlib
import re

import orjson

from simulator.checks import Envelope
from simulator.ledger import OVERHEAD_BYTES, Ledger


def envelope(number: int = 0) -> Envelope:
    return Envelope("a@x", (f"r{number}@x", "s@x"), "set", (("n", "v"),), "<1@x>", "Subject")


def lines_of(ledger: Ledger, since: int = 0) -> list[dict]:
    return [orjson.loads(line) for chunk in ledger.chunks(since, 7) for line in chunk.splitlines()]


def test_a_line_has_every_field():
    ledger = Ledger(10, 10_000, lambda: 1_313_540_498.5)
    ses_message_id = ledger.accept(envelope(), b"raw")
    assert re.fullmatch(r"0{5}131d51d[0-9a-f]{4}(-[0-9a-f]+){5}-000000", ses_message_id)
    assert len(ses_message_id) == len("00000131d51d6b36-1d4f9293-0aee-4503-b573-9ae4e70e9e38-000000")
    assert lines_of(ledger) == [
        {
            "ses_message_id": ses_message_id,
            "source": "a@x",
            "destinations": ["r0@x", "s@x"],
            "configuration_set": "set",
            "tags": {"n": "v"},
            "size_bytes": 3,
            "sha256": hashlib.sha256(b"raw").hexdigest(),
            "accepted_at": "2011-08-17T00:21:38.500000Z",
            "header_message_id": "<1@x>",
            "subject": "Subject",
        }
    ]


def test_every_id_finds_its_own_line_and_bytes_also_within_one_millisecond():
    ledger = Ledger(1000, 1_000_000, lambda: 1.0)
    ids = [ledger.accept(envelope(number), b"%d" % number) for number in range(200)]
    assert len(set(ids)) == 200
    for number, ses_message_id in enumerate(ids):
        assert ledger.raw_of(ses_message_id) == b"%d" % number
        line = ledger.line_of(ses_message_id)
        assert line is not None
        assert orjson.loads(line)["destinations"][0] == f"r{number}@x"


def test_a_clock_that_goes_back_does_not_lose_a_line():
    times = iter([5.0, 3.0, 4.0, 6.0])
    ledger = Ledger(10, 1000, lambda: next(times))
    ids = [ledger.accept(envelope(), b"x") for _ in range(4)]
    assert all(ledger.line_of(ses_message_id) for ses_message_id in ids)


def test_the_oldest_bytes_go_first_and_their_lines_stay():
    ledger = Ledger(100, 3 * (10 + OVERHEAD_BYTES), lambda: 1.0)
    ids = [ledger.accept(envelope(), b"%010d" % number) for number in range(5)]
    assert [ledger.raw_of(ses_message_id) for ses_message_id in ids] == [
        None, None, b"0000000002", b"0000000003", b"0000000004",
    ]  # fmt: skip
    assert all(ledger.line_of(ses_message_id) for ses_message_id in ids)
    assert [ses_message_id for ses_message_id, _ in ledger.kept_messages()] == ids[2:]


def test_a_message_larger_than_the_bound_is_not_kept():
    ledger = Ledger(100, 100, lambda: 1.0)
    assert ledger.raw_of(ledger.accept(envelope(), b"x" * 1000)) is None


def test_lines_are_bounded_and_positions_stay():
    ledger = Ledger(100, 1_000_000, iter(range(1, 1000)).__next__)
    ids = [ledger.accept(envelope(number), b"") for number in range(305)]
    kept = lines_of(ledger)
    assert 100 <= len(kept) <= 110
    assert kept[-1]["destinations"][0] == "r304@x"
    assert ledger.first_position == 305 - len(kept)
    assert [line["destinations"][0] for line in lines_of(ledger, 303)] == ["r303@x", "r304@x"]
    assert lines_of(ledger, 305) == []
    assert ledger.line_of(ids[0]) is None
    assert ledger.may_have_dropped(int(ids[0][:16], 16))
    assert len(ledger.kept_messages()) == len(kept)
    assert (ledger.calls, ledger.recipients) == (305, 610)


def test_newest_lines_come_in_pages():
    ledger = Ledger(100, 0, lambda: 1.0)
    for number in range(5):
        ledger.accept(envelope(number), b"")
    pages = [[orjson.loads(line)["destinations"][0] for line in ledger.newest(skip, 2)] for skip in (0, 2, 4, 6)]
    assert pages == [["r4@x", "r3@x"], ["r2@x", "r1@x"], ["r0@x"], []]


def test_ids_that_were_never_given_out_find_nothing():
    ledger = Ledger(10, 1000, lambda: 1.0)
    ledger.accept(envelope(), b"x")
    for unknown in ("", "../etc", "0" * 16, f"{1000:016x}-00000000-0000-0000-0000-000000000000-000000"):
        assert ledger.line_of(unknown) is None
        assert ledger.raw_of(unknown) is None
