"""Where a trained layer looks when a quote opens, and what that says for a quote."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
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
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.looking import LEAST, WEIGHT, Seen
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.quotes import Quotable, Quoting
from vist2_memory.engine.torch import TorchDecoder, TorchEngine
from vist2_memory.engine.tree import Tree
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.finder import Finder
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.text.transcript import write
from vist2_memory.training.stages import RECIPES
from vist2_memory.types import Chunk, Context, Finished, GenerationParams

FINDER = {"layer": 1, "first": 2, "end": 4}
QUESTION = write([("user", "Where is Ben?"), ("assistant", "")])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    config = small_config(quotes=[[OPENS, CLOSES]], finder=FINDER)
    return TorchEngine(save_small(tmp_path_factory.mktemp("looking"), config), device="cpu")


# -- evidence --------------------------------------------------------------------------------------


def test_attention_on_a_quote_is_that_on_all_that_it_touches() -> None:
    seen = Seen("Ben is in Oslo.", [], [(0, 4), (4, 8), (8, 12), (12, 15)], [0.1, 0.2, 0.3, 0.25])
    assert seen.on("is in") == pytest.approx(0.5)
    assert seen.on("ben") == pytest.approx(0.1)
    assert seen.on("Oslo.") == pytest.approx(0.55)
    assert seen.on("Bergen") == seen.on("") == 0


def test_of_several_places_that_counts_which_is_looked_at_most() -> None:
    seen = Seen("a cat, a hat, a cat", [], [(0, 6), (6, 13), (13, 19)], [0.1, 0.2, 0.6])
    assert seen.on("a cat") == pytest.approx(0.6)


def test_what_stands_for_nothing_and_tokens_of_the_answer_count_for_nothing() -> None:
    seen = Seen("Ben sang", [], [(0, 0), (0, 4), (3, 3), (4, 8)], [0.4, 0.2, 0.1, 0.2, 0.1])
    assert seen.on("Ben sang") == pytest.approx(0.4)


def test_letters_that_grow_when_written_small_move_nothing() -> None:
    text = "İİ go to Oslo"
    assert Seen(text, [], [(0, 9), (9, 13)], [0.2, 0.7]).on("oslo") == pytest.approx(0.7)


def test_of_a_beginning_all_that_may_follow_in_its_sentence_counts() -> None:
    text = "Ben is in Oslo. Ben sings."
    seen = Seen(text, [15], [(0, 4), (4, 15), (15, 20), (20, 26)], [0.1, 0.2, 0.3, 0.25])
    assert seen.on("Ben is", whole=False) == pytest.approx(0.3)
    assert seen.on("ben", whole=False) == pytest.approx(0.55)
    assert seen.on("ben") == pytest.approx(0.3)
    assert seen.on("en is", whole=False) == 0, "a quote begins where a word does"
    assert seen.evidence("Ben is", whole=False) >= seen.evidence("Ben is in")


def test_evidence_is_none_where_all_look_and_bounded_where_none_do() -> None:
    seen = Seen("Ben sang", [], [(0, 8)], [1.0])
    assert seen.evidence("sang") == 0
    assert seen.evidence("Anna") == pytest.approx(WEIGHT * math.log(LEAST))


# -- what stands for which characters --------------------------------------------------------------


@pytest.mark.parametrize("text", ["Anna wrote to Ben.", "naïve 漢字 and \U0001f600 here", "x", ""])
@pytest.mark.parametrize("joined", [1, 2, 3])
def test_each_strip_shows_the_characters_that_it_says(text: str, joined: int) -> None:
    geometry = SketchGeometry(cells_per_patch=2, patches_per_strip=joined, columns=24, max_lines=9)
    renderer = SketchRenderer(geometry)
    spans, strip = renderer.spans(text), geometry.cells_per_strip
    assert len(spans) == renderer.visual_tokens(text)
    cell = 0
    for place, character in enumerate(text):
        cells = renderer.cells(character)
        shown = range(cell // strip, (cell + cells - 1) // strip + 1)
        assert [i for i, (first, end) in enumerate(spans) if first <= place < end] == list(shown)
        cell += cells


def test_all_that_is_read_is_known_by_its_characters(engine: TorchEngine) -> None:
    """Chunks that are drawn or written, one that is left out between them, and recent text."""
    chunks = list(engine.chunker.cut(write([("user", "Anna is in Rome. " * 3 + "x7")])))
    del chunks[1]
    tail = write([("assistant", "Ben is in Oslo.")]) + QUESTION + "You"
    context = Context("Be kind.", tuple(engine.encode(chunks)), tail, tuple(chunks))
    prompt = engine._prompt(context, GenerationParams())
    assert prompt.quotable is not None
    text, spans = prompt.quotable.text, engine._spans(prompt)
    assert len(spans) == len(prompt.pinned) + sum(map(len, prompt.visual)) + len(prompt.recent)
    said = [text[first:end] for first, end in spans]
    assert said[: len(prompt.pinned)] == [""] * len(prompt.pinned)
    whole = "".join(said)
    assert "Ben is in Oslo." in whole
    assert "Where is" not in whole
    for chunk, visual in zip(chunks, prompt.visual, strict=True):
        assert len(engine.encoder.spans(chunk)) == len(visual)
        assert chunk.text in whole
    places = [first for first, end in spans if first < end]
    assert places == sorted(places)


def test_a_chunk_that_is_written_is_known_by_its_tokens(engine: TorchEngine) -> None:
    spelled = " called forget" * 3
    chunk = Chunk("c", spelled, engine.chunker.count(spelled))
    assert engine.cost(chunk) < engine.processor.renderer.visual_tokens(spelled)
    assert len(engine.encoder.spans(chunk)) == engine.cost(chunk)


# -- the look --------------------------------------------------------------------------------------


def looked_at(engine: TorchEngine, ids: Sequence[int]) -> tuple[KVCache, Tensor]:
    cache = engine._empty_cache()
    cache.append(engine.encoder.embed(ids))
    looked = Tree(cache, engine.encoder.embed, engine.encoder.finder).look(ids[-1])
    assert looked is not None
    return cache, looked


@pytest.mark.parametrize("options", [{}, {"kv_dtype": "int8"}, {"weights": "int8"}])
def test_the_look_is_the_models_own_attention(
    engine: TorchEngine, tmp_path: Path, options: Any
) -> None:
    ids = TOKENIZER.encode('Anna wrote to Ben. You said: "')
    model: Any = engine.model.language_model
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_attentions=True)
    model.set_attn_implementation("sdpa")
    expected = out.attentions[1][0, 2:4, -1].mean(0)
    if options:
        config = small_config(quotes=[[OPENS, CLOSES]], finder=FINDER)
        folder = save_small(tmp_path, config)
        engine = TorchEngine(folder, device="cpu", options=EngineOptions(**options))
    cache, looked = looked_at(engine, ids)
    tolerance = 5e-2 if options else 1e-4
    torch.testing.assert_close(looked, expected, rtol=tolerance, atol=tolerance)
    assert looked.sum().item() == pytest.approx(1, abs=1e-5)
    assert len(cache) == len(ids)


def test_a_look_changes_nothing(engine: TorchEngine) -> None:
    ids = TOKENIZER.encode("Anna wrote to Ben.")
    cache = engine._empty_cache()
    cache.append(engine.encoder.embed(ids))
    other = cache.fork()
    Tree(cache, engine.encoder.embed, Finder(**FINDER)).look(ids[-1])
    after = engine.encoder.embed(TOKENIZER.encode(" Yes."))
    assert torch.equal(cache.append(after), other.append(after))


def test_a_model_that_was_not_taught_to_look_does_not(engine: TorchEngine) -> None:
    assert Tree(engine._empty_cache(), engine.encoder.embed).look(20) is None


# -- the answer ------------------------------------------------------------------------------------

TEXT = write([("user", "Anna lives in Rome. Ben lives in Oslo. Cleo lives in Lima.")])


class Looking(Liking):
    """Branches that look at one part of the text."""

    def __init__(self, part: str, **given: Any) -> None:
        super().__init__(**given)
        self._part = part

    def look(self, token: int) -> Tensor:
        on = torch.full((len(TEXT),), 0.2 / len(TEXT))
        at = TEXT.index(self._part)
        on[at : at + len(self._part)] += 0.8 / len(self._part)
        return on


def opened(places: int = 4, looks: bool = True) -> Quoting:
    spans = [(i, i + 1) for i in range(len(TEXT))]
    course = Quoting(
        VOCABULARY,
        [(OPENS, CLOSES)],
        Quotable((), TEXT),
        places=places,
        spans=(lambda: spans) if looks else None,
    )
    for token in TOKENIZER.encode(OPENS):
        course.next(lambda _, token=token: token, 99)  # type: ignore[misc]
    return course


def test_of_likely_quotes_that_is_said_at_which_the_model_looks() -> None:
    likes = {f"Anna lives in Rome{CLOSES}": 12.0, f"Ben lives in Oslo{CLOSES}": 11.0}
    for part, looks, said in (
        ("Ben lives in Oslo", True, "Ben lives in Oslo"),
        ("Anna lives in Rome", True, "Anna lives in Rome"),
        ("Ben lives in Oslo", False, "Anna lives in Rome"),
    ):
        branches, course = Looking(part, likes=likes), opened(looks=looks)
        course.weigh(branches.first, lambda branches=branches: branches, 99)  # type: ignore[misc]
        assert decided(course) == said + CLOSES


def test_a_look_alone_says_nothing_that_is_far_from_likely() -> None:
    likes = {f"Anna lives in Rome{CLOSES}": 90.0, f"Ben lives in Oslo{CLOSES}": 10.0}
    branches, course = Looking("Ben lives in Oslo", likes=likes), opened()
    course.weigh(branches.first, lambda: branches, 99)
    assert decided(course) == "Anna lives in Rome" + CLOSES


def ask(engine: TorchEngine) -> tuple[Context, GenerationParams]:
    said = write([("user", "Anna lives in Rome. Ben lives in Oslo. Cleo lives in Lima.")])
    chunks = list(engine.chunker.cut(said * 3))
    tail = QUESTION + OPENS[:-1]
    context = Context("", tuple(engine.encode(chunks)), tail, tuple(chunks))
    return context, GenerationParams(max_tokens=24)


def quoting(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Have every answer open a quote with its first token; what is looked at then."""
    open_at_once(monkeypatch)
    looks: list[Tensor] = []
    look = Tree.look

    def noted(tree: Tree, token: int) -> Tensor | None:
        looked = look(tree, token)
        looks.extend([] if looked is None else [looked])
        return looked

    monkeypatch.setattr(Tree, "look", noted)
    return looks


def test_an_answer_is_the_same_alone_and_in_a_batch(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, params = ask(engine)
    looks = quoting(monkeypatch)
    *_, alone = engine.generate(context, params)
    assert isinstance(alone, Finished)
    batch = engine.generate_batch([context] * 2, [params] * 2)
    together = [event.text for _, event in batch if isinstance(event, Finished)]
    assert together == [alone.text] * 2
    assert len(looks) == 3
    for looked in looks[1:]:
        torch.testing.assert_close(looked, looks[0], rtol=1e-4, atol=1e-4)


def test_after_a_fold_what_may_be_quoted_stands_elsewhere_and_nothing_is_looked_at(
    engine: TorchEngine,
) -> None:
    context, params = ask(engine)
    decoder = engine._begin(engine._prompt(context, params))
    assert isinstance(decoder, TorchDecoder)
    assert decoder._branches().look(20) is not None
    decoder.fold(context.visual[0], TOKENIZER.encode(OPENS))
    assert decoder._branches().look(20) is None


# -- what a checkpoint says of itself --------------------------------------------------------------


@pytest.mark.parametrize(
    ("finder", "said"),
    [
        ({"layer": 2, "first": 0, "end": 2}, "has 2 layers"),
        ({"layer": -1, "first": 0, "end": 2}, "has 2 layers"),
        ({"layer": 1, "first": 1, "end": 3}, "share keys"),
        ({"layer": 1, "first": 2, "end": 2}, "share keys"),
        ({"layer": 1, "first": 4, "end": 6}, "share keys"),
        ({"layer": 1}, "must say layer, first and end"),
    ],
)
def test_heads_that_are_not_there_are_refused(finder: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small_config(finder=finder)


def test_the_bundled_model_names_the_heads_that_its_training_taught() -> None:
    config = Vist2Config.from_pretrained(find_model("vist2-tiny"))
    assert any(stage.find_weight for stage in RECIPES["tiny"])
    assert config.finding == Finder(3, 0, 2)


def test_it_is_kept_with_the_checkpoint(tmp_path: Path) -> None:
    folder = save_small(tmp_path, small_config(finder=FINDER))
    assert Vist2Config.from_pretrained(folder).finding == Finder(**FINDER)


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_attention_are_those_that_are_added_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choice("abc ") for _ in range(60))
    cuts = sorted({0, len(text), *(rng.randrange(60) for _ in range(12))})
    spans = list(itertools.pairwise(cuts))
    attention = [rng.random() for _ in spans]
    seen = Seen(text, [], spans, attention)
    for _ in range(20):
        at = rng.randrange(50)
        quote = text[at : at + rng.randint(3, 10)]
        sums = [
            sum(
                on
                for (first, end), on in zip(spans, attention, strict=True)
                if end > place and first < place + len(quote)
            )
            for place in range(len(text))
            if text.startswith(quote, place) and not text[place - 1 : place].isalnum()
        ]
        assert seen.on(quote) == pytest.approx(max(sums, default=0))
