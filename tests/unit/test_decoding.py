"""Generated tokens to the text that a reader sees, and how tokens are picked."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vist2_memory.engine.decoding import AnswerText
from vist2_memory.engine.torch import Picker
from vist2_memory.types import GenerationParams


class Pieces:
    """A tokenizer whose tokens are any pieces of bytes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def bytes_of(self, token_id: int) -> bytes:
        return self.pieces[token_id]


def shown(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], AnswerText]:
    """What appears after each piece and at the end."""
    answer = AnswerText(Pieces(pieces), stop)
    deltas = []
    for number in range(len(pieces)):
        deltas.append(answer.push(number))
        if answer.stopped:
            break
    deltas.append(answer.flush())
    return deltas, answer


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


CUTS = st.lists(st.integers(0, 1000), max_size=12)


@given(st.text(max_size=30), CUTS)
def test_a_character_in_several_tokens_is_shown_once_it_is_whole(
    text: str, cuts: list[int]
) -> None:
    text = text.encode("utf-8", "replace").decode()
    deltas, answer = shown(pieces_of(text.encode(), cuts))
    assert "".join(deltas) == answer.text == text


@given(st.binary(max_size=30), CUTS)
def test_bytes_that_are_no_text_become_replacement_characters_however_they_are_cut(
    data: bytes, cuts: list[int]
) -> None:
    deltas, answer = shown(pieces_of(data, cuts))
    assert "".join(deltas) == answer.text == data.decode("utf-8", "replace")


STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple)


@given(st.text("abcd", max_size=25), CUTS, STOPS)
def test_the_text_ends_before_the_first_stop_string_wherever_tokens_end(
    text: str, cuts: list[int], stops: tuple[str, ...]
) -> None:
    deltas, answer = shown(pieces_of(text.encode(), cuts), stops)
    assert "".join(deltas) == answer.text
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert (answer.text, answer.stopped) == (text, False)
        return
    assert answer.stopped
    # A longer stop string may begin before a shorter one that was complete sooner.
    assert text.startswith(answer.text)
    assert any(text[len(answer.text) :].startswith(stop) for stop in stops)
    assert not any(stop in answer.text for stop in stops)


def test_a_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    deltas, answer = shown([b"say S", b"TO", b"NE"], ("STOP",))
    assert deltas == ["say ", "", "STONE", ""]
    assert not answer.stopped


def test_a_held_back_beginning_is_shown_when_the_answer_ends_there() -> None:
    deltas, _ = shown([b"say STO"], ("STOP",))
    assert deltas == ["say ", "STO"]


def test_nothing_after_a_stop_string_is_ever_shown() -> None:
    answer = AnswerText(Pieces([b"a STOP b", b"c"]), ("STOP",))
    assert [answer.push(0), answer.push(1), answer.flush()] == ["a ", "", ""]


NEVER = torch.tensor([2])


def pick_many(params: GenerationParams, logits: list[float], times: int = 200) -> list[int]:
    pick = Picker(params, NEVER)
    return [pick(torch.tensor(logits)) for _ in range(times)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_token_that_may_never_come_never_comes_even_as_the_likeliest(temperature: float) -> None:
    picked = pick_many(GenerationParams(temperature=temperature, seed=1), [0.0, 1.0, 50.0, 0.5])
    assert 2 not in picked
    assert (set(picked) == {1}) == (temperature == 0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-38, 1e-12])
def test_however_cold_it_is_the_likeliest_token_is_picked(temperature: float) -> None:
    picked = pick_many(GenerationParams(temperature=temperature, seed=1), [0.0, 1.0, 50.0, 0.5], 3)
    assert picked == [1, 1, 1]


def test_the_same_seed_picks_the_same_tokens_and_another_seed_others() -> None:
    logits = [0.1 * i for i in range(40)]
    first, again, other = (
        pick_many(GenerationParams(temperature=1.0, seed=seed), logits, 50) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_without_a_seed_two_generations_differ() -> None:
    params = GenerationParams(temperature=1.0)
    assert pick_many(params, [0.0] * 50, 50) != pick_many(params, [0.0] * 50, 50)


def test_top_k_and_top_p_leave_only_the_likeliest() -> None:
    logits = [3.0, 2.9, 0.0, -1.0, -2.0]
    assert set(pick_many(GenerationParams(temperature=1.0, top_k=2, seed=0), logits)) == {0, 1}
    assert set(pick_many(GenerationParams(temperature=1.0, top_p=0.3, seed=0), logits)) == {0}


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 0), ("temperature", -0.1), ("top_p", 0.0), ("top_p", 1.5), ("top_k", -1)],
)
def test_parameters_that_cannot_be_are_refused_by_name_and_value(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value} is not allowed"):
        GenerationParams(**{name: value})  # type: ignore[arg-type]


def test_a_bare_string_is_no_list_of_stop_strings() -> None:
    """It would stop at each of its letters."""
    with pytest.raises((TypeError, ValueError), match="stop"):
        GenerationParams(stop="END")  # type: ignore[arg-type]
