"""Where the answers of training are to look, and the loss that has them look there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.support.checkpoints import small_model
from tests.support.tokenizers import small_tokenizer
from tests.support.trainers import small_materials, small_trainer
from vist2_memory.model.masks import additive
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.training.batches import Block, Form, Place, Sample, Sought, collate
from vist2_memory.training.finding import attention_on_sought
from vist2_memory.training.forms import MEMORIES
from vist2_memory.training.materials import write_turns
from vist2_memory.training.questions import open_at, quote_of, quoted_at
from vist2_memory.training.stages import Stage
from vist2_memory.training.student import Student
from vist2_memory.training.synthetic import generate
from vist2_memory.training.synthetic.scoring import occurs
from vist2_memory.training.tasks import TASKS

TOKENIZER = small_tokenizer()
TEXTS = ("Anna's cat is called Mi", "so. She has lived in Bergen", " for nine years. Ben has")


def batch_of(student: Student, sample: Sample) -> Any:
    config = student.model.config
    return collate([sample], student.form(student.renderer), config.visual_token_id, 9)


def seek(ids: range, memory: tuple[int, int], own: tuple[int, int] = (0, 0)) -> Sought:
    """All that is said is also what is said next."""
    place = Place(memory, own)
    return Sought(ids, place, [place] * len(ids), [1.0] * len(ids))


def shown(form: Form, texts: tuple[str, ...], found: tuple[int, int]) -> list[tuple[int, int]]:
    """Each of the vectors ``found``, as the chunk it is of and its place in that."""
    places = [(i, j) for i, text in enumerate(texts) for j in range(form.length(text))]
    return places[found[0] : found[1]]


@pytest.fixture(scope="module", params=MEMORIES)
def student(request: pytest.FixtureRequest) -> Student:
    return Student(small_model(), TOKENIZER, memory=request.param)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_sought_is_found_in_every_form(student: Student, seed: int) -> None:
    """The vectors of any stretch of the memory are those between what is before and behind it."""
    form, rng = student.form(student.renderer), random.Random(seed)
    start, end = sorted(rng.sample(range(sum(map(len, TEXTS)) + 1), 2))
    pinned, ids = TOKENIZER.encode("Be kind."), TOKENIZER.encode("Who is Miso?")
    sought = seek(range(1, 3), (start, end))
    block = Block(3, ids, [1.0] * len(ids), [sought])
    batch = batch_of(student, Sample(TEXTS, [block], pinned))
    first, last = (batch.sought[0, 0, :2] - len(pinned)).tolist()
    assert batch.sought.shape == (2, 2, 4)
    begun = batch.input_ids.shape[1] - len(ids)
    assert batch.seekers.tolist() == [begun + 1, begun + 2]
    vectors = shown(form, TEXTS, (first, last))
    chunks = [i for i, text in enumerate(TEXTS) for _ in text]
    assert {i for i, _ in vectors} == set(chunks[start:end])
    if student.tokens is None:
        strip = student.renderer.geometry.cells_per_strip
        inside = [at - chunks.index(chunks[at]) for at in range(start, end)]
        drawn = {(chunks[at], i // strip) for at, i in zip(range(start, end), inside, strict=True)}
        assert drawn == set(vectors)


def test_of_what_stands_in_memory_and_in_the_tail_both_are_sought() -> None:
    student = Student(small_model(), TOKENIZER)
    ids = TOKENIZER.encode(" twins. Who has?")
    sought = seek(range(6, 8), (len("".join(TEXTS)) - 7, len("".join(TEXTS))), (0, 3))
    batch = batch_of(student, Sample(TEXTS, [Block(3, ids, [1.0] * len(ids), [sought])]))
    begun = batch.input_ids.shape[1] - len(ids)
    first, end, *own = batch.sought[0, 0].tolist()
    assert end == begun
    assert own == [begun, begun + 3]
    assert begun - 2 <= first < begun


def test_the_loss_is_that_of_the_models_own_attention() -> None:
    student = Student(small_model(), TOKENIZER)
    ids = TOKENIZER.encode("Where does she live? In Bergen")
    blocks = [
        Block(3, ids, [1.0] * len(ids), [seek(range(4, 9), (26, 50), (1, 3))]),
        Block(2, ids[:6], [1.0] * 6, [seek(range(3, 5), (4, 30))]),
    ]
    batch = batch_of(student, Sample(TEXTS, blocks, ids[:3]))
    language_model: Any = student.model.language_model.model
    language_model.set_attn_implementation("eager")
    embeds = F.embedding(batch.input_ids, student.model.get_input_embeddings().weight)
    with torch.no_grad():
        out = language_model(
            inputs_embeds=embeds,
            attention_mask=additive(batch.allowed, torch.float32),
            position_ids=batch.position_ids,
            output_hidden_states=True,
            output_attentions=True,
        )
        for layer, attention in enumerate(out.attentions):
            on = attention_on_sought(
                language_model,
                out.hidden_states[layer],
                batch,
                batch.allowed,
                layer,
                batch.sought[:, 0],
            )
            for place, (first, end, own_first, own_end), told in zip(
                batch.seekers, batch.sought[:, 0].tolist(), on, strict=True
            ):
                row = attention[0, :, place]  # (heads, keys)
                wanted = row[:, first:end].sum(1) + row[:, own_first:own_end].sum(1)
                torch.testing.assert_close(told.exp(), wanted)


def words(tokenizer: Vist2Tokenizer, memory: str, block: Block, place: Place) -> str:
    """What stands at ``place``."""
    return memory[slice(*place.memory)] + tokenizer.decode(block.ids[slice(*place.own)])


def test_answers_seek_the_words_that_they_quote() -> None:
    given = small_materials()
    for seed in range(10):
        sample = TASKS["recall"](given, random.Random(seed), 6)
        memory = "".join(sample.chunks)
        for block in sample.blocks:
            for sought in block.sought:
                said = [given.tokenizer.decode([block.ids[i + 1]]) for i in sought.ids]
                quote = "".join(said).partition('"')[2]
                whole = words(given.tokenizer, memory, block, sought.whole)
                assert quote.lower().strip() in whole.lower()
                opened = False
                for token, place in zip(said, sought.following, strict=True):
                    found = words(given.tokenizer, memory, block, place).lower()
                    if opened:
                        assert token.lower().strip() in found
                    opened |= '"' in token
                    assert quote.lower().startswith(found) or opened
                assert sought.weights == [block.weights[i + 1] for i in sought.ids]
    assert any(block.sought for block in sample.blocks)


@pytest.mark.parametrize("seed", range(30))
def test_a_question_is_answered_where_its_newest_value_stands(seed: int) -> None:
    conversation = generate(random.Random(seed), characters=2500, split="train")
    transcript = write_turns(conversation.messages)
    for question in conversation.questions:
        place = quoted_at(conversation, question)
        if not question.answerable:
            assert place is None
            continue
        assert place is not None
        quote = transcript[slice(*place)]
        assert quote.lower() == (quote_of(question.answer) or "").lower()
        assert occurs(question.value, quote)
        assert (
            transcript.count("\ue000", 0, place[0]) + transcript.count("\ue001", 0, place[0])
            == question.turn + 1
        )


def test_a_quote_is_open_where_the_memory_goes_on_in_several_ways() -> None:
    text = "My sister Runa has a cat. My sister Runa has a home in Oslo. My brother sings."
    pieces = ["my", " sister", " Runa", " has", " a", " home", " in", " Oslo"]
    assert open_at(text, pieces) == [True, True, False, False, False, True, False, False]


def test_looking_there_is_learned() -> None:
    student = Student(small_model(), TOKENIZER)
    ids = TOKENIZER.encode("Where does she live? In Bergen")
    block = Block(3, ids, [1.0] * len(ids), [seek(range(4, 9), (26, 50))])
    batch = batch_of(student, Sample(TEXTS, [block]))
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        out = student(batch, find=True)
        optimizer.zero_grad()
        out["find"].backward()
        optimizer.step()
        losses.append(out["find"].item())
    assert losses[-1] < 0.5 * losses[0]
    assert out["found"] == out["found_next"] == 5


def test_each_looks_for_what_comes_next() -> None:
    """One layer is to find all words, the next one of them after another: both can be learned."""
    student = Student(small_model(), TOKENIZER)
    ids = TOKENIZER.encode("Where does she live? In Bergen")
    whole = Place((0, len("".join(TEXTS))), (0, 0))
    following = [Place((0, 1), (0, 0)), Place((60, 61), (0, 0))]
    block = Block(3, ids, [1.0] * len(ids), [Sought(range(4, 6), whole, following, [3.0, 1.0])])
    batch = batch_of(student, Sample(TEXTS, [block]))
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for _ in range(60):
        out = student(batch, find=True)
        optimizer.zero_grad()
        out["find"].backward()
        optimizer.step()
    assert out["found_next"] == 2


def test_what_counts_more_weighs_more_in_the_loss() -> None:
    student = Student(small_model(), TOKENIZER).eval()
    ids = TOKENIZER.encode("Where does she live? In Bergen")
    place = Place((26, 50), (0, 0))
    losses = []
    for weights in ([1.0, 0.0], [0.0, 1.0], [3.0, 2.0]):
        sought = Sought(range(4, 6), place, [place] * 2, weights)
        batch = batch_of(student, Sample(TEXTS, [Block(3, ids, [1.0] * len(ids), [sought])]))
        with torch.no_grad():
            losses.append(student(batch, find=True)["find"].item())
    first, second, both = losses
    assert both == pytest.approx(3 * first + 2 * second, rel=1e-5)


def test_a_stage_gives_it_weight(tmp_path: Path) -> None:
    changed = []
    for weight in (0.0, 5.0):
        trainer = small_trainer(tmp_path / str(weight))
        stage = Stage("s", {"recall": 1}, 1, (1, 2), 1e-3, warmup=1, tokens=100, find_weight=weight)
        [metrics] = trainer.steps(stage)
        changed.append(trainer.student.model.language_model.model.layers[1].self_attn.q_proj.weight)
    assert metrics["tasks"]["recall"]["find"] > 0
    assert 0 <= metrics["tasks"]["recall"]["found"] <= 1
    assert not torch.equal(*changed)


def test_without_weight_nothing_is_sought(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    stage = Stage("recall", {"recall": 1}, 1, (1, 2), 1e-3, tokens=100)
    [metrics] = trainer.steps(stage)
    assert "find" not in metrics["tasks"]["recall"]


def test_a_weight_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"find_weight=-1"):
        Stage("recall", {"recall": 1}, 1, (1, 2), 1e-3, find_weight=-1)
