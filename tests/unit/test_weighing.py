"""Several places weighed before one is quoted: the search, the tree that it reads, the engine."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.checkpoints import save_small, small_config
from tests.support.weighing import (
    CLOSES,
    OPENS,
    TOKENIZER,
    VOCABULARY,
    Liking,
    decided,
    open_at_once,
)
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.quotes import Quotable, Quoting
from vist2_memory.engine.torch import TorchDecoder, TorchEngine
from vist2_memory.engine.tree import Tree
from vist2_memory.engine.weighing import ROOT, weigh
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import write
from vist2_memory.training.synthetic.quoting import QUOTES
from vist2_memory.types import Context, Finished, GenerationParams

SIBLINGS = write([("user", "My sister sings. My brother has a home. My brother is in Oslo.")])
SAID = write([("user", "My niece Ulla pays 4045 euros. The train leaves at 9:40, Ulla said.")])


def opened(places: int, text: str = SAID) -> Quoting:
    """The course of an answer that has just opened a quote."""
    quotable = Quotable((), text)
    course = Quoting(VOCABULARY, [(OPENS, CLOSES)], quotable, ahead=True, places=places)
    for token in TOKENIZER.encode(OPENS):
        course.next(lambda _, token=token: token, 99)  # type: ignore[misc]
    return course


def test_the_likeliest_whole_quote_is_said_and_not_the_likeliest_word() -> None:
    """Of brother and sister the first is likelier, and nothing that is said of him."""
    likes = {f"my sister sings{CLOSES}": 12.0, "my brother": 13.0}
    branches = Liking(likes)
    weighed, greedy = opened(4, SIBLINGS), opened(1, SIBLINGS)
    weighed.weigh(branches.first, lambda: branches, 99)
    assert decided(weighed) == f"my sister sings{CLOSES}"
    greedy.weigh(branches.first, lambda: branches, 99)
    assert not greedy.decided


@pytest.mark.parametrize("seed", range(5))
def test_with_places_enough_the_best_of_all_quotes_is_found(seed: int) -> None:
    """Against every quote that there is, scored one by one."""
    text = write([("user", "Ulla sang. Bo ate.")])
    branches = Liking(seed=seed)
    course = opened(50, text)
    course.weigh(branches.first, lambda: branches, 99)
    likely = branches.first.log_softmax(-1)
    quotes = [
        " ".join(words[start:end]) + stop
        for stop in ("", ".")
        for words in (["Ulla", "sang"], ["ulla", "sang"], ["Bo", "ate"], ["bo", "ate"])
        for start, end in itertools.combinations(range(len(words) + 1), 2)
    ]
    best = max(_best_spelling(quote + CLOSES, likely) for quote in quotes)
    ids = []
    while course.decided:
        ids.append(course.next(lambda _: pytest.fail("it was decided"), 99))
    assert sum(likely[i].item() for i in ids) == pytest.approx(best, abs=1e-4)


def _best_spelling(text: str, likely: Tensor) -> float:
    """The best score of any tokens that spell ``text``: one quote is said in several ways."""
    data = text.encode()
    best = [0.0] + [-math.inf] * len(data)
    for end in range(1, len(data) + 1):
        for start in range(end):
            for token, said in enumerate(VOCABULARY.tokens):
                if said == data[start:end] and token not in VOCABULARY.special:
                    best[end] = max(best[end], best[start] + likely[token].item())
    return best[-1]


def test_no_more_ways_are_read_at_once_than_places_and_what_must_follow_is_read_along() -> None:
    branches = Liking(seed=3)
    course = opened(3)
    course.weigh(branches.first, lambda: branches, 99)
    assert decided(course).endswith(CLOSES)
    assert max(map(len, branches.reads)) == 3
    assert any(len(ids) > 1 for ways in branches.reads for ids in ways)


def test_a_text_is_followed_once_however_it_is_spelled() -> None:
    """The ways are of different words, not of the same ones cut into other tokens."""
    branches, course = Liking(seed=3), opened(4)
    course.weigh(branches.first, lambda: branches, 99)
    for ways in branches.read_after:
        assert len(set(ways)) == len(ways)


def test_a_quote_that_does_not_fit_is_not_decided() -> None:
    branches = Liking()
    course = opened(4)
    course.weigh(branches.first, lambda: branches, 1)
    assert not course.decided


def test_no_way_is_followed_that_cannot_be_the_best_any_more() -> None:
    text = write([("user", "word " * 2000 + "zebra")])
    branches, course = Liking(), opened(4, text)
    course.weigh(branches.first, lambda: branches, 999)
    assert decided(course).endswith(CLOSES)
    assert len(branches.reads) < 6


def test_only_where_a_quote_has_just_opened_is_anything_weighed() -> None:
    course = opened(4)
    course.next(lambda flags: int(flags.nonzero()[0][0]), 99)
    course.weigh(torch.zeros(0), lambda: pytest.fail("nothing is to be weighed"), 99)


@pytest.mark.parametrize("seed", range(4))
def test_each_way_of_a_tree_is_read_as_if_it_were_alone(small: TorchEngine, seed: int) -> None:
    rng = random.Random(seed)
    before = TOKENIZER.encode("Anna wrote to Ben")
    cache = small.prefill("", ())
    cache.append(small.encoder.embed(before))
    grown_behind = cache.fork()
    tree, ways = Tree(grown_behind, small.encoder.embed), {ROOT: list[int]()}
    for _ in range(4):
        grown = [(rng.choice(list(ways)), draw(rng)) for _ in range(rng.randint(1, 3))]
        for (node, ids), (end, logits) in zip(grown, tree.grow(grown), strict=True):
            ways[end] = ways[node] + ids
            alone = cache.fork()
            expected = alone.append(small.encoder.embed(ways[end]))
            torch.testing.assert_close(logits[-1], expected, rtol=1e-4, atol=1e-4)
    grown_behind.crop(len(before))
    after = small.encoder.embed(TOKENIZER.encode(" of it"))
    torch.testing.assert_close(
        grown_behind.append(after), cache.append(after), rtol=1e-4, atol=1e-4
    )


def draw(rng: random.Random) -> list[int]:
    return [rng.randrange(20, len(TOKENIZER)) for _ in range(rng.randint(1, 3))]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    folder = save_small(tmp_path_factory.mktemp("quoting"), config=small_config(quotes=QUOTES))
    return TorchEngine(folder, device="cpu")


def asking(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> tuple[Context, list[int]]:
    """A context whose answer opens a quote at once, and how many places each search had."""
    chunks = list(engine.chunker.cut(SAID * 3))
    tail = write([("user", "Who sings?"), ("assistant", "")]) + OPENS
    open_at_once(monkeypatch)
    searched: list[int] = []

    def noted(*given: Any) -> list[int]:
        searched.append(given[4])
        return weigh(*given)

    monkeypatch.setattr("vist2_memory.engine.quotes.weigh", noted)
    return Context("", tuple(engine.encode(chunks)), tail, tuple(chunks)), searched


def answer(engine: TorchEngine, context: Context, params: GenerationParams) -> str:
    *_, finished = engine.generate(context, params)
    assert isinstance(finished, Finished)
    return finished.text


def test_an_answer_is_the_same_alone_in_a_batch_and_with_its_probabilities(
    small: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, searched = asking(small, monkeypatch)
    params = GenerationParams(max_tokens=24)
    alone = answer(small, context, params)
    assert searched == [4]
    told = GenerationParams(max_tokens=24, logprobs=2)
    assert answer(small, context, told) == alone
    together = [
        event.text
        for _, event in small.generate_batch([context] * 3, [params] * 3)
        if isinstance(event, Finished)
    ]
    assert together == [alone] * 3
    assert searched == [4] * 5


@pytest.mark.parametrize("read", [0, 1, 3])
def test_what_was_read_ahead_is_still_there_when_a_quote_was_chosen(
    small: TorchEngine, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    """Something lies behind the room of the text, as before a fold."""
    context, searched = asking(small, monkeypatch)
    params = GenerationParams(max_tokens=24)
    decoder = small._begin(small._prompt(context, params))
    assert isinstance(decoder, TorchDecoder)
    cache, [visual, *_] = decoder._cache, context.visual
    cache.reserve(decoder._base + 3 * decoder._most)
    decoder._most = len(cache) - decoder._base + 2  # what is read ahead begins soon
    decoder.read_ahead(visual, ())
    assert decoder._ahead is not None
    beside = decoder._ahead.beside
    if read:
        cache.append_with(small.encoder.embed([20]), beside, read)
    held = [layer.buffers[0][:, :, beside.place : beside.place + read].clone()
            for layer in cache._layers]  # fmt: skip
    length = len(cache)
    for room in (24, 23):
        decoder._choose.next(decoder._logits, room)  # opens a quote
        decoder._weigh(room)
        if searched:
            break
    assert searched == [4]
    assert len(cache) == length
    for layer, before in zip(cache._layers, held, strict=True):
        assert torch.equal(layer.buffers[0][:, :, beside.place : beside.place + read], before)


def test_what_is_drawn_at_random_weighs_nothing(
    small: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, searched = asking(small, monkeypatch)
    answer(small, context, GenerationParams(max_tokens=24, temperature=0.7, seed=1))
    assert not searched


def test_places_are_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_small(tmp_path, config=small_config(quotes=QUOTES))
    for places, wanted in ((1, []), (2, [2])):
        engine = TorchEngine(folder, device="cpu", options=EngineOptions(places=places))
        with monkeypatch.context() as patched:
            context, searched = asking(engine, patched)
            answer(engine, context, GenerationParams(max_tokens=24))
        assert searched == wanted
    with pytest.raises(InvalidInputError, match="places=0 is not allowed"):
        EngineOptions(places=0)
