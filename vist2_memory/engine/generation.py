"""The generation that folds, whatever decodes: tokens to events, and full chunks to visual tokens.

Source of folding: VIST2 (arXiv 2601.10378). The text of the chunks in progress is what a decoder
reads last; when a chunk is full, its visual tokens take its place there. Which tokens fold depends
on their number alone, never on time.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from vist2_memory.engine.ahead import AHEAD, EncodingAhead
from vist2_memory.engine.answer import Answer, finish_reason
from vist2_memory.engine.batch import WAITING, Waiting
from vist2_memory.engine.quotes import Quotable
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationParams,
    Timing,
    TokenLogprob,
    Usage,
    VisualTokens,
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generation begins from, in the order in which the model reads it."""

    pinned: tuple[int, ...]
    """Ids of the text that is never folded, of tools and a schema too."""
    visual: tuple[VisualTokens, ...]
    recent: tuple[int, ...]
    """Ids of the transcript after the last fold."""
    params: GenerationParams
    fold_at: int
    """Recent text of so many tokens is folded."""
    lead: int
    """Tokens before that at which the text of its oldest chunk is whole; 0 where it never is."""
    positions: int
    """Tokens, visual and text, that the model can read."""
    cache_salt: str = ""
    """What is kept of this generation is used again by those of equal salt alone."""
    owner: str = ""
    """Whose it is; what is kept of it is dropped by :meth:`Engine.forget`."""
    quotable: Quotable | None = None
    """What the answer may quote; None where that is not known."""

    @property
    def base(self) -> int:
        """Tokens before the recent text."""
        return len(self.pinned) + sum(map(len, self.visual))


@dataclass(frozen=True, slots=True)
class Decoded:
    """The next token, and how likely it was, if that was asked for."""

    token: int
    logprob: TokenLogprob | None = None


class Decoder(ABC):
    """A language model that has read one prompt, and goes on from it."""

    reused: int = 0
    """Tokens of the prompt of which keys and values were there already."""

    @abstractmethod
    def next(self, room: int) -> Decoded | None:
        """The next token, by the prompt's parameters; None, in a batch, until it is there.

        ``room``: tokens that the answer may still have, with this one.
        """

    @abstractmethod
    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """``visual`` takes the place of all recent text, of which ``kept`` is read again."""

    def read_ahead(self, visual: VisualTokens, kept: Sequence[int]) -> None:  # noqa: B027
        """A fold to ``visual`` and ``kept``, with more text after it, comes in a few tokens.

        Called in a thread of its own, beside :meth:`next`; it has ended when :meth:`fold` is called
        and what it read may be of use there, or not.
        """

    @property
    def may_end(self) -> bool:
        """Whether the answer has a grammar, and all that it asks for."""
        return False

    def close(self) -> None:  # noqa: B027  (it may hold nothing)
        """Stop, and free or keep for others what was held."""


class Folding(ABC):
    """The eyes of a model: they cut a chunk off recent text, and see it."""

    stop_ids: frozenset[int]
    """Ids that end an answer."""

    @abstractmethod
    def first_chunk(self, ids: Sequence[int]) -> tuple[Chunk, list[int]]:
        """The oldest chunk of recent text, given as tokens, and the tokens that are kept."""

    @abstractmethod
    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """The visual tokens of ``chunks``."""


def generate(
    prompt: Prompt, begin: Callable[[Prompt], Decoder], eyes: Folding, answer: Answer
) -> Iterator[GenerationEvent]:
    """The events of one generation; closing it early closes the decoder.

    ``begin`` reads the prompt. ``answer`` is empty, and is filled.
    """
    with closing(steps(prompt, begin, eyes, answer)) as events:
        for event in events:
            assert not isinstance(event, Waiting), "a decoder of a batch was asked alone"
            yield event


def steps(
    prompt: Prompt, begin: Callable[[Prompt], Decoder], eyes: Folding, answer: Answer
) -> Generator[GenerationEvent | Waiting, None, None]:
    """:func:`generate` as a part of a batch: ``WAITING`` where the decoder waits for a step."""
    started = time.perf_counter()
    decoder = begin(prompt)
    ahead = EncodingAhead(eyes.encode, decoder.read_ahead)
    try:
        yield from _events(prompt, decoder, eyes, ahead, answer, started)
    finally:
        decoder.close()


def _events(
    prompt: Prompt,
    decoder: Decoder,
    eyes: Folding,
    ahead: EncodingAhead,
    answer: Answer,
    started: float,
) -> Iterator[GenerationEvent | Waiting]:
    params, base, recent = prompt.params, prompt.base, list(prompt.recent)
    new = folds = 0
    first_token_s = 0.0
    reason: FinishReason = "length"
    begin_at = prompt.fold_at - min(AHEAD, prompt.lead)
    while (room := min(params.max_tokens - new, prompt.positions - base - len(recent))) > 0:
        if prompt.lead and not ahead.busy and begin_at <= len(recent) >= prompt.fold_at - room:
            ahead.begin(*eyes.first_chunk(recent))
        while (decoded := decoder.next(room)) is None:
            yield WAITING
        first_token_s = first_token_s or time.perf_counter() - started
        if decoded.token in eyes.stop_ids:
            reason = "stop"
            break
        new += 1
        recent.append(decoded.token)
        yield from answer.push(decoded.token, decoded.logprob)
        if answer.stopped:
            reason = "stop"
            break
        if len(recent) >= prompt.fold_at:
            chunk, recent = eyes.first_chunk(recent)
            visual = ahead.take(chunk)
            decoder.fold(visual, recent)
            base, folds = base + len(visual), folds + 1
            yield ChunkFolded(chunk, visual)
    yield from answer.flush()
    stood_for = sum(tokens.text_tokens for tokens in prompt.visual)
    prompt_text = len(prompt.pinned) + len(prompt.recent)
    yield Finished(
        text=answer.text,
        reason=finish_reason(reason, answer, params, decoder.may_end),
        usage=Usage(
            text_tokens=stood_for,
            visual_tokens=sum(map(len, prompt.visual)),
            prompt_text_tokens=prompt_text,
            full_prompt_tokens=prompt_text + stood_for,
            new_tokens=new,
            folds=folds,
            reused_tokens=decoder.reused,
        ),
        timing=Timing(first_token_s=first_token_s, total_s=time.perf_counter() - started),
        calls=answer.calls,
    )
