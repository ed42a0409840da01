"""Which chunks enter the context when the budget is short."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vist2_memory.errors import ContextOverflowError, InvalidInputError
from vist2_memory.selection import (
    Candidate,
    Policy,
    by_score,
    choose,
    find_policy,
    mixed,
    newest_that_fit,
    recent,
    relevant,
    share,
)
from vist2_memory.store.base import Scope
from vist2_memory.text.chunking import chunk_id
from vist2_memory.types import Chunk

COSTS = st.lists(st.integers(1, 30), max_size=30)
BUDGET = st.integers(0, 200)
SESSION, BOOKS = Scope("n", "session", "s"), Scope("n", "collection", "b")
WORDS = ["miso", "cat", "lisbon", "the", "nine", "bees"]


def candidate(
    text: str, cost: int = 1, source: Scope = SESSION, start: int = 0, pinned: bool = False
) -> Candidate:
    document = "d" if source is BOOKS else ""
    return Candidate(Chunk(chunk_id(text), text, 1, start), cost, source, document, pinned)


def flow(*texts: str, source: Scope = SESSION) -> list[Candidate]:
    """Chunks that follow each other."""
    starts = [sum(map(len, texts[:place])) for place in range(len(texts))]
    return [candidate(t, source=source, start=s) for t, s in zip(texts, starts, strict=True)]


ONE = st.builds(
    candidate,
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
    st.integers(1, 9),
    st.just(SESSION),
    pinned=st.sampled_from([False, False, False, True]),
)
CANDIDATES = st.tuples(
    st.lists(ONE.map(lambda one: candidate(one.chunk.text, one.cost, BOOKS)), max_size=8),
    st.lists(ONE, max_size=12),
).map(lambda parts: [*parts[0], *parts[1]])
QUESTION = st.lists(st.sampled_from([*WORDS, "where", "?"]), max_size=4).map(" ".join)
POLICY = st.sampled_from(
    [recent, relevant, mixed, partial(mixed, newest=0.2), by_score(lambda c: c.cost % 3)]
)


@given(CANDIDATES, st.integers(0, 90), QUESTION, POLICY)
@example(flow("a", "b"), 0, "a", relevant)
def test_a_choice_keeps_pins_the_budget_and_the_order_and_is_the_same_each_time(
    candidates: list[Candidate], budget: int, question: str, policy: Policy
) -> None:
    pinned = [place for place, one in enumerate(candidates) if one.pinned]
    if sum(c.cost for c in candidates) > budget < sum(candidates[p].cost for p in pinned):
        with pytest.raises(ContextOverflowError, match="pin less"):
            choose(candidates, budget, question, policy)
        return
    selection = choose(candidates, budget, question, policy)
    assert sum(candidates[place].cost for place in selection.kept) <= budget
    assert sorted([*selection.kept, *selection.left_out]) == list(range(len(candidates)))
    assert list(selection.kept) == sorted(selection.kept)
    assert list(selection.left_out) == sorted(selection.left_out)
    assert set(pinned) <= set(selection.kept)
    assert selection == choose(candidates, budget, question, policy)


@given(CANDIDATES, st.integers(0, 90), QUESTION)
def test_what_is_left_out_would_not_have_had_room(
    candidates: list[Candidate], budget: int, question: str
) -> None:
    free = [one for one in candidates if not one.pinned]
    for policy in (relevant, mixed):
        selection = choose(free, budget, question, policy)
        left = budget - sum(free[place].cost for place in selection.kept)
        said = [p for p in selection.left_out if free[p].source is SESSION]
        documents = [p for p in selection.left_out if free[p].source is BOOKS]
        newest = [group[-1] for group in (said, documents) if group]
        assert not newest or sum(free[place].cost for place in newest) > left


def test_recent_without_documents_is_the_newest_run() -> None:
    assert recent(flow("a", "b", "c", "d"), 2) == [2, 3]


def test_relevant_keeps_what_the_question_speaks_of_and_what_stands_beside_it() -> None:
    talk = flow("My cat is called ", "Miso. ", *(f"Day {n}. " for n in range(20)))
    assert choose(talk, 2, "What is my cat called?", relevant).kept == (0, 1)
    kept = choose(talk, 4, "What is my cat called?", relevant).kept
    assert kept == (0, 1, 20, 21), "what is left of the budget is for the newest"


def test_words_that_tell_nothing_do_not_make_a_chunk_relevant() -> None:
    talk = flow("What is my way? ", "The ferry. ", "It rains. ", "It is dry. ")
    kept = choose(talk, 1, "What is my ferry?", relevant).kept
    assert kept == (1,)
    assert choose(talk, 1, "What is my?", relevant).kept == (0,), "there is nothing else to go by"


def test_a_word_that_is_cut_in_two_is_found_in_both_chunks() -> None:
    talk = flow("We leave for Lis", "bon in March. ", "Bees. ", "Rain. ", "Wind. ")
    assert choose(talk, 2, "Lisbon?", relevant).kept == (0, 1)


def test_text_without_spaces_is_compared_letter_by_letter() -> None:
    talk = flow("猫が好き。", "雨が降る。", "本を読む。")
    assert choose(talk, 1, "雨?", relevant).kept == (1,)


def test_mixed_gives_its_share_to_the_newest() -> None:
    talk = flow("The cat is Miso. ", *(f"Day {n}. " for n in range(9)))
    assert choose(talk, 4, "cat", mixed).kept == (0, 1, 8, 9)
    assert choose(talk, 4, "cat", partial(mixed, newest=1)).kept == (6, 7, 8, 9)
    with pytest.raises(InvalidInputError, match="0 to 1"):
        mixed(talk, 4, "cat", newest=2)


def test_without_a_question_or_a_word_in_common_the_newest_are_kept() -> None:
    talk = flow("The cat is Miso. ", *(f"Day {n}. " for n in range(9)))
    for question in ("", "  ", "?!", "Zanzibar"):
        assert choose(talk, 3, question, relevant).kept == (7, 8, 9)


def test_texts_without_any_word_are_no_obstacle() -> None:
    assert choose(flow("--- ", "... ", "!!! "), 1, "cat", relevant).kept == (2,)


def test_no_policy_is_asked_while_all_fits() -> None:
    def never(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
        raise AssertionError("asked")

    assert choose(flow("a", "b"), 2, "", never).kept == (0, 1)
    assert choose([], 0, "", never).kept == ()


def test_a_policy_of_the_users_own_is_told_what_is_free_and_followed() -> None:
    asked: list[tuple[list[str], int, str]] = []

    def oldest(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
        asked.append(([one.chunk.text for one in candidates], budget, question))
        return [1, 0]

    talk = [*flow("a", "b", "c"), candidate("pinned", 2, pinned=True)]
    assert choose(talk, 4, "why?", oldest).kept == (0, 1, 3)
    assert asked == [(["a", "b", "c"], 2, "why?")]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "no list of places"),
        ([0, 9], "returned 9: places of its candidates are 0 to 3"),
        ([-1], "returned -1"),
        (["0"], "returned '0'"),
        ([1.0], r"returned 1\.0"),
        ([True, False, False, True], "returned True"),
        ([2, 2], "the place 2 twice"),
        ([0, 1, 2], "cost 3, its budget was 2"),
    ],
)
def test_nonsense_of_a_policy_is_refused(answer: object, complaint: str) -> None:
    def nonsense(candidates: Sequence[Candidate], budget: int, question: str) -> list[int]:
        return answer  # type: ignore[return-value]

    with pytest.raises(InvalidInputError, match=f"policy .*nonsense .*{complaint}"):
        choose(flow("a", "b", "c", "d"), 2, "", nonsense)


def test_policies_have_names_and_what_is_missing_is_told_when_one_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_policy("mixed") is mixed
    own = by_score(lambda one: 1.0)
    assert find_policy(own) is own
    with pytest.raises(InvalidInputError, match="one of recent, relevant, mixed"):
        find_policy("newest")
    monkeypatch.delitem(sys.modules, "vist2_memory.selection.bm25", raising=False)
    monkeypatch.setitem(sys.modules, "bm25s", None)
    assert find_policy("recent") is recent
    for policy in ("relevant", partial(mixed, newest=0.1)):
        with pytest.raises(InvalidInputError, match=r"vist2-memory\[rag\]"):
            find_policy(policy)


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
