"""What tasks draw their samples from: prose, dialogues, made-up text, cut into chunks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vist2_memory.memory.validation import check_role
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.font import GlyphAtlas
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import escape, write_message
from vist2_memory.training.data import Passages
from vist2_memory.training.dialogues import Dialogue
from vist2_memory.training.synthetic import generate
from vist2_memory.training.unfamiliar import unfamiliar

PINNED_PROMPTS = (
    "You are a helpful assistant.",
    "Answer from memory. Say so when you don't know.",
    "You are a friendly assistant who remembers what was said. Keep your answers short.",
    "The user and you have known each other for years.",
)


def write_turns(messages: Iterable[tuple[str, str]]) -> str:
    """The transcript of messages whose roles are known to be a chat's."""
    return "".join(write_message(check_role(role), text) for role, text in messages)


def begins_at(messages: Sequence[tuple[str, str]], turn: int) -> int:
    """Where the words of the message ``turn`` begin in :func:`write_turns` of ``messages``."""
    mark = 1
    return sum(mark + len(escape(text)) for _, text in messages[:turn]) + mark


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

    def cut_to(self, chunk_tokens: int) -> Materials:
        """The same, cut into chunks of ``chunk_tokens`` tokens."""
        if chunk_tokens == self.chunker.chunk_tokens:
            return self
        chunker = Chunker(self.tokenizer, chunk_tokens, self.chunker.fits)
        return replace(self, chunker=chunker)

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
