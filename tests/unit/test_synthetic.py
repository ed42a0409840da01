"""The generator of synthetic conversations: deterministic, cleanly split, strictly scored."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from vist2_memory.training.synthetic import (
    Conversation,
    Question,
    Split,
    frames,
    generate,
    is_right,
)
from vist2_memory.training.synthetic.cast import Cast
from vist2_memory.training.synthetic.facts import ATTRIBUTES
from vist2_memory.training.synthetic.makers import MAKERS
from vist2_memory.training.synthetic.scoring import occurs
from vist2_memory.training.synthetic.values import Draw, fits, is_heldout, units

SPLITS: tuple[Split, Split] = ("train", "heldout")


def _sample(split: Split, count: int, characters: int = 3000) -> list[Conversation]:
    return [
        generate(random.Random(seed), characters=characters, split=split) for seed in range(count)
    ]


@pytest.fixture(scope="module")
def samples() -> dict[Split, list[Conversation]]:
    return {split: _sample(split, 120) for split in SPLITS}


def test_the_same_seed_gives_the_same_conversation() -> None:
    for split in SPLITS:
        assert _sample(split, 4) == _sample(split, 4)
    assert len(set(_sample("train", 20))) == 20


def test_values_and_names_are_split_by_checksum(samples: dict[Split, list[Conversation]]) -> None:
    for split, conversations in samples.items():
        for conversation in conversations:
            for question in conversation.questions:
                for value in (question.value, *question.stale):
                    assert fits(value, split), value
    for split in SPLITS:
        draw = Draw(random.Random(1), split)
        cast = Cast(draw)
        names = [cast.new("person") for _ in range(100)]
        assert all(fits(person.name, split) for person in names if person is not None)


def test_no_value_word_is_in_both_splits(samples: dict[Split, list[Conversation]]) -> None:
    words = {
        split: {unit for c in conversations for q in c.questions for unit in units(q.value)}
        for split, conversations in samples.items()
    }
    assert len(words["train"]) > 800
    assert len(words["heldout"]) > 500
    assert not words["train"] & words["heldout"]
    assert all(is_heldout(word) for word in words["heldout"])


@pytest.mark.parametrize("maker", sorted(MAKERS))
@pytest.mark.parametrize("split", SPLITS)
def test_every_maker_has_values_in_both_splits(maker: str, split: Split) -> None:
    draw = Draw(random.Random(7), split)
    values = {MAKERS[maker](draw) for _ in range(60)}
    assert len(values) > 1
    assert all(fits(value, split) for value in values)


def test_wordings_are_split_and_plenty() -> None:
    assert len(ATTRIBUTES) >= 45
    assert len({attribute.key for attribute in ATTRIBUTES}) == len(ATTRIBUTES)
    for attribute in ATTRIBUTES:
        assert len(attribute.say) >= 5, attribute.key
        assert len(attribute.say_held) >= 2, attribute.key
        assert not set(attribute.say + attribute.change) & set(attribute.say_held), attribute.key
        ask, held = set(attribute.ask), set(attribute.ask_held)
        about, about_held = set(attribute.about), set(attribute.about_held)
        assert len(ask) + len(about) >= 4, attribute.key
        assert len(held) + len(about_held) >= 2, attribute.key
        assert not ask & held, (attribute.key, ask & held)
        assert not about & about_held, (attribute.key, about & about_held)
        assert attribute.answer, attribute.key
        assert attribute.request or not attribute.by_assistant, attribute.key
        for template in attribute.say + attribute.say_held + attribute.answer + attribute.change:
            assert "{v}" in template or "{av}" in template, template
    assert not set(frames.ASK_ABOUT["train"]) & set(frames.ASK_ABOUT["heldout"])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("characters", [800, 2000, 8000])
def test_length_is_within_a_tenth(split: Split, characters: int) -> None:
    for seed in range(25):
        conversation = generate(random.Random(seed), characters=characters, split=split)
        length = sum(len(content) for _, content in conversation.messages)
        assert abs(length - characters) <= characters / 10, (seed, length)


def test_roles_alternate(samples: dict[Split, list[Conversation]]) -> None:
    for conversation in samples["train"]:
        roles = [role for role, _ in conversation.messages]
        assert roles[0] == "user"
        assert all(first != second for first, second in pairwise(roles))


def test_each_value_stands_in_its_message(samples: dict[Split, list[Conversation]]) -> None:
    for conversations in samples.values():
        for conversation in conversations:
            for question in conversation.questions:
                if question.answerable:
                    assert occurs(question.value, conversation.messages[question.turn][1])
                    assert is_right(question, question.answer), question
                    older = " ".join(text for _, text in conversation.messages[: question.turn + 1])
                    assert all(occurs(stale, older) for stale in question.stale)


def test_changes_have_stale_values(samples: dict[Split, list[Conversation]]) -> None:
    questions = [q for c in samples["train"] for q in c.questions if q.answerable]
    changed = [q for q in questions if q.kind == "changed"]
    assert 0.08 < len(changed) / len(questions) < 0.22
    for question in changed:
        assert question.stale
        wrong = question.answer.replace(question.value, question.stale[-1])
        assert not is_right(question, wrong)
    assert all(not q.stale for q in questions if q.kind != "changed")


def test_an_answer_quotes_the_message_that_told_it(
    samples: dict[Split, list[Conversation]],
) -> None:
    for conversation in samples["train"] + samples["heldout"]:
        for question in conversation.questions:
            if question.answerable:
                role, text = conversation.messages[question.turn]
                who, _, quoted = question.answer.partition(' said: "')
                assert who == ("You" if role == "user" else "I")
                assert quoted[1:].removesuffix('."') in text
                assert quoted[0] in text or quoted[0].upper() in text


def test_unanswerable_ones_were_never_told(samples: dict[Split, list[Conversation]]) -> None:
    asked = unknown = 0
    for conversation in samples["train"] + samples["heldout"]:
        told = {q.text for q in conversation.questions if q.answerable}
        for question in conversation.questions:
            asked += 1
            if not question.answerable:
                unknown += 1
                assert "don't know" in question.answer
                assert question.turn == -1
                assert not question.value
                assert is_right(question, question.answer)
                assert question.text not in told
    assert 0.08 < unknown / asked < 0.2


def test_no_slot_is_left_open(samples: dict[Split, list[Conversation]]) -> None:
    for conversations in samples.values():
        for conversation in conversations:
            texts = [text for _, text in conversation.messages]
            texts += [part for q in conversation.questions for part in (q.text, q.answer)]
            for text in texts:
                assert not set(text) & set("{}[]<>|"), text


def test_number_of_facts_and_filler() -> None:
    conversation = generate(
        random.Random(3), characters=4000, split="train", facts=7, filler=lambda rng: "Prose. " * 30
    )
    assert sum(q.answerable for q in conversation.questions) == 7
    assert any("Prose." in text for _, text in conversation.messages)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"characters": 10, "split": "train"}, "characters is 10"),
        ({"characters": 500, "split": "test"}, "split is 'test'"),
        ({"characters": 500, "split": "train", "facts": -1}, "facts is -1"),
    ],
)
def test_bad_arguments(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(random.Random(0), **keywords)  # type: ignore[arg-type]


def _question(value: str, *stale: str) -> Question:
    return Question("?", "", value, "name", bool(value), 0 if value else -1, stale)


@pytest.mark.parametrize(
    ("question", "reply", "right"),
    [
        (_question("Miso"), "Your cat is called Miso.", True),
        (_question("Miso"), "  your CAT is\ncalled miso!", True),
        (_question("Miso"), "It is “Miso”.", True),
        (_question("Miso"), "Your cat is called Misota.", False),
        (_question("Miso"), "Your cat is called Mis.", False),
        (_question("Miso"), "I don't know, perhaps Miso.", False),
        (_question("Miso"), "Miso " * 31, False),
        (_question("14"), "It is table 14.", True),
        (_question("14"), "It is table 142.", False),
        (_question("14"), "It leaves at 14:30.", False),
        (_question("14"), "It costs 14.50 euros.", False),
        (_question("4471"), "The code is KX-4471.", False),
        (_question("KX-4471"), "The code is kx-4471.", True),
        (_question("the Red Lion"), "You meet at the red  lion.", True),
        (_question("the Red Lion"), "You meet at the Lion.", False),
        (_question("Brenwick", "Oslo"), "You live in Brenwick.", True),
        (_question("Brenwick", "Oslo"), "You live in Oslo.", False),
        (_question("Brenwick", "Oslo"), "You lived in Oslo, now in Brenwick.", False),
        (_question("$9.50"), "It cost $9.50.", True),
        (_question(""), "I don't know where Runa lives.", True),
        (_question(""), "I don\u2019t know.", True),
        (_question(""), "You never told me that.", True),
        (_question(""), "That was not mentioned.", True),
        (_question(""), "Runa lives in Oslo.", False),
    ],
)
def test_scorer(question: Question, reply: str, right: bool) -> None:
    assert is_right(question, reply) is right
