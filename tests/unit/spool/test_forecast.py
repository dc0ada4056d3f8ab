import math

from hypothesis import given
from hypothesis import strategies as st

from spool.forecast import DAY_MINUTES, MINUTE_MS, Ledger, drained_at_ms, frees_at_ms, next_slot_at_ms
from spool.sending_quota import RouteView, Trouble

NOW = 30_000_000 * MINUTE_MS
MINUTE = NOW // MINUTE_MS


def a_view(**fields) -> RouteView:
    return RouteView("main", **{"rate": 10.0, "taken_at_ms": NOW, **fields})


def test_a_ledger_is_read_from_its_hash_in_order():
    assert Ledger.of_row([b"12", b"5", b"9", b"3"]) == Ledger(((9, 3), (12, 5)))
    assert Ledger.of_row([]) == Ledger()


def test_a_minutes_recipients_leave_when_all_of_it_is_a_day_ago():
    assert frees_at_ms(MINUTE) - NOW == 86_400_000 + MINUTE_MS


def test_without_a_used_up_quota_there_is_no_next_slot():
    assert next_slot_at_ms(a_view(), Ledger()) is None
    assert next_slot_at_ms(a_view(daily_limit=100, sent_last_24_hours=99), Ledger()) is None


def test_the_next_slot_comes_when_the_oldest_minutes_leave():
    ledger = Ledger(((MINUTE - 1400, 10), (MINUTE - 1000, 90)))
    assert next_slot_at_ms(a_view(daily_limit=100, sent_last_24_hours=100), ledger) == frees_at_ms(MINUTE - 1400)
    assert next_slot_at_ms(a_view(daily_limit=90, sent_last_24_hours=100), ledger) == frees_at_ms(MINUTE - 1000)
    half = next_slot_at_ms(a_view(daily_limit=160, sent_last_24_hours=100), ledger, share=50)
    assert half == frees_at_ms(MINUTE - 1000)


def test_other_senders_mail_is_seen_to_leave_at_the_next_question():
    view = a_view(daily_limit=100, sent_last_24_hours=500, fetched_at_ms=NOW - 20_000)
    assert next_slot_at_ms(view, Ledger(((MINUTE, 100),))) == NOW + 40_000


def test_sess_own_word_wins():
    view = a_view(daily_until_ms=NOW + 120_000, daily_ended=True)
    assert next_slot_at_ms(view, Ledger()) == NOW + 120_000
    assert drained_at_ms(view, Ledger(), 100) == NOW + 130_000


def test_without_a_daily_limit_the_rate_tells_when_all_is_gone():
    assert drained_at_ms(a_view(), Ledger(), 250) == NOW + 25_000
    assert drained_at_ms(a_view(), Ledger(), 250, share=50) == NOW + 50_000
    assert drained_at_ms(a_view(rate=math.inf), Ledger(), 250) == NOW


def test_with_a_daily_limit_the_rest_waits_for_the_minutes_that_leave():
    ledger = Ledger(((MINUTE - 1440, 60), (MINUTE - 1000, 40)))
    view = a_view(daily_limit=100, sent_last_24_hours=100)
    assert drained_at_ms(view, ledger, 50) == frees_at_ms(MINUTE - 1440) + 5000
    assert drained_at_ms(view, ledger, 80) == frees_at_ms(MINUTE - 1000) + 2000
    # 100 a day: what goes first leaves the 24 hours a day later
    assert drained_at_ms(view, ledger, 110) == frees_at_ms(MINUTE + 1) + 1000


def test_nothing_is_foretold_in_trouble_or_beyond_two_weeks():
    trouble = Trouble("Paused", "", NOW, NOW, is_account=True)
    assert drained_at_ms(a_view(trouble=trouble), Ledger(), 1) is None
    assert drained_at_ms(a_view(daily_limit=10, sent_last_24_hours=0), Ledger(), 10_000) is None
    assert drained_at_ms(a_view(daily_limit=100, sent_last_24_hours=500), Ledger(), 1) is None


@given(
    st.lists(
        st.tuples(st.integers(MINUTE - DAY_MINUTES, MINUTE), st.integers(1, 50)), max_size=20, unique_by=lambda x: x[0]
    ),
    st.integers(1, 500),
    st.integers(1, 200),
)
def test_more_recipients_are_never_gone_sooner(rows, limit, recipients):
    ledger = Ledger(tuple(sorted(rows)))
    view = a_view(daily_limit=float(limit), sent_last_24_hours=float(sum(n for _, n in rows)))
    less, more = drained_at_ms(view, ledger, recipients), drained_at_ms(view, ledger, recipients + 50)
    assert more is None or (less is not None and NOW <= less <= more)
