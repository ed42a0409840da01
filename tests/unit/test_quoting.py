"""Answers that quote: which of the words that were said are given back."""

from __future__ import annotations

import pytest

from vist2_memory.training.synthetic.quoting import WORDS_BEFORE, answer, quote


@pytest.mark.parametrize(
    ("said", "value", "question", "expected"),
    [
        ("My cat is called Miso", "Miso", "What is my cat called?", "my cat is called Miso"),
        ("I sleep in room 7", "7", "In which room do I sleep?", "I sleep in room 7"),
        ("The Lamp is on", "The Lamp", "Which film is on?", "The Lamp is on"),
        ("the label on the silver helmet says 4045", "4045", "What is on the silver helmet?",
         "the silver helmet says 4045"),
        ("Anna's flat is in Elm Road", "Elm Road", "Where does Anna live?",
         "Anna's flat is in Elm Road"),
        ("Elm Road is where Anna lives", "Elm Road", "Where does Anna live?",
         "Elm Road is where Anna lives"),
        ("It's 9:40, by the way", "9:40", "When is the dentist?", "It's 9:40, by the way"),
    ],
)  # fmt: skip
def test_a_quote_begins_at_a_word_of_the_question(
    said: str, value: str, question: str, expected: str
) -> None:
    assert quote(said, value, question) == expected


def test_a_long_sentence_is_cut_on_both_sides_of_the_value() -> None:
    said = f"{'well and ' * 20}the code is X-490 {'which is good ' * 10}"
    words = quote(said, "X-490", "Which number?").split()
    assert words[-1] == "X-490"
    assert len(words) == WORDS_BEFORE + 1


def test_the_whole_value_is_meant_and_not_a_part_of_another_word() -> None:
    said = "The ride takes 8 minutes and costs $24.83"
    assert quote(said, "8", "How long is the ride?").startswith("the ride takes 8 minutes")


def test_an_answer_says_who_said_it() -> None:
    asked = "What is my cat called?"
    assert answer("user", "My cat is Miso.", "Miso", asked) == 'You said: "my cat is Miso."'
    assert answer("assistant", "It's Miso!", "Miso", asked).startswith('I said: "')
