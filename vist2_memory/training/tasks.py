"""Training tasks: each makes samples from a source of text. A table names them all."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from vist2_memory.errors import InvalidInputError
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import END, READ
from vist2_memory.training.batches import Block, Sample
from vist2_memory.training.calls import draw_scene, pinned, sample
from vist2_memory.training.dialogues import converse
from vist2_memory.training.materials import Materials
from vist2_memory.training.questions import ask
from vist2_memory.training.synthetic import generate
from vist2_memory.training.synthetic.functions_talk import make_format, make_scene
from vist2_memory.training.synthetic.topics import discuss
from vist2_memory.training.synthetic.values import Draw

SNIPPET = (4, 12)
"""Tokens that are given when the model is to find a place in memory and read on from there."""
BEGINNING = (12, 40)
"""Characters of a chunk's beginning that are given when the whole of it is to be read."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
MOST_TAIL = 7
"""Chunks of a conversation that are text still, where questions are answered from text."""
TURNS, MOST_TURNS = 3, 12
"""Chunks that are read out one after another, and in all, of one memory."""
_WORD = re.compile(r" \w{4,}\b")


Task = Callable[[Materials, random.Random, int], Sample]
"""Makes a sample with a memory of about so many chunks."""


def read(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Read one chunk out from its beginning (OCR)."""
    text = materials.unfamiliar(rng) if rng.random() < 0.5 else materials.chunks(rng, 1)[0]
    ids = materials.tokenizer.encode(READ + text + END)
    return Sample([text], [Block(1, ids, [1.0] * len(ids))])


def recite(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Find given words in memory and read on from there, at several places of one memory.

    Half of the places are given by one word that stands in the memory once: questions, too, name
    what they ask for by a word or two.
    """
    talk = rng.random() < 0.4
    texts = materials.talk(rng, chunks) if talk else materials.chunks(rng, chunks)
    for place in range(chunks):
        if rng.random() < 0.2:
            texts[place] = materials.unfamiliar(rng)
    memory = "".join(texts)
    seen = Counter(_WORD.findall(memory))
    words = [found for found in _WORD.finditer(memory) if seen[found.group()] == 1]
    blocks = []
    for _ in range(max(4, min(12, 2 * chunks))):
        if words and rng.random() < 0.5:
            word = rng.choice(words)
            place, given = word.start(), len(materials.tokenizer.encode(READ + word.group()))
        else:
            place, given = rng.randrange(max(1, len(memory) - 120)), rng.randint(*SNIPPET)
        ids = materials.tokenizer.encode(READ + memory[place : place + 140])[:44]
        given = min(given, len(ids) // 2)
        weights = [0.0] * given + [1.0] * (len(ids) - given)
        blocks.append(Block(chunks, ids, weights))
    return Sample(texts, blocks)


def ocr(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Read whole chunks of a memory out, in turns and in any order (multi-turn OCR).

    A turn names its chunk by its place, between two marks, or by the words that it begins with.
    Source of the task: stage two of VIST2, arXiv 2601.10378.
    """
    texts = materials.chunks(rng, chunks)
    turns = [_turn(materials.tokenizer, rng, texts, place) for place in range(chunks)]
    rng.shuffle(turns)
    blocks = []
    for start in range(0, min(chunks, MOST_TURNS), TURNS):
        ids: list[int] = []
        weights: list[float] = []
        for turn, weighed in turns[start : start + TURNS]:
            ids += turn
            weights += weighed
        blocks.append(Block(chunks, ids, weights))
    return Sample(texts, blocks)


def _turn(
    tokenizer: Vist2Tokenizer, rng: random.Random, texts: Sequence[str], place: int
) -> tuple[list[int], list[float]]:
    """The ids of a turn that reads chunk ``place``, and what each weighs in the loss."""
    text = texts[place]
    begun = text[: rng.randint(*BEGINNING)]
    if sum(other.startswith(begun) for other in texts) == 1 and rng.random() < 0.5:
        asked, ids = READ + begun, tokenizer.encode(READ + text + END)
    else:
        asked = READ + _name(rng, place, len(texts)) + READ
        ids = tokenizer.encode(asked + text + END)
    given = min(len(tokenizer.encode(asked)), len(ids) - 2)
    return ids, [0.0] * given + [1.0] * (len(ids) - given)


def _name(rng: random.Random, place: int, count: int) -> str:
    """How a turn calls chunk ``place`` of ``count``."""
    if place == count - 1 and rng.random() < 0.5:
        return "last"
    return ORDINALS[place] if place < len(ORDINALS) else f"number {place + 1}"


def continue_text(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Optical language modelling of prose: each chunk's text with the chunks before it in view."""
    texts = materials.chunks(rng, chunks + 1)
    blocks = []
    for after in sorted(rng.sample(range(chunks + 1), min(6, chunks + 1))):
        ids = materials.tokenizer.encode("".join(texts[after : after + 2]))
        blocks.append(Block(after, ids, [1.0] * len(ids)))
    return Sample(texts[:-1], blocks)


def recall(
    materials: Materials,
    rng: random.Random,
    chunks: int,
    plain: float = 0.0,
    as_text: bool = False,
) -> Sample:
    """Answer questions about a synthetic conversation that lies in memory.

    ``plain``: the share of facts told in their standard wording. ``as_text``:
    whether the newest chunks, up to ``MOST_TAIL``, are text still.
    """
    characters = max(300, int(chunks * materials.chunker.chunk_tokens * 3.2))
    conversation = generate(
        rng,
        characters=characters,
        split="train",
        facts=max(1, int(characters / rng.uniform(70, 300))),
        filler=materials.filler,
        plain=plain,
    )
    return ask(materials, rng, conversation, _tail_chunks(rng, as_text))


def _tail_chunks(rng: random.Random, as_text: bool) -> int:
    """How many full chunks of a conversation are text still."""
    return MOST_TAIL if as_text else rng.choice((0, 1))


def recall_plain(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer questions about facts that were told in a standard wording."""
    return recall(materials, rng, chunks, plain=1.0)


def recall_text(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer questions about a conversation whose newest chunks are text still: mostly all but one.

    What is asked, and where it stands, is learned sooner where nothing has to be read.
    """
    return recall(materials, rng, min(chunks, MOST_TAIL) + 1, as_text=True)


def recall_dialogues_text(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """:func:`recall_dialogues` as :func:`recall_text` has conversations."""
    return recall_dialogues(materials, rng, min(chunks, MOST_TAIL) + 1, as_text=True)


def recall_dialogues(
    materials: Materials, rng: random.Random, chunks: int, as_text: bool = False
) -> Sample:
    """Answer questions on the slots of real task dialogues."""
    if not materials.talks:
        raise InvalidInputError(
            "the task recall_dialogues needs dialogues with slots, there are none"
        )
    characters = int(chunks * materials.chunker.chunk_tokens * 3.2)
    for _ in range(100):
        conversation = converse(rng, materials.talks, characters)
        if conversation.questions:
            return ask(materials, rng, conversation, _tail_chunks(rng, as_text))
    raise InvalidInputError("the dialogues have no slots that can be asked for: give others")


def topics(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer which topic of a conversation came first, last, or beside another."""
    characters = int(chunks * materials.chunker.chunk_tokens * 3.2)
    conversation = discuss(rng, characters=characters, split="train", filler=materials.filler)
    return ask(materials, rng, conversation, _tail_chunks(rng, False))


RECALL_SHARE = 0.08
"""Of the samples of ``calls``, those that ask for what lies in memory, with functions at hand."""
MOST_CHUNKS = 8
"""Chunks of memory before a conversation with functions at the most: what counts is its text."""


def calls(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Call the function that a message asks for, or none; go on from what it gives."""
    chunks, draw = min(chunks, MOST_CHUNKS), Draw(rng, "train")
    if rng.random() < RECALL_SHARE:
        told = pinned(materials, rng, make_scene(draw, 0))
        return replace(recall(materials, rng, chunks), pinned=told)
    return sample(materials, rng, chunks, draw_scene(materials, draw, rng.randint(3, 6)))


def formats(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer in JSON as a schema asks, with the values that a message gives."""
    scene = make_format(Draw(rng, "train"), rng.randint(3, 6))
    return sample(materials, rng, min(chunks, MOST_CHUNKS), scene)


RECALL = frozenset(
    {
        "recall",
        "recall_plain",
        "recall_text",
        "recall_dialogues",
        "recall_dialogues_text",
        "topics",
    }
)
"""The tasks that answer by quoting."""
TASKS: dict[str, Task] = {
    "calls": calls,
    "formats": formats,
    "read": read,
    "recite": recite,
    "ocr": ocr,
    "continue": continue_text,
    "recall": recall,
    "recall_dialogues": recall_dialogues,
    "recall_dialogues_text": recall_dialogues_text,
    "recall_plain": recall_plain,
    "recall_text": recall_text,
    "topics": topics,
}
