"""What an answer is generated from: which chunks, as visual tokens, and the text after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from vist2_memory.engine.base import Engine
from vist2_memory.errors import ContextOverflowError, ModelError
from vist2_memory.memory.candidates import (
    check_pins,
    of_documents,
    of_session,
    once,
    question_of,
    told,
    used,
)
from vist2_memory.memory.collection import Collection
from vist2_memory.memory.reading import Reading
from vist2_memory.memory.recollection import Recollection, Tensors
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import Candidate, choose
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import MARKS, written
from vist2_memory.tracing import span
from vist2_memory.types import (
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    LeftOut,
    Message,
)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A context, and what it took to have it."""

    context: Context
    left_out: tuple[LeftOut, ...]
    """What did not fit."""
    parts: tuple[Recollection, ...]
    candidates: Sequence[Candidate]
    """All that could have been read."""
    kept: tuple[int, ...]
    """The places of those that are."""

    def finish(self, end: Finished, degraded: Sequence[str]) -> Finished:
        """``end`` with what the memory's part of the answer was, and ``degraded`` too."""
        cached = sum(part.cached_visual_tokens for part in self.parts)
        load_s = sum(part.load_s for part in self.parts)
        encode_s = sum(part.encode_s for part in self.parts)
        usage = replace(end.usage, cached_visual_tokens=min(cached, end.usage.visual_tokens))
        timing = replace(
            end.timing,
            load_s=load_s,
            encode_s=encode_s,
            first_token_s=end.timing.first_token_s + load_s + encode_s,
            total_s=end.timing.total_s + load_s + encode_s,
        )
        notes = [note for part in self.parts for note in part.degraded]
        # Writes that failed before the answer may have failed again meanwhile, in the same words.
        meanwhile = [note for note in degraded if note not in notes]
        return replace(
            end,
            usage=usage,
            timing=timing,
            degraded=(*end.degraded, *notes, *meanwhile),
            left_out_tokens=sum(part.tokens for part in self.left_out),
            left_out=self.left_out,
            chunks=used(self.candidates, self.kept),
        )


Generate: TypeAlias = Callable[[Context, GenerationParams], Iterator[GenerationEvent]]
"""What generates, as :meth:`Engine.generate` does."""


def generated(
    generate: Generate, context: Context, params: GenerationParams
) -> Iterator[GenerationEvent]:
    """What is generated from ``context``, as one span."""
    with span("generate", max_tokens=params.max_tokens) as outcome:
        for event in generate(context, params):
            if isinstance(event, Finished):
                outcome.update(tokens=event.usage.new_tokens, reason=event.reason)
                break
            yield event
    yield event


def completed(
    engine: Engine, assembled: Assembled, params: GenerationParams, start: int
) -> Iterator[GenerationEvent]:
    """What comes after an assembled context, whose tail begins at ``start``; logged nowhere."""
    for event in generated(engine.generate, assembled.context, params):
        if isinstance(event, Finished):
            event = assembled.finish(event, ())
        elif isinstance(event, ChunkFolded):
            event = replace(event, chunk=replace(event.chunk, start=start))
            start += len(event.chunk.text)
        yield event


@dataclass(frozen=True, slots=True)
class Needs:
    """Tokens that a context has: read as text, and visual ones if all of its memory is read."""

    text: int
    visual: int


def check_answers(engine: Engine, params: GenerationParams) -> None:
    """Raises ``ModelError`` for an engine that has no model to answer, and ``InvalidInputError``
    for ``params`` that it cannot honour."""
    if not engine.spec.answers:
        raise ModelError(
            f"the memory was opened with {engine.spec.model!r}, which only draws: send what "
            "Session.deliver() gives to a hosted model, or open the memory with a model"
        )
    engine.check(params)


def check_pinned(engine: Engine, session: str, pinned: str) -> None:
    """Raises ``ContextOverflowError`` if system prompts leave no room for the conversation."""
    tokens, room = engine.chunker.count(pinned), engine.spec.max_text_tokens // 2
    if tokens > room:
        raise ContextOverflowError(
            f"the system prompt of session {session!r} would have {tokens} tokens, the model "
            f"has room for {room}: shorten it"
        )


def assemble(
    tensors: Tensors,
    engine: Engine,
    scope: Scope,
    state: Transcript,
    reading: Reading,
    params: GenerationParams,
    *,
    recent: Sequence[Message] = (),
) -> Assembled:
    """The context of the session ``scope``: documents, what was said, and ``recent`` as text.

    Where not all has room, ``reading`` says who chooses. Raises ``ContextOverflowError`` where text
    alone, or what is pinned, is more than it allows, and ``InvalidInputError`` for pins that name
    nothing, documents that the engine cannot read, and a policy's answer that cannot be followed.
    """
    pinned, tail = _text(state, recent)
    room = engine.spec.max_visual_tokens
    if reading.budget is not None:
        text_tokens = _text_tokens(engine, pinned, tail, params, reading.budget)
        room = min(room, reading.budget - text_tokens)
    include = once(reading.include, engine)
    candidates = of_documents(include, engine.cost, reading.pins)
    candidates += of_session(scope, state, engine.cost, reading.pins)
    messages = (*state.messages, *recent)
    check_pins(reading.pins, candidates, messages)
    selection = choose(candidates, room, question_of(messages), reading.policy)
    kept = [candidates[place] for place in selection.kept]
    parts = [
        source.recollect([one.chunk for one in kept if one.source == source.scope])
        for source in include
    ]
    own = [one.chunk for one in kept if one.source == scope]
    parts.append(tensors.recollect(engine, scope, own))
    visual = tuple(tokens for part in parts for tokens in part.visual)
    sources = tuple(one.chunk for one in kept)
    left_out = told([candidates[place] for place in selection.left_out], state)
    context = Context(pinned, visual, tail, sources, state.speaks, scope.namespace, scope.key)
    return Assembled(context, left_out, tuple(parts), candidates, tuple(selection.kept))


def needs(
    engine: Engine,
    state: Transcript,
    include: Sequence[Collection],
    params: GenerationParams,
    recent: Sequence[Message],
) -> Needs:
    """What :func:`assemble` would take, had it room for all."""
    pinned, tail = _text(state, recent)
    books = once(include, engine)
    chunks = [*state.chunks, *(chunk for collection in books for chunk in collection.chunks())]
    visual = sum(engine.cost(chunk) for chunk in chunks)
    return Needs(engine.text_tokens(pinned, tail, params), visual)


def _text(state: Transcript, recent: Sequence[Message]) -> tuple[str, str]:
    """The pinned text, and the text after the memory."""
    pinned = state.pinned + "".join(written(m) for m in recent if m.role == "system")
    said = "".join(written(message) for message in recent if message.role != "system")
    return pinned, state.tail + said + MARKS["assistant"]


def _text_tokens(
    engine: Engine, pinned: str, tail: str, params: GenerationParams, budget: int
) -> int:
    """Tokens that are read as text, which must leave something of ``budget``."""
    tokens = engine.text_tokens(pinned, tail, params)
    if tokens > budget:
        raise ContextOverflowError(
            f"what must stay text (system prompt, tools, recent messages) has {tokens} tokens, the "
            f"budget is {budget}: send fewer recent messages or tools, or raise the budget"
        )
    return tokens
