import pytest

from bench.relay import options_of, read_arguments
from bench.relay_kills import doubt_of
from bench.relay_line import Call, calls_of, even_sizes, latencies, new_messages
from bench.relay_rate import mixed_sizes, paced_share, plain_share
from bench.relay_rows import QUICK, Measured, rows_table
from tests.unit.bench.test_chaos_books import FIRST, SECOND, a_call, a_message


def calls_at(*pairs):
    return [Call(at, recipients, "m") for at, recipients in pairs]


def test_calls_that_follow_each_other_as_their_debt_allows_use_the_whole_rate():
    calls = calls_at((0.0, 50), (5.0, 10), (6.0, 30), (9.0, 7))
    assert paced_share(calls, 10, 0.0, 9) == pytest.approx(1.0)


def test_a_pause_between_calls_is_a_share_not_used():
    assert paced_share(calls_at((0.0, 10), (2.0, 10), (3.0, 10)), 10, 0.0, 3) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("begin", "seconds"), [(1.5, 1.6), (0.5, 1.0)])
def test_a_pause_at_an_edge_counts(begin, seconds):
    calls = calls_at((0.0, 10), (1.0, 10), (3.0, 10), (4.0, 10), (5.0, 10))
    assert paced_share(calls, 10, begin, seconds) == pytest.approx(2 / 3)


def test_calls_outside_the_window_do_not_count():
    calls = calls_at((0.0, 500), (1.0, 10), (2.0, 10), (3.0, 10), (99.0, 500))
    assert paced_share(calls, 10, 1.5, 1.5) == pytest.approx(1.0)
    assert plain_share(calls, 10, 0.5, 10) == pytest.approx(0.3)


@pytest.mark.parametrize("calls", [[], calls_at((1.0, 5)), calls_at((1.0, 5), (1.0, 5)), calls_at((1.0, 5), (2.0, 5))])
def test_without_a_call_after_the_window_there_is_no_share(calls):
    assert paced_share(calls, 10, 0.0, 10) == 0.0


def test_mixed_sizes_are_batches_of_1_to_50_and_enough():
    sizes = mixed_sizes(5000, seed=1)
    assert sum(sizes) >= 5000
    assert min(sizes) == 1
    assert max(sizes) == 50


@pytest.mark.parametrize(("recipients", "a_message", "sizes"), [(20, 10, [10, 10]), (21, 10, [10, 10, 1]), (0, 5, [])])
def test_even_sizes_hold_exactly_so_many_recipients(recipients, a_message, sizes):
    assert even_sizes(recipients, a_message) == sizes


def test_new_messages_have_their_lane_in_the_header_and_no_recipient_twice():
    messages = list(new_messages([3, 2], sender="news@example.com", lane="bulk"))
    addresses = [address for message in messages for address in message.recipients]
    assert len(set(addresses)) == 5
    assert all(b"\r\nX-Sluice-Lane: bulk\r\n" in message.content for message in messages)
    assert {message.sender for message in messages} == {"news@example.com"}


def test_latency_is_from_acceptance_to_the_last_call_of_the_message():
    calls = [Call(10.0, 1, FIRST), Call(12.5, 1, FIRST), Call(11.0, 1, "another")]
    assert latencies({FIRST: 9.0, SECOND: 9.0}, calls) == [3.5]


def test_a_ledger_becomes_calls():
    entry = {**a_call(), "accepted_at": "2026-01-01T00:00:00.250000Z"}
    assert calls_of([entry]) == [Call(1767225600.25, 1, FIRST)]


def test_doubt_is_counted_in_recipients_and_knows_what_was_handed_over():
    messages = [a_message(outcomes=("unknown", "accepted")), a_message(message_id=SECOND, outcomes=(None, "accepted"))]
    doubt = doubt_of(messages, [a_call()])
    assert (doubt.unknown, doubt.handed_over) == (2, 1)


def test_quick_is_small_and_single_options_go_on_top():
    options = options_of(read_arguments(["--quick", "--rate", "14", "--rate", "50", "--seconds", "9"]))
    assert options.rates == (14.0, 50.0)
    assert options.seconds == 9.0
    assert options.sends == QUICK.sends


def test_a_table_says_what_was_missed():
    rows = [Measured({"rate": "14/s", "share": 1_000_000}), Measured({"rate": "100/s", "share": 0.5}, ["share"])]
    lines = rows_table(rows).splitlines()
    assert lines[0].split() == ["rate", "|", "share", "|", "targets", "met?"]
    assert lines[2].endswith("| yes")
    assert "1,000,000" in lines[2]
    assert lines[3].endswith("| NO: share")
