import random

import pytest

from bench.chaos_books import balance
from bench.chaos_clients import RECIPIENTS, Sending, drawn, learn, new_sending, number_of
from bench.smtp_client import Reply
from spool.records import Attempt, Message
from spool.states import Place, RecipientState

FIRST, SECOND, THIRD = (f"0000019a00000000-00000000-0000-0000-0000-00000000000{n}-000000" for n in range(3))


def a_sending(number=0, *, message_id=FIRST, tries=1, doubtful=0):
    return Sending(number, (f"c{number}.r0@example.net",), b"", message_id, tries, doubtful)


def a_message(number=0, *, message_id=FIRST, state=RecipientState.SENT, outcomes=("accepted",)):
    attempts = tuple(Attempt(n, (0,), 1, "w", outcome, 2) for n, outcome in enumerate(outcomes, 1))
    return Message(
        message_id=message_id,
        sender="app@example.com",
        recipients=(f"c{number}.r0@example.net",),
        states=(state,),
        place=Place.DONE if state.is_final else Place.PARKED,
        accepted_at_ms=1,
        size_bytes=1,
        door="smtp",
        header_message_id="",
        user="",
        client_address="",
        helo="",
        is_auto_submitted=False,
        content_ref="",
        rounds=0,
        failures=0,
        crashes=0,
        reason="",
        until_ms=0,
        attempts=attempts,
    )


def a_call(number=0, *, message_id=FIRST):
    return {"tags": {"sluice-batch": f"{message_id}.1"}, "destinations": [f"c{number}.r0@example.net"]}


def test_one_message_sent_once_is_clean():
    books = balance([a_sending()], [a_message()], [a_call()], [])
    assert (books.lost, books.duplicates, books.unexplained, books.problems) == (0, 0, 0, [])
    assert (books.answered_messages, books.by_state) == (1, {"sent": 1})


def test_an_answered_message_that_nobody_knows_is_lost():
    books = balance([a_sending()], [], [], [])
    assert books.lost == 1
    assert FIRST in books.problems[0]


def test_an_answered_message_that_waits_is_not_lost():
    books = balance([a_sending()], [a_message(state=RecipientState.WAITING, outcomes=())], [], [])
    assert books.lost == 0


def test_a_message_called_sent_that_ses_never_saw_is_lost():
    assert balance([a_sending()], [a_message()], [], []).lost == 1


def test_a_second_copy_without_a_reason_is_unexplained():
    books = balance([a_sending()], [a_message()], [a_call(), a_call()], [])
    assert (books.duplicates, books.unexplained) == (1, 1)
    assert books.problems


def test_a_second_copy_after_a_call_without_an_answer_is_explained():
    books = balance([a_sending()], [a_message(outcomes=("unknown", "accepted"))], [a_call(), a_call()], [])
    assert (books.duplicates, books.unexplained, books.problems) == (1, 0, [])


def test_a_second_copy_after_a_call_without_an_answer_is_unexplained_where_it_had_to_be_confirmed():
    ledger = [a_call(), a_call()]
    books = balance([a_sending()], [a_message(outcomes=("unknown", "accepted"))], ledger, [], may_resend=False)
    assert (books.duplicates, books.unexplained) == (1, 1)


def test_a_second_copy_after_a_try_without_an_answer_is_explained():
    messages = [a_message(), a_message(message_id=SECOND)]
    books = balance([a_sending(tries=2, doubtful=1)], messages, [a_call(), a_call(message_id=SECOND)], [])
    assert (books.duplicates, books.unexplained, books.problems) == (1, 0, [])


def test_two_spool_messages_for_one_certain_try_are_a_broken_promise():
    messages = [a_message(), a_message(message_id=SECOND)]
    books = balance([a_sending()], messages, [a_call(), a_call(message_id=SECOND)], [])
    assert books.unexplained == 1
    assert any("2 times in the spool" in problem for problem in books.problems)


def test_a_permanent_refusal_is_a_broken_promise():
    sending = a_sending(message_id="", doubtful=1)
    learn(sending, Reply(554, "5.0.0 no"))
    assert any("refused for good" in problem for problem in balance([sending], [], [], []).problems)


def test_an_ok_ends_the_doubt_about_its_try_and_a_4xx_does_not():
    sending = a_sending(message_id="", doubtful=1)
    learn(sending, Reply(451, "4.3.0 later"))
    assert (sending.message_id, sending.doubtful_tries) == ("", 1)
    sending.doubtful_tries += 1
    learn(sending, Reply(250, f"2.0.0 Ok {THIRD}"))
    assert (sending.message_id, sending.doubtful_tries) == (THIRD, 1)


def test_every_address_of_a_message_tells_its_number():
    sending = new_sending(42, random.Random(1))
    assert {number_of(address) for address in sending.recipients} == {42}
    assert number_of("app@example.com") is None


@pytest.mark.parametrize(("chance", "value"), [(0.0, 1), (0.87, 1), (0.9, 3), (0.985, 120), (0.9999999, 120)])
def test_shares_are_drawn_in_their_order(chance, value):
    assert drawn(RECIPIENTS, chance) == value
