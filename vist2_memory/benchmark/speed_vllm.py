"""vLLM on visual memory against vLLM on text: the same weights, the same engine, the same process.

The text twin is the checkpoint's own language model reading the history as token ids. Nothing is
found in a prefix cache: each request has a salt of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from vist2_memory.benchmark.machine import machine
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.engine.vllm.in_process import InProcess, sampling
from vist2_memory.engine.vllm.requests import Request
from vist2_memory.types import Chunk, Context, GenerationParams, VisualTokens

SESSIONS = 32
TAIL = " What did they say about it? "
_SENTENCE = "On day {0} the ferry left at {1} with {2} passengers and came back before noon. "


def measure_vllm(
    folder: Path,
    *,
    history: int = 4096,
    new_tokens: int = 64,
    repeats: int = 5,
    turns: int = 3,
    options: EngineOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """The checkpoint in ``folder`` on vLLM, with ``history`` text tokens behind each question.

    ``throughput_32_sessions_ratio``: generated tokens a second of 32 sessions at once to those of
    the same one after the other, ``new_tokens`` each, over ``turns``. ``ttft_ratio_warm``: time to
    the first token of the text twin over that from visual tokens that are at hand, over
    ``repeats``, in turns. ``sessions_at_equal_memory_ratio``: sessions with this history that
    vLLM's KV cache holds, by its own count of blocks, visual to text. Medians, with the least and
    the most in ``spread``. The engine is started here and stopped. Raises ``InvalidInputError``
    where vLLM is missing, and ``ValueError`` where the history is longer than the model reads.
    """
    engine = VLLMEngine(folder, options=options)
    try:
        chunks = made_chunks(engine, history)
        visual = tuple(engine.encode(chunks))
        read = sum(map(len, visual))
        if read > engine.spec.max_visual_tokens:
            raise ValueError(
                f"history={history}: {read} visual tokens, the model reads "
                f"{engine.spec.max_visual_tokens}"
            )
        steps = iter(count(1))
        of = repeats + turns + 2

        def told() -> None:
            progress(next(steps), of)

        first = _first_tokens(engine, chunks, visual, repeats, told)
        engine._never |= engine.stop_ids  # every answer has all of its tokens
        many = _throughput(engine, visual, new_tokens, turns, told)
        return {**first, **many, **_sessions(engine, chunks, read), "machine": machine()}
    finally:
        engine.close()


def made_chunks(engine: VLLMEngine, history: int) -> list[Chunk]:
    """Chunks of made-up prose of about ``history`` text tokens in all."""
    ids: list[int] = []
    days = count(1)
    while len(ids) < history:
        day = next(days)
        text = _SENTENCE.format(day, day % 24, 7 * day % 90)
        ids += engine.processor.tokenizer.encode(text)
    chunks = []
    while len(ids) >= engine.spec.chunk_tokens:
        chunk, ids = engine.first_chunk(ids)
        chunks.append(chunk)
    return chunks


def _first_tokens(
    engine: VLLMEngine,
    chunks: list[Chunk],
    visual: tuple[VisualTokens, ...],
    repeats: int,
    told: Callable[[], None],
) -> dict[str, Any]:
    text = engine.processor.tokenizer.encode("".join(chunk.text for chunk in chunks) + TAIL)
    params = GenerationParams(max_tokens=1)
    ratios, ours, theirs = [], [], []
    for turn in range(repeats + 1):  # the first turn warms up and is not counted
        context = Context("", visual, TAIL, cache_salt=f"visual-{turn}")
        start = time.perf_counter()
        list(engine.generate(context, params))
        middle = time.perf_counter()
        _as_text(engine, text, f"text-{turn}")
        end = time.perf_counter()
        if turn:
            ours.append(middle - start)
            theirs.append(end - middle)
            ratios.append(theirs[-1] / ours[-1])
        told()
    return {
        "history": len(text),
        "visual_tokens": sum(map(len, visual)),
        "ttft_ratio_warm": median(ratios),
        "ttft_spread": [min(ratios), max(ratios)],
        "ttft_visual_s": median(ours),
        "ttft_text_s": median(theirs),
    }


def _as_text(engine: VLLMEngine, ids: list[int], salt: str) -> None:
    """One greedy token after ``ids``, which vLLM embeds itself."""
    transport = engine.transport
    assert isinstance(transport, InProcess)
    prompt = {"prompt_token_ids": ids, "cache_salt": salt}
    request = Request(engine.encoder.embed([]), 1, tuple(engine.stop_ids))

    async def run() -> None:
        async for _ in transport.llm.generate(prompt, sampling(request), salt):
            pass

    asyncio.run_coroutine_threadsafe(run(), transport.loop).result()


def _throughput(
    engine: VLLMEngine,
    visual: tuple[VisualTokens, ...],
    new_tokens: int,
    turns: int,
    told: Callable[[], None],
) -> dict[str, Any]:
    """Each session has a salt of its own, so that none reads another's KV cache."""
    params = GenerationParams(max_tokens=new_tokens)
    salts = count()

    def answer(context: Context) -> int:
        *_, last = engine.generate(context, params)
        return int(last.usage.new_tokens)  # type: ignore[union-attr]

    def contexts() -> list[Context]:
        plain = Context("", visual, TAIL)
        return [replace(plain, cache_salt=f"session-{next(salts)}") for _ in range(SESSIONS)]

    ratios, together, alone = [], [], []
    with ThreadPoolExecutor(SESSIONS) as pool:
        for turn in range(turns + 1):
            asked = contexts()
            start = time.perf_counter()
            many = sum(pool.map(answer, asked))
            middle = time.perf_counter()
            if turn:
                asked = contexts()
                one_by_one = sum(map(answer, asked))
                together.append(many / (middle - start))
                alone.append(one_by_one / (time.perf_counter() - middle))
                ratios.append(together[-1] / alone[-1])
            told()
    return {
        "sessions": SESSIONS,
        "new_tokens": new_tokens,
        "throughput_32_sessions_ratio": median(ratios),
        "throughput_spread": [min(ratios), max(ratios)],
        "tokens_per_s_together": median(together),
        "tokens_per_s_alone": median(alone),
    }


def _sessions(engine: VLLMEngine, chunks: list[Chunk], visual: int) -> dict[str, Any]:
    """By the blocks that vLLM's KV cache has, and those that a session of either kind takes."""
    transport = engine.transport
    assert isinstance(transport, InProcess)
    cache = transport.config.cache_config
    blocks, block = int(cache.num_gpu_blocks), int(cache.block_size)
    tail = len(engine.processor.tokenizer.encode(TAIL))
    text = sum(chunk.tokens for chunk in chunks)

    def held(tokens: int) -> int:
        return blocks // -(-tokens // block)

    return {
        "kv_blocks": blocks,
        "kv_block_tokens": block,
        "sessions_visual": held(visual + tail),
        "sessions_text": held(text + tail),
        "sessions_at_equal_memory_ratio": held(visual + tail) / max(held(text + tail), 1),
    }
