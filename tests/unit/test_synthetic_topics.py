"""Conversations that go from topic to topic, and what is asked of their order."""

from __future__ import annotations

import random

import pytest

from tests.support.trainers import small_materials
from vist2_memory.training.questions import quoted_at
from vist2_memory.training.synthetic.dialogue import Conversation, Split
from vist2_memory.training.synthetic.scoring import is_right
from vist2_memory.training.synthetic.topics import discuss
from vist2_memory.training.synthetic.values import is_heldout
from vist2_memory.training.tasks import TASKS


def conversation(seed: int, split: Split = "train", characters: int = 6000) -> Conversation:
    return discuss(random.Random(seed), characters=characters, split=split)


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("seed", range(10))
def test_every_question_has_one_answer_that_was_said(seed: int, split: Split) -> None:
    talk = conversation(seed, split)
    assert talk.questions
    for question in talk.questions:
        assert is_right(question, question.answer)
        assert question.value in talk.messages[question.turn][1]
        assert quoted_at(talk, question) is not None
        for other in question.stale:
            assert not is_right(question, f'You said: "{other}."')


@pytest.mark.parametrize("seed", range(10))
def test_the_order_is_that_of_the_messages(seed: int) -> None:
    talk = conversation(seed)
    turns = {question.value: question.turn for question in talk.questions}
    first = [q for q in talk.questions if "first" in q.text or "begin" in q.text]
    for question in first:
        assert question.turn == min(turns.values()) == 0
    for question in talk.questions:
        for between, way in (("after ", 1), ("before ", -1)):
            named = question.text.partition(between)[2].rstrip("?")
            if named in turns:
                assert (question.turn - turns[named]) * way > 0


def test_user_and_assistant_take_turns() -> None:
    roles = [role for role, _ in conversation(3).messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_the_same_state_gives_the_same_conversation() -> None:
    assert conversation(5) == conversation(5) != conversation(6)


def test_words_are_split_between_training_and_evaluation() -> None:
    """The thing that each topic is about is of its own split."""
    things = {
        split: {q.value for seed in range(30) for q in conversation(seed, split).questions}
        for split in ("train", "heldout")
    }
    assert all(any(is_heldout(word) for word in value.split()) for value in things["heldout"])
    assert not things["train"] & things["heldout"]


@pytest.mark.parametrize("characters", [200, 1500, 12_000])
def test_it_is_as_long_as_asked_for(characters: int) -> None:
    lengths = [
        sum(len(said) for _, said in conversation(seed, "train", characters).messages)
        for seed in range(20)
    ]
    assert min(lengths) >= characters or characters < 400
    assert sum(lengths) / 20 < characters + 2500


def test_it_is_a_task_of_training() -> None:
    given = small_materials()
    sample = TASKS["topics"](given, random.Random(1), 6)
    assert any(block.sought for block in sample.blocks)
