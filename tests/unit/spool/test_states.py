from hypothesis import given
from hypothesis import strategies as st

from spool.states import (
    AWAITS_FUNCTION,
    IN_LANE,
    MESSAGE_TABLE,
    RECIPIENT_TABLE,
    Happening,
    Move,
    Place,
    RecipientState,
    after,
    awaited_rule,
    awaits_function,
)

S, H = RecipientState, Happening
FINAL = {S.SENT, S.REJECTED, S.DROPPED, S.EXPIRED}


def test_the_recipient_table_has_a_row_for_every_pair_and_no_other():
    assert set(RECIPIENT_TABLE) == {(state, happening) for state in S for happening in H}


def test_the_message_table_has_a_row_for_every_pair_and_no_other():
    assert set(MESSAGE_TABLE) == {(place, move) for place in Place for move in Move}


def test_the_final_states_are_these():
    assert {state for state in S if state.is_final} == FINAL


@given(st.sampled_from(S), st.lists(st.sampled_from(H), max_size=30))
def test_a_final_state_is_never_left(state: RecipientState, happenings: list[Happening]):
    reached = [state]
    for happening in happenings:
        reached.append(after(reached[-1], happening))
    finals = [one for one in reached if one.is_final]
    assert len(set(finals)) <= 1
    assert reached[len(reached) - len(finals) :] == finals


@given(st.lists(st.sampled_from(H), max_size=30))
def test_every_happening_may_come_twice(happenings: list[Happening]):
    state = S.WAITING
    for happening in happenings:
        state = after(state, happening)
        if happening is not H.ATTEMPT_STARTED:
            assert after(state, happening) in {state, *FINAL}


def test_acceptance_is_never_forgotten():
    assert all(after(state, H.ACCEPTED) is S.SENT for state in S if not state.is_final)


def test_only_the_operator_an_answer_or_its_absence_leads_out_of_doubt():
    leads_out = {happening for happening in H if after(S.UNKNOWN, happening) is not S.UNKNOWN}
    assert leads_out == {H.ACCEPTED, H.DROPPED, H.RELEASED, H.NOT_CONFIRMED}


def test_a_recipient_whose_call_is_under_way_neither_expires_nor_is_dropped():
    assert after(S.SENDING, H.EXPIRED) is after(S.SENDING, H.DROPPED) is S.SENDING


def test_from_every_unfinished_state_there_is_a_way_to_an_end():
    reachable = set(FINAL)
    while True:
        more = {state for state in S for happening in H if after(state, happening) in reachable} | reachable
        if more == reachable:
            break
        reachable = more
    assert reachable == set(S)


def test_a_finished_message_stays_finished_and_every_other_place_can_be_left():
    for place in Place:
        leads_to = {MESSAGE_TABLE[place, move] for move in Move}
        assert (leads_to == {place}) == (place is Place.DONE)


def test_a_message_is_finished_by_its_holder_or_the_operator_alone():
    assert [pair for pair, to in MESSAGE_TABLE.items() if to is Place.DONE and pair[0] is not Place.DONE] == [
        (Place.LEASED, Move.FINISH),
        (Place.PARKED, Move.DROP),
        (Place.HELD, Move.DROP),
    ]


def test_a_state_is_one_letter_of_its_own():
    assert len({state.value for state in S}) == len(S)
    assert all(len(state.value) == 1 for state in S)


@given(st.text(min_size=1, max_size=64))
def test_the_rule_whose_function_is_awaited_is_read_from_the_reason(rule: str):
    assert awaits_function(rule).startswith(AWAITS_FUNCTION)
    assert awaited_rule(awaits_function(rule)) == rule


def test_other_reasons_name_no_rule():
    assert [awaited_rule(one) for one in ("", IN_LANE, AWAITS_FUNCTION, "step judge failed: KeyError")] == [""] * 4
