"""Training tasks: each makes samples from a source of text. A table names them all."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.validation import check_role
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.font import GlyphAtlas
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import END, MARKS, READ, escape, write, write_message
from vist2_memory.training.batches import Block, Sample
from vist2_memory.training.data import Passages
from vist2_memory.training.dialogues import Dialogue, converse
from vist2_memory.training.synthetic import Conversation, Question, generate
from vist2_memory.training.unfamiliar import unfamiliar

SNIPPET = (4, 12)
"""Tokens that are given when the model is to find a place in memory and read on from there."""
_WORD = re.compile(r" \w{4,}\b")


@dataclass(frozen=True)
class Materials:
    """What tasks draw on."""

    prose: Passages
    dialogues: Passages
    tokenizer: Vist2Tokenizer
    chunker: Chunker
    atlas: GlyphAtlas
    talks: Sequence[Dialogue] = ()
    """Real dialogues with slot values to ask about."""

    def chunks(self, rng: random.Random, count: int) -> list[str]:
        """``count`` consecutive chunks of prose."""
        while True:
            text = escape(self.prose.draw(rng, count * self.chunker.chunk_tokens * 6))
            found: list[str] = []
            start = 0
            while len(found) < count and (chunk := self.chunker.first(text, start)) is not None:
                found.append(chunk.text)
                start += len(chunk.text)
            if len(found) == count:
                return found

    def filler(self, rng: random.Random) -> str:
        """A passage for somebody to quote in a conversation."""
        source = self.dialogues if rng.random() < 0.4 else self.prose
        return source.paragraph(rng, rng.randint(100, 400))

    def unfamiliar(self, rng: random.Random) -> str:
        """A chunk of what prose lacks: words that are none, numbers, symbols, rare characters."""
        prose = escape(self.prose.draw(rng, self.chunker.chunk_tokens * 6))
        while True:
            chunk = self.chunker.first(unfamiliar(rng, prose, self._rare))
            if chunk is not None:
                return chunk.text

    @cached_property
    def _rare(self) -> list[str]:
        return [chr(code) for code in range(0xA0, 0x180) if self.atlas.has(chr(code))]

    def talk(self, rng: random.Random, count: int) -> list[str]:
        """``count`` consecutive chunks of a synthetic conversation."""
        while True:
            characters = max(300, int((count + 1) * self.chunker.chunk_tokens * 4.5))
            facts = max(1, int(characters / rng.uniform(70, 200)))
            made = generate(rng, characters=characters, split="train", facts=facts)
            found = [chunk.text for chunk in self.chunker.cut(write_turns(made.messages))]
            if len(found) >= count:
                return found[-count:]


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


def continue_text(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Optical language modelling of prose: each chunk's text with the chunks before it in view."""
    texts = materials.chunks(rng, chunks + 1)
    blocks = []
    for after in sorted(rng.sample(range(chunks + 1), min(6, chunks + 1))):
        ids = materials.tokenizer.encode("".join(texts[after : after + 2]))
        blocks.append(Block(after, ids, [1.0] * len(ids)))
    return Sample(texts[:-1], blocks)


PINNED_PROMPTS = (
    "You are a helpful assistant.",
    "Answer from memory. Say so when you don't know.",
    "You are a friendly assistant who remembers what was said. Keep your answers short.",
    "The user and you have known each other for years.",
)


def recall(materials: Materials, rng: random.Random, chunks: int, plain: float = 0.0) -> Sample:
    """Answer questions about a synthetic conversation that lies in memory.

    ``plain``: the share of facts told in their standard wording.
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
    return _asked(materials, rng, conversation)


def _asked(materials: Materials, rng: random.Random, conversation: Conversation) -> Sample:
    """``conversation`` as memory and tail, and its questions in blocks of several."""
    tokenizer, chunker = materials.tokenizer, materials.chunker
    transcript = write_turns(conversation.messages)
    texts = [chunk.text for chunk in chunker.cut(transcript)]
    texts = texts[: max(1, len(texts) - rng.choice((0, 1)))]  # the newest chunk may stay text
    before = tokenizer.encode(transcript[sum(map(len, texts)) :])
    questions = list(conversation.questions)
    rng.shuffle(questions)
    blocks: list[Block] = []
    room = 1100
    while questions and room > 0:
        asked = [questions.pop() for _ in range(min(rng.randint(2, 8), len(questions)))]
        blocks.append(_questions(tokenizer, before, asked, len(texts)))
        room -= len(blocks[-1].ids)
    pinned = rng.choice(PINNED_PROMPTS) if rng.random() < 0.1 else ""
    system = tokenizer.encode(write([("system", pinned)])) if pinned else []
    return Sample(texts, blocks, system)


def recall_plain(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer questions about facts that were told in a standard wording."""
    return recall(materials, rng, chunks, plain=1.0)


def recall_dialogues(materials: Materials, rng: random.Random, chunks: int) -> Sample:
    """Answer questions on the slots of real task dialogues."""
    if not materials.talks:
        raise InvalidInputError(
            "the task recall_dialogues needs dialogues with slots, there are none"
        )
    characters = int(chunks * materials.chunker.chunk_tokens * 3.2)
    for _ in range(100):
        conversation = converse(rng, materials.talks, characters)
        if conversation.questions:
            return _asked(materials, rng, conversation)
    raise InvalidInputError("the dialogues have no slots that can be asked for: give others")


def write_turns(messages: Iterable[tuple[str, str]]) -> str:
    """The transcript of messages whose roles are known to be a chat's."""
    return "".join(write_message(check_role(role), text) for role, text in messages)


def _questions(
    tokenizer: Vist2Tokenizer, before: list[int], questions: list[Question], after: int
) -> Block:
    """The tail ``before``, then questions with their answers; only answers are supervised.

    An answer ends where the next message begins: the mark of the user is part of what is learned.
    """
    ids, weights = list(before), [0.0] * len(before)
    mark = tokenizer.encode(MARKS["user"])
    for question in questions:
        asked = tokenizer.encode(write([("user", question.text), ("assistant", "")]))
        answer = tokenizer.encode(escape(question.answer))
        ids += asked + answer
        weights += [float(question is not questions[0])] + [0.0] * (len(asked) - 1)
        weights += [1.0] * len(answer)
    return Block(after, ids + mark, [*weights, 1.0])


TASKS: dict[str, Task] = {
    "read": read,
    "recite": recite,
    "continue": continue_text,
    "recall": recall,
    "recall_dialogues": recall_dialogues,
    "recall_plain": recall_plain,
}
