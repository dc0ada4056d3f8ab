import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.relay.batches import MAX_RECIPIENTS_PER_CALL, split


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=400), st.integers(1, 60))
def test_batches_hold_every_recipient_once_and_in_order(indexes, at_most):
    batches = split(indexes, at_most)
    assert [index for batch in batches for index in batch] == indexes
    assert all(1 <= len(batch) <= at_most for batch in batches)
    assert all(len(batch) == at_most for batch in batches[:-1])


@pytest.mark.parametrize(
    ("recipients", "sizes"), [(0, []), (1, [1]), (50, [50]), (51, [50, 1]), (100, [50, 50]), (101, [50, 50, 1])]
)
def test_a_batch_is_as_large_as_ses_allows_and_no_larger(recipients, sizes):
    assert [len(batch) for batch in split(range(recipients))] == sizes
    assert MAX_RECIPIENTS_PER_CALL == 50
