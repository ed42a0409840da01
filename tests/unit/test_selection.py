"""Which chunks enter the context when the budget is short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vist2_memory.selection import newest_that_fit, share

COSTS = st.lists(st.integers(1, 30), max_size=30)
BUDGET = st.integers(0, 200)


@given(COSTS, BUDGET)
def test_the_newest_run_of_chunks_that_fits_is_kept_and_not_one_less(
    costs: list[int], budget: int
) -> None:
    left_out = newest_that_fit(costs, budget)
    assert sum(costs[left_out:]) <= budget
    assert left_out == 0 or sum(costs[left_out - 1 :]) > budget


@given(BUDGET, BUDGET, BUDGET)
def test_a_budget_is_shared_without_waste_and_nobody_gets_less_than_half_it_needs(
    session: int, documents: int, budget: int
) -> None:
    own, theirs = share(session, documents, budget)
    assert own >= 0
    assert theirs >= 0
    assert own + theirs == budget
    if session + documents <= budget:
        assert own >= session
        assert theirs >= documents
    assert own >= min(session, budget // 2)
    assert theirs >= min(documents, budget // 2)
    for got, wanted, other_got, other_wanted in (
        (own, session, theirs, documents),
        (theirs, documents, own, session),
    ):
        if got < wanted:  # then the other takes no more than it needs, or its half
            assert other_got <= max(other_wanted, (budget + 1) // 2)
