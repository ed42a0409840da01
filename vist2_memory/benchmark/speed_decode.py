"""Decoding with a history in context: seconds a token, folds in the stream, and batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from transformers import Cache

from vist2_memory.benchmark.speed_text import STEPS, TextTwin, layers, random_kv, synthetic
from vist2_memory.benchmark.turns import Timings, in_turns, spread
from vist2_memory.engine.ahead import AHEAD
from vist2_memory.engine.kv import KVCache, KVLayer
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.types import ChunkFolded, Context, Finished, GenerationParams, TextDelta

FOLDS = 4
"""Chunks that an answer fills where folds are timed."""


@dataclass(frozen=True, slots=True)
class Stream:
    """When the pieces of one answer came."""

    gaps: tuple[float, ...]
    """Seconds between one piece of text and the next."""
    folds: tuple[int, ...]
    """The gaps in which chunks were folded."""
    new_tokens: int

    @property
    def step(self) -> float:
        """Seconds of an ordinary step."""
        return median(self.gaps)

    @property
    def folding(self) -> float:
        """Seconds that folds, and the steps in which they are prepared, took beyond ordinary ones.

        What other steps take beyond that is the machine's own jitter.
        """
        steps = {place for fold in self.folds for place in range(fold - AHEAD - 1, fold + 1)}
        taken = [self.gaps[place] for place in steps if 0 <= place < len(self.gaps)]
        return max(0.0, sum(taken) - len(taken) * self.step)


def stream(
    engine: TorchEngine, context: Context, tokens: int, memory: KVCache | None = None
) -> Stream:
    """Let ``engine`` answer ``context`` with so many tokens. ``memory``: what it has read already,
    instead of the visual tokens of ``context``."""
    given: Any = {} if memory is None else {"memory": memory}
    params = GenerationParams(max_tokens=tokens)
    stamps, folds, new = list[float](), list[int](), 0
    for event in engine.generate(context, params, **given):
        if isinstance(event, TextDelta):
            stamps.append(time.perf_counter())
        elif isinstance(event, ChunkFolded):
            folds.append(len(stamps) - 1)
        elif isinstance(event, Finished):
            new = event.usage.new_tokens
    gaps = [after - before for before, after in pairwise(stamps)]
    return Stream(tuple(gaps), tuple(folds), new)


def measure_decode(
    engine: TorchEngine,
    twin: TextTwin,
    context: Context,
    caches: dict[str, Cache],
    repeats: int,
    memory: KVCache | None,
    done: Callable[[], None],
) -> tuple[Timings, dict[str, Any]]:
    """Seconds a token of both sides in turns, ``ours`` and ``text``, and how text was decoded.

    ``caches``: the text twin's, of the history; ``memory``: see :func:`stream`.
    """
    tail = engine.chunker.count(context.tail)
    steps = max(2, min(STEPS, engine.spec.fold_at(tail) - tail - 1))
    best, tried = twin.best(caches, steps)
    stream(engine, context, 2, memory)

    def ours() -> float:
        found = stream(engine, context, steps, memory)
        return sum(found.gaps) / (found.new_tokens - 1)

    def text() -> float:
        return twin.decode(best, caches[best.split()[0]], steps)

    seconds = in_turns({"ours": ours, "text": text}, repeats, done)
    return seconds, {"text_way": best, "text_seconds_tried": tried, "steps": steps}


def measure_folds(
    engine: TorchEngine,
    context: Context,
    repeats: int,
    done: Callable[[], None],
    memory: KVCache | None = None,
) -> dict[str, Any]:
    """An answer of several chunks: what folding takes of its time, and the longest wait in it.

    Time beyond ordinary steps (their median) counts as folding where a fold is prepared or done,
    the machine's own jitter in these steps too; the longest wait is that of any step.
    """
    tokens = FOLDS * engine.spec.chunk_tokens + 2
    streams = []
    for _ in range(repeats):
        streams.append(stream(engine, context, tokens, memory))
        done()
    share = [each.folding / sum(each.gaps) for each in streams]
    stalls = [max(each.gaps) / each.step for each in streams]
    seconds = [each.folding / len(each.folds) for each in streams if each.folds]
    return {
        "fold_share": median(share),
        "fold_share_range": spread(share),
        "longest_stall_steps": median(stalls),
        "longest_stall_range": spread(stalls),
        "fold_s": median(seconds) if seconds else None,
        "step_s": median(each.step for each in streams),
        "folds": len(streams[-1].folds),
        "tokens": tokens,
    }


@torch.inference_mode()
def synthetic_memory(
    engine: TorchEngine, tokens: int, layer: Callable[[], KVLayer] = KVLayer
) -> KVCache:
    """A memory of random keys and values, as long as ``tokens`` tokens. ``layer``: makes one."""
    model = engine.model.language_model
    memory = KVCache(model, layer)
    memory.reserve(tokens)
    keys, values = random_kv(model, tokens)
    for held in memory._layers:
        held.write(0, keys, values)
        held.length = tokens
    return memory


@torch.inference_mode()
def measure_batch(
    twin: TextTwin, text_tokens: int, our_tokens: int, batch: int, repeats: int, steps: int = 4
) -> dict[str, Any]:
    """Tokens a second of batches whose keys and values take the same bytes, in turns.

    ``batch``: sequences of text, each of ``text_tokens``; of ours there are as many more as they
    are shorter. Plain steps of the same model over random keys and values, on both sides.
    """
    ours = batch * text_tokens // our_tokens

    def tokens_in(size: int, tokens: int) -> Callable[[], float]:
        cache = synthetic(twin.model, tokens, size)
        token = torch.zeros(size, 1, dtype=torch.long, device=twin.device)

        def run() -> float:
            start = time.perf_counter()
            for _ in range(steps):
                output = twin.model(input_ids=token, past_key_values=cache, logits_to_keep=1)
                output.logits[:, -1].argmax(-1).tolist()
            seconds = time.perf_counter() - start
            for layer in layers(cache):
                layer.keys, layer.values = layer.keys[:, :, :tokens], layer.values[:, :, :tokens]
            return seconds / (steps * size)

        run()  # warms up
        return run

    ways = {"ours": tokens_in(ours, our_tokens), "text": tokens_in(batch, text_tokens)}
    seconds = in_turns(ways, repeats)
    pairs = [t / o for t, o in zip(seconds["text"], seconds["ours"], strict=True)]
    return {
        "ratio": median(pairs),
        "range": spread(pairs),
        "text_sequences": batch,
        "our_sequences": ours,
        "text_tokens_per_s": 1 / median(seconds["text"]),
        "our_tokens_per_s": 1 / median(seconds["ours"]),
    }
