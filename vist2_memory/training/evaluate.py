"""What a model can do, in numbers: reading its visual tokens out, and answering from memory.

Both go through the engine that users use. The data is never trained on: recall draws held-out
values, names and wordings, readback reads what file it is given.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vist2_memory.engine.base import Engine
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.transcript import Transcript
from vist2_memory.text.transcript import READ, escape, write
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.training.synthetic import Conversation, generate, is_right
from vist2_memory.types import Chunk, Context, Finished, GenerationParams, Message

Progress = Callable[[int, int], None]
"""Called with the number done and the number in all."""

ANSWER_TOKENS = 48
_CHARACTERS_PER_TOKEN = 3.2  # of the synthetic conversations; only decides how much is generated


def _silent(done: int, of: int) -> None:
    """No progress."""


def distance(a: str, b: str) -> int:
    """The Levenshtein distance: insertions, deletions and substitutions that turn a into b."""
    codes = np.array([ord(character) for character in b], dtype=np.int64)
    row = np.arange(len(b) + 1)
    steps = np.arange(len(b) + 1)
    for i, character in enumerate(a, 1):
        changed = row[:-1] + (codes != ord(character))
        best = np.concatenate(([i], np.minimum(changed, row[1:] + 1)))
        row = np.minimum.accumulate(best - steps) + steps  # insertions run along the row
    return int(row[-1])


def _generate(engine: Engine, context: Context, tokens: int, **options: Any) -> str:
    """The greedy answer to ``context``."""
    *_, last = engine.generate(context, GenerationParams(max_tokens=tokens), **options)
    assert isinstance(last, Finished)
    return last.text


def evaluate_readback(
    engine: Engine, data: Path, *, chunks: int = 200, progress: Progress = _silent
) -> dict[str, Any]:
    """Read ``chunks`` chunks of the texts at ``data`` out of their visual tokens.

    ``character_accuracy`` is 1 - edit distance / characters, over all chunks together;
    ``exact_chunks`` the share that came back without a fault.
    """
    passages = Passages(text for file in find_files(data) for text in read_texts(file))
    rng = random.Random(0)
    drawn: list[Chunk] = []
    tries = 0
    while len(drawn) < chunks:
        text = escape(passages.draw(rng, engine.spec.chunk_tokens * 8))
        drawn += [found] if (found := engine.chunker.first(text)) else []
        tries += 1
        if tries > 20 * chunks:
            raise InvalidInputError(
                f"the texts at {data} are too short: a chunk has {engine.spec.chunk_tokens} tokens"
            )
    wrong = exact = 0
    encoded = engine.encode(drawn)
    for done, (chunk, visual) in enumerate(zip(drawn, encoded, strict=True), 1):
        reading = _generate(engine, Context("", (visual,), READ), chunk.tokens + 8)
        errors = min(distance(chunk.text, reading), len(chunk.text))
        wrong += errors
        exact += not errors
        progress(done, chunks)
    characters = sum(len(chunk.text) for chunk in drawn)
    return {
        "character_accuracy": 1 - wrong / characters,
        "exact_chunks": exact / chunks,
        "characters": characters,
        "chunks": chunks,
        **_ratios(drawn, sum(map(len, encoded))),
    }


def _ratios(chunks: Sequence[Chunk], visual_tokens: int) -> dict[str, float]:
    """How much shorter memory is than the text that it stands for."""
    return {
        "compression_ratio": sum(chunk.tokens for chunk in chunks) / visual_tokens,
        "characters_per_visual_token": sum(len(chunk.text) for chunk in chunks) / visual_tokens,
    }


def transcript_of(engine: Engine, conversation: Conversation) -> Transcript:
    """``conversation`` as a session would hold it."""
    transcript = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
    transcript.take(Message(role, text) for role, text in conversation.messages)  # type: ignore[arg-type]
    return transcript


def evaluate_recall(
    engine: TorchEngine,
    *,
    conversations: int = 200,
    seed: int = 12345,
    history: int = 1500,
    progress: Progress = _silent,
) -> dict[str, Any]:
    """Questions about held-out synthetic conversations of about ``history`` text tokens.

    Each question is asked three times: with the history in visual memory, with no history, and with
    as much of the newest history as text as fits into the same number of tokens.
    """
    rng = random.Random(seed)
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    total: Counter[str] = Counter()
    chunks: list[Chunk] = []
    lengths: list[int] = []
    for done in range(1, conversations + 1):
        wanted = int(history * rng.uniform(0.67, 1.33) * _CHARACTERS_PER_TOKEN)
        conversation = generate(rng, characters=wanted, split="heldout")
        transcript = transcript_of(engine, conversation)
        chunks += transcript.chunks
        visual = tuple(engine.encode(transcript.chunks))
        memory = engine.prefill("", visual)
        tokens = engine.chunker.count(transcript.text)
        tail_tokens = engine.chunker.count(transcript.tail)
        lengths.append(tokens)
        budget = sum(map(len, visual)) + tail_tokens
        newest = _newest(engine, transcript.text, budget)
        total.update(visual=sum(map(len, visual)))
        for question in conversation.questions:
            prompt = write([("user", question.text), ("assistant", "")])
            context = Context("", visual, transcript.tail + prompt)
            kind = question.kind if question.answerable else "unanswerable"
            prompt_tokens = engine.chunker.count(prompt)
            total.update(full=tokens + prompt_tokens, sent=budget + prompt_tokens)
            asked[kind] += 1
            reply = _generate(engine, context, ANSWER_TOKENS, memory=memory)
            right[kind] += is_right(question, reply)
            if question.answerable:
                alone = _generate(engine, Context("", (), prompt), ANSWER_TOKENS)
                right["without"] += is_right(question, alone)
                short = _without_folding(engine, Context("", (), newest + prompt))
                right["truncated"] += is_right(question, short)
        progress(done, conversations)
    answerable = sum(count for kind, count in asked.items() if kind != "unanswerable")
    found = sum(right[kind] for kind in asked if kind != "unanswerable")
    return {
        "exact_match": found / answerable,
        "exact_match_without_memory": right["without"] / answerable,
        "exact_match_truncated": right["truncated"] / answerable,
        "unanswerable_accuracy": right["unanswerable"] / max(1, asked["unanswerable"]),
        **_ratios(chunks, total["visual"]),
        "context_ratio": total["full"] / total["sent"],
        "questions": answerable,
        "unanswerable_questions": asked["unanswerable"],
        "history_text_tokens": sum(lengths) / len(lengths),
        "by_kind": {k: right[k] / n for k, n in sorted(asked.items()) if k != "unanswerable"},
        "conversations": conversations,
        "seed": seed,
        "model": engine.spec.model,
    }


def _newest(engine: Engine, text: str, tokens: int) -> str:
    """The newest ``tokens`` tokens of ``text``."""
    spans = engine.chunker.tokenizer.spans(text)
    return text[spans[-tokens][0] :] if 0 < tokens < len(spans) else text


def _without_folding(engine: TorchEngine, context: Context) -> str:
    """The answer when all text may stay text, however long."""
    spec = engine.spec
    try:
        engine.spec = replace(spec, keep_recent_chunks=spec.max_text_tokens)
        return _generate(engine, context, ANSWER_TOKENS)
    finally:
        engine.spec = spec
