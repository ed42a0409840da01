"""The parts of ``vist2 bench speed``: each measures one thing of a run, and gives figures for JSON.

A figure that cannot be had is null, and the run's ``reasons`` say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from transformers import Cache

from vist2_memory.benchmark.speed_decode import (
    measure_batch,
    measure_decode,
    measure_folds,
    synthetic_memory,
)
from vist2_memory.benchmark.speed_first import COLD, PREFIX, TEXT, WARM, FirstTokens
from vist2_memory.benchmark.speed_flops import Lengths, count_flops, flops_figures
from vist2_memory.benchmark.speed_limits import free_bytes
from vist2_memory.benchmark.speed_models import History
from vist2_memory.benchmark.speed_text import TextTwin, nbytes, synthetic
from vist2_memory.benchmark.turns import Timings, in_turns, ratios, spread
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.rounded import rounded_to
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.store import Scope, Store
from vist2_memory.types import Context, VisualTokens

GENERATED = 1000
"""Tokens of the answer whose operations are counted."""
PREFILL_LIMIT = 16_384
"""Text tokens that a CPU is asked to prefill; beyond, keys and values are synthetic."""
_SHARE = 0.6
"""Of free memory, that the caches of one part may take."""


@dataclass
class Run:
    """One run: its two sides, what both read, and what is known so far."""

    engine: TorchEngine
    twin: TextTwin
    history: History
    store: Store
    scope: Scope
    repeats: int
    done: Callable[[], None]
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a figure is null."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each stage of ours, and of two of text."""
    folder: Path = Path()
    """Where the checkpoint is."""
    flops: dict[str, Any] | None = None
    _memory: KVCache | None = None
    _text_cache: Cache | None = None

    def __post_init__(self) -> None:
        encode, engine = self.engine.processor.tokenizer.encode, self.engine
        self.ids = encode(self.history.text)
        self.tail = len(encode(self.history.tail))
        self.visual = sum(map(engine.cost, self.history.chunks))
        self.context_tokens = self.visual + self.tail
        self.real = engine.device.type == "cuda" or len(self.ids) <= PREFILL_LIMIT
        """Whether the history is read; else its keys and values are random."""
        self.first = FirstTokens(engine, self.twin, self.history, self.store, self.scope, self.ids)

    def fits(self, tokens: int) -> bool:
        """Whether there is memory for keys and values of so many tokens."""
        needed = tokens * self.engine.spec.kv_bytes_per_token
        return needed <= _SHARE * free_bytes(self.engine.device)

    def memory(self) -> KVCache:
        """Our keys and values of the history: read once, or random ones."""
        if self._memory is None:
            if self.real:
                self._memory = self.engine.prefill("", self.first.recollect())
            else:
                self._memory = synthetic_memory(self.engine, self.visual)
        return self._memory

    def may_hold(self) -> bool:
        """Whether the text twin's keys and values are held, or there is memory for them."""
        held = self._text_cache or self.first.held
        if held is None and not self.fits(len(self.ids)):
            self.reasons["text"] = f"no memory for keys and values of {len(self.ids):,} text tokens"
            return False
        return True

    def text_caches(self) -> dict[str, Cache]:
        """The text twin's caches of the history, of each kind that there is memory for."""
        held = self.text_cache()
        if not self.fits(len(self.ids)):
            self.reasons["static cache"] = "no memory for a second copy of keys and values"
            return {"dynamic": held}
        return self.twin.caches(held, 64)

    def text_cache(self) -> Cache:
        """The text twin's keys and values of the history: read once, or random ones."""
        if not self.real and self._text_cache is None:
            self._text_cache = synthetic(self.twin.model, len(self.ids))
        return self._text_cache or self.first.text_held()

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a step of the language model reads."""
        model = self.engine.model.language_model
        read = {id(p): p.nbytes for p in model.parameters()}
        head, table = model.get_output_embeddings(), model.get_input_embeddings()
        if head.weight is not table.weight:
            del read[id(table.weight)]
        return sum(read.values())

    def context(self) -> Context:
        """What both sides read, to be answered behind :meth:`memory`."""
        if self.real:
            visual = self.first.recollect()
        else:  # never read: keys and values are there
            width = self.engine.model.config.get_text_config().hidden_size
            nothing = np.broadcast_to(np.float32(0), (self.visual, width))
            visual = (VisualTokens("", nothing, "", len(self.ids) - self.tail),)
        return Context("", visual, self.history.tail, cache_salt="decode")


def measure_first(run: Run) -> dict[str, Any]:
    """Seconds to the first token, five ways, and their ratios."""
    if not run.real:
        run.reasons["ttft"] = f"a CPU is asked to prefill {PREFILL_LIMIT:,} text tokens at most"
        return {}
    first = run.first
    seconds = first.measure(run.repeats, (TEXT, COLD, WARM), run.done)
    again, caches = max(5, run.repeats), run.text_caches()
    next_turns: dict[str, Callable[[], float]] = {PREFIX: first.prefix}
    for kind, cache in caches.items():
        next_turns[f"text_prefix {kind}"] = partial(first.text_prefix, cache)
    in_turns(next_turns, 1)  # warms up
    first.reused.clear()
    seconds |= in_turns(next_turns, again, run.done)
    best = min((f"text_prefix {kind}" for kind in caches), key=lambda name: median(seconds[name]))
    run.seconds |= _stages(first, seconds)
    told: dict[str, Any] = {
        "ttft_ratio_cold": ratios(seconds[TEXT], seconds[COLD]),
        "ttft_ratio_warm": ratios(seconds[TEXT], seconds[WARM]),
    }
    if min(first.reused) >= run.visual:
        told["ttft_ratio_prefix"] = _apart(seconds[TEXT], seconds[PREFIX])
        told["ttft_ratio_prefix_to_text_prefix"] = ratios(seconds[best], seconds[PREFIX])
    else:
        run.reasons["ttft_ratio_prefix"] = (
            f"the engine used keys and values of {max(0, *first.reused)} tokens again, the "
            f"history has {run.visual}"
        )
    return {
        **told,
        "ttft": {name: spread(values) for name, values in seconds.items()},
        "text_prefix_way": best,
        "reused_tokens": median(first.reused),
        "peak_memory_bytes": first.peaks,
    }


def _stages(first: FirstTokens, seconds: Timings) -> dict[str, float]:
    """What the stages of a cold and a warm start took, as medians."""
    found = {
        name: median(stages.get(name, 0.0) for stages in first.stages)
        for name in ("draw", "encode", "store")
    }
    read = median(first.reads)
    prefill = median(w - r for w, r in zip(seconds[WARM], first.reads, strict=True))
    return {**found, "read": read, "prefill": prefill, "text_prefill": median(seconds[TEXT])}


def _apart(over: list[float], under: list[float]) -> dict[str, float]:
    """A ratio of medians, of turns that were not the same."""
    return {
        "median": median(over) / median(under),
        "min": min(over) / max(under),
        "max": max(over) / min(under),
    }


def measure_memory(run: Run) -> dict[str, Any]:
    """Bytes of keys and values that are held of the history and the newest text."""
    if not run.may_hold():
        return {}
    memory = run.memory().fork()
    memory.append(run.engine.encoder.embed(run.engine.processor.tokenizer.encode(run.history.tail)))
    text = nbytes(run.text_cache())
    eight = synthetic_memory(run.engine, run.context_tokens, rounded_to("int8")).nbytes
    sixteen = text * 2 // run.engine.model.dtype.itemsize
    return {
        "kv_memory_ratio": memory.nbytes / text,
        "kv_memory_ratio_int8": eight / sixteen,
        "kv_memory": {
            "ours": memory.nbytes,
            "ours_allocated": memory.allocated,
            "ours_int8": eight,
            "text": text,
            "text_in_16_bits": sixteen,
            "visual_tokens": run.visual,
            "text_tokens_beside": run.tail,
            "text_tokens": len(run.ids),
        },
    }


def measure_decoding(run: Run) -> dict[str, Any]:
    """Tokens a second behind the history, both sides."""
    if not run.may_hold():
        return {}
    caches, again = run.text_caches(), max(3, run.repeats)
    seconds, how = measure_decode(
        run.engine, run.twin, run.context(), caches, again, run.memory(), run.done
    )
    ratio = ratios(seconds["text"], seconds["ours"])
    weights, token = run.weight_bytes, run.engine.spec.kv_bytes_per_token
    run.seconds |= {"decode": median(seconds["ours"]), "text_decode": median(seconds["text"])}
    return {
        "decode_ratio": ratio,
        "decode": {
            "tokens_per_s": {name: 1 / median(values) for name, values in seconds.items()},
            "seconds_per_token": {name: spread(values) for name, values in seconds.items()},
            "bound": (weights + token * len(run.ids)) / (weights + token * run.context_tokens),
            "synthetic_kv": not run.real,
            **how,
        },
    }


def measure_folding(run: Run) -> dict[str, Any]:
    """An answer of several chunks: the share of folding, and the longest wait."""
    found = measure_folds(run.engine, run.context(), run.repeats, run.done, run.memory())
    if found["fold_s"] is not None:
        run.seconds["fold"] = found["fold_s"]
    return {"fold_share": found["fold_share"], "fold": found}


def measure_batches(run: Run, sequences: int) -> dict[str, Any]:
    """Throughput of batches whose keys and values take the same bytes."""
    while sequences > 1 and not run.fits(2 * sequences * len(run.ids)):
        sequences //= 2
    if not run.fits(2 * sequences * len(run.ids)):
        run.reasons["batch"] = f"no memory for keys and values of {2 * len(run.ids):,} tokens"
        return {}
    found = measure_batch(run.twin, len(run.ids), run.context_tokens, sequences, run.repeats)
    found["bound"] = len(run.ids) / run.context_tokens
    return {"batch_throughput_ratio": found["ratio"], "batch": found}


def measure_flops(run: Run) -> dict[str, Any]:
    """Operations of both sides, counted."""
    spec, config = run.engine.spec, run.engine.model.config
    lengths = Lengths(
        visual=run.visual,
        text=len(run.ids),
        tail=run.tail,
        chunks=len(run.history.chunks),
        chunk_tokens=spec.chunk_tokens,
        keep_recent=spec.keep_recent,
        fold_at=spec.fold_at(run.tail),
        patches=round(run.visual / len(run.history.chunks))
        * run.engine.processor.geometry.patches_per_strip,
    )
    run.flops = count_flops(config, lengths, GENERATED)
    return flops_figures(run.flops)
