"""The table of what SES tells of a recipient: total, and the order of events does not matter."""

from hypothesis import given
from hypothesis import strategies as st

from spool.feedback_states import FEEDBACK_TABLE, FeedbackHappening, FeedbackState, after, moves_of, states_of

_S, _H = FeedbackState, FeedbackHappening


def test_every_state_has_an_answer_to_every_happening():
    assert FEEDBACK_TABLE.keys() == {(state, happening) for state in _S for happening in _H}


@given(st.permutations(list(_H)).flatmap(lambda order: st.tuples(st.just(order), st.integers(1, len(order)))))
def test_the_same_happenings_lead_to_the_same_state_in_any_order(chosen):
    order, count = chosen
    ends = set()
    for happenings in (order[:count], order[:count][::-1], order[:count] * 2):
        state = _S.NONE
        for happening in happenings:
            state = after(state, happening)
        ends.add(state)
    assert len(ends) == 1


def test_no_happening_leads_back():
    rank = list(_S)
    assert all(rank.index(after(state, happening)) >= rank.index(state) for state in _S for happening in _H)


def test_the_cases_that_ses_describes():
    assert after(_S.DELIVERED, _H.BOUNCE) is _S.BOUNCED
    assert after(_S.BOUNCED, _H.DELIVERY) is _S.BOUNCED
    assert after(_S.DELIVERED, _H.COMPLAINT) is _S.COMPLAINED
    assert after(_S.DELIVERED, _H.ANSWER) is _S.DELIVERED
    assert after(_S.ANSWERED, _H.DELIVERY) is _S.DELIVERED
    assert after(_S.DELAYED, _H.DELIVERY) is _S.DELIVERED
    assert after(_S.DELIVERED, _H.DELAY) is _S.DELIVERED


def test_a_column_is_pairs_for_the_script():
    moves = moves_of(_H.BOUNCE)
    assert dict(zip(moves[::2], moves[1::2], strict=True)) == {s.value: after(s, _H.BOUNCE).value for s in _S}
    assert len({state.value for state in _S}) == len(_S)


def test_letters_of_another_version_and_missing_ones_count_as_none():
    assert states_of("d?", 3) == (_S.DELIVERED, _S.NONE, _S.NONE)
    assert states_of("dddd", 2) == (_S.DELIVERED, _S.DELIVERED)
    assert states_of("", 0) == ()
