"""Texts that have to be read because nobody could guess them."""

from __future__ import annotations

import random
import re

import pytest

from vist2_memory.training.unfamiliar import (
    KINDS,
    garble,
    listing,
    number,
    pseudo_word,
    scramble,
    unfamiliar,
)

PROSE = "The Captain had never seen so many ships in the harbour, and he said so to Martha.\n" * 4


def test_the_same_random_state_makes_the_same_text() -> None:
    texts = {unfamiliar(random.Random(seed), PROSE, "ßø") for seed in (1, 1, 2)}
    assert len(texts) == 2


@pytest.mark.parametrize("make", KINDS)
def test_every_kind_is_about_as_long_as_the_passage_it_stands_for(make: object) -> None:
    for seed in range(20):
        text = make(random.Random(seed), PROSE, "ßø")  # type: ignore[operator]
        assert 0.6 * len(PROSE) < len(text) < 2.5 * len(PROSE)


def test_garbled_prose_keeps_its_signs_and_loses_words() -> None:
    text = garble(random.Random(3), PROSE)
    assert text.count("\n") == PROSE.count("\n")
    assert len(set(re.findall(r"\w+", text)) - set(re.findall(r"\w+", PROSE))) > 5


def test_a_replaced_word_keeps_its_capital() -> None:
    for seed in range(30):
        words = garble(random.Random(seed), "Captain " * 20).split()
        assert not [word for word in words if len(word) > 2 and word.isalpha() and word.islower()]


def test_pseudo_words_are_many_and_numbers_have_digits() -> None:
    rng = random.Random(0)
    assert len({pseudo_word(rng) for _ in range(500)}) > 400
    assert all(any(sign.isdigit() for sign in number(rng)) for _ in range(500))


def test_listings_have_brackets_numbers_and_indents() -> None:
    text = listing(random.Random(0), 3000)
    assert re.search(r"[(\[{]", text)
    assert re.search(r"\d", text)
    assert re.search(r"\n {2,}\S", text)


def test_rare_characters_come_up() -> None:
    assert "ø" in scramble(random.Random(0), 2000, "ø")
