"""Visual memory against the text-only twin: the same language model reading the same history.

Both run in one process on one machine, in turns. What is compared, and what is not, is told beside
the figures: which weights are random, whose keys and values are synthetic, and why a figure is
null.
"""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable, Collection
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from vist2_memory.benchmark.machine import machine, versions
from vist2_memory.benchmark.speed_flops import count_flops, flops_figures, sized_lengths
from vist2_memory.benchmark.speed_limits import Limits, measure_limits
from vist2_memory.benchmark.speed_models import (
    BUNDLED,
    default_tower,
    made_history,
    opened_engine,
    sized_config,
    talked_history,
)
from vist2_memory.benchmark.speed_parts import (
    GENERATED,
    Run,
    measure_batches,
    measure_decoding,
    measure_first,
    measure_flops,
    measure_folding,
    measure_memory,
)
from vist2_memory.benchmark.speed_text import TextTwin
from vist2_memory.engine.options import EngineOptions
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.presets import SOURCES
from vist2_memory.store import Scope, open_store
from vist2_memory.types import Context, GenerationParams

PARTS = ("first", "memory", "decode", "fold", "batch", "flops", "vllm")
"""What may be skipped."""
RATIOS = (
    "ttft_ratio_warm",
    "ttft_ratio_prefix",
    "ttft_ratio_cold",
    "ttft_ratio_prefix_to_text_prefix",
    "kv_memory_ratio",
    "kv_memory_ratio_int8",
    "flops_ratio_warm",
    "flops_ratio_cold",
    "flops_ratio_generation",
    "decode_ratio",
    "batch_throughput_ratio",
    "fold_share",
)
"""The figures of one number; null where they could not be had."""


def measure_speed(
    model: str = BUNDLED,
    *,
    history: int = 4096,
    tower: str | None = None,
    ratio: float = 4.0,
    store: str = "memory://",
    repeats: int = 3,
    skip: Collection[str] = (),
    batch: int = 4,
    device: str | None = None,
    dtype: str | None = None,
    compiled: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """All figures of ``model`` with ``history`` text tokens behind it.

    ``model``: ``bundled``, a size of ``model/presets.py`` (random weights), or a folder. ``tower``
    and ``ratio`` (text tokens a visual token) are of random weights only. ``store``: where visual
    tokens are read from. ``skip``: of ``PARTS``; their figures are null. ``batch``: sequences of
    text in the batch that is compared. ``dtype``: bfloat16 for random weights, else what the engine
    takes. ``compiled``: whether the engine compiles its steps. Ratios are medians over ``repeats``;
    ``ranges`` has the smallest and largest. Raises ``InvalidInputError`` for arguments that are
    none.
    """
    _check(skip, history=history, repeats=repeats, batch=batch)
    if model in SOURCES and set(PARTS) - set(skip) == {"flops"}:
        return _only_counted(model, tower or default_tower(model), history, ratio)
    done = _counted(progress, 4 * repeats + 2 * max(5, repeats) + 12)
    scope = Scope(f"bench-{uuid4().hex}", "session", "speed")
    exact = dtype or ("bfloat16" if model in SOURCES else None)
    options = EngineOptions.of({"device": device, "dtype": exact, "compile": compiled})
    with (
        opened_engine(model, tower, history, options) as (engine, folder),
        open_store(store) as kept,
    ):
        engine.check(GenerationParams())  # what is made at the first answer is made here
        engine.stop_ids = frozenset()  # answers are as long as they are asked for
        made = model in SOURCES
        text = made_history(engine, history, ratio) if made else talked_history(engine, history)
        twin = TextTwin(engine.model.language_model)
        run = Run(engine, twin, text, kept, scope, repeats, done, folder=folder)
        try:
            figures = _measured(run, skip, batch)
        finally:
            kept.delete(scope)
        limits = measure_limits(engine.device, engine.model.dtype)
        stages = dict(run.seconds)
        ranges = {n: v for n, v in figures.items() if n in RATIOS and isinstance(v, dict)}
        figures |= {name: value["median"] for name, value in ranges.items()}
        progress(1, 1)
        return {
            **dict.fromkeys(RATIOS),
            **figures,
            "stages": stages,
            "limits": shares(run, limits),
            "measured_limits": {
                "flops_per_s": limits.flops_per_s,
                "bytes_per_s": limits.bytes_per_s,
            },
            "ranges": ranges,
            "reasons": run.reasons,
            "notes": _notes(run, made),
            "model": model,
            "tower": (tower or default_tower(model)) if made else None,
            "history_asked": history,
            "history_text_tokens": len(run.ids),
            "visual_tokens": run.visual,
            "compression_ratio": sum(c.tokens for c in text.chunks) / run.visual,
            "repeats": repeats,
            "store": store.partition(":")[0],
            "device": _device_name(engine.device),
            "dtype": str(engine.model.dtype).removeprefix("torch."),
            "compiled": compiled,
            "threads": torch.get_num_threads(),
            "time": "wall-clock",
            "commit": _commit(),
            "machine": machine(),
            "versions": versions(("torch", "transformers", "numpy")),
        }


def _only_counted(model: str, tower: str, history: int, ratio: float) -> dict[str, Any]:
    """Operations alone: no weights are made, so that any size is counted on any machine."""
    config = sized_config(model, tower, history)
    lengths = sized_lengths(config, history, ratio)
    figures = flops_figures(count_flops(config, lengths, GENERATED))
    reasons = dict.fromkeys((part for part in PARTS if part != "flops"), "skipped")
    return {
        **dict.fromkeys(RATIOS),
        **figures,
        "vllm": None,
        "stages": {},
        "limits": {},
        "ranges": {},
        "reasons": reasons,
        "notes": ["operations alone were counted: the model was not made"],
        "model": model,
        "tower": tower,
        "history_asked": history,
        "history_text_tokens": lengths.text,
        "visual_tokens": lengths.visual,
        "compression_ratio": (lengths.text - lengths.tail) / lengths.visual,
        "commit": _commit(),
        "machine": machine(),
        "versions": versions(("torch", "transformers", "numpy")),
    }


def shares(run: Run, limits: Limits) -> dict[str, float | None]:
    """Each stage's share of what the machine could do at most; see :class:`Limits`."""
    spec, stages, geometry = run.engine.spec, run.seconds, run.engine.processor.geometry
    flops = {n: f["causal"] for n, f in run.flops["operations"].items()} if run.flops else {}
    weights, token = run.weight_bytes, spec.kv_bytes_per_token
    strips = run.visual * geometry.cells_per_strip
    width = run.engine.model.config.get_text_config().hidden_size
    tensors = run.visual * spec.tensors.bytes_per_token(width)
    work: dict[str, tuple[float, float]] = {  # operations, bytes
        "draw": (0.0, strips * geometry.cell_width * geometry.cell_height),
        "encode": (flops.get("encode", 0.0), 0.0),
        "store": (0.0, tensors),
        "read": (0.0, tensors),
        "prefill": (flops.get("prefill", 0.0), weights),
        "decode": (0.0, weights + token * run.context_tokens),
        "fold": (flops.get("fold", 0.0), weights),
        "text_prefill": (flops.get("text_prefill", 0.0), weights),
        "text_decode": (0.0, weights + token * len(run.ids)),
    }
    return {name: limits.share(stages.get(name), *least) for name, least in work.items()}


def measure_vllm(run: Run) -> dict[str, Any]:
    """vLLM on visual memory against vLLM on text, where vLLM is installed."""
    if importlib.util.find_spec("vllm") is None:
        return {"vllm": None, "vllm_reason": "vLLM is not installed here"}
    from vist2_memory.benchmark import speed_vllm

    history = sum(chunk.tokens for chunk in run.history.chunks)
    options = EngineOptions(dtype=run.engine.options.dtype)
    try:
        found = speed_vllm.measure_vllm(
            run.folder, history=history, repeats=run.repeats, options=options
        )
    except ValueError as error:  # as a history that the model cannot read
        return {"vllm": None, "vllm_reason": str(error)}
    return {"vllm": found}


def _measured(run: Run, skip: Collection[str], batch: int) -> dict[str, Any]:
    """The figures of all parts that are not skipped."""
    run.twin.prefill(run.ids[:256])  # warms up
    some = tuple(run.engine.encode(run.history.chunks[:1]))
    context = Context("", some, run.history.tail, cache_salt="warms up")
    list(run.engine.generate(context, GenerationParams(max_tokens=4)))
    run.done()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "first": lambda: measure_first(run),
        "memory": lambda: measure_memory(run),
        "decode": lambda: measure_decoding(run),
        "fold": lambda: measure_folding(run),
        "batch": lambda: measure_batches(run, batch),
        "flops": lambda: measure_flops(run),
        "vllm": lambda: measure_vllm(run),
    }
    figures: dict[str, Any] = {"vllm": None}
    for name, part in parts.items():
        if name in skip:
            run.reasons[name] = "skipped"
            continue
        figures |= part()
        run.done()
    return figures


def _check(skip: Collection[str], **counts: int) -> None:
    for part in skip:
        if part not in PARTS:
            raise InvalidInputError(f"skip={part!r} is no part: give {', '.join(PARTS)}")
    for name, value in counts.items():
        if value < 1:
            raise InvalidInputError(f"{name}={value} is not allowed: 1 or more")


def _counted(progress: Callable[[int, int], None], total: int) -> Callable[[], None]:
    steps = count(1)
    progress(0, total)
    return lambda: progress(min(next(steps), total), total)


def _notes(run: Run, made: bool) -> list[str]:
    """What a reader of the figures should know."""
    notes = []
    if made:
        notes += [
            "weights are random: how long a step takes does not depend on them",
            "the tokenizer is the bundled model's, in a vocabulary of the real size; the history "
            "is of words of three or four letters, so that chunks cost what the ratio says",
            "the model has positions for the history, also where the published one has fewer",
        ]
    asked, found = run.history.asked, sum(chunk.tokens for chunk in run.history.chunks)
    if found + run.engine.spec.chunk_tokens < asked:
        notes.append(
            f"{asked:,} text tokens were asked for; the model reads "
            f"{run.engine.spec.max_visual_tokens:,} visual tokens, so the history has {found:,}"
        )
    if not run.real:
        notes.append("keys and values of the history are random on both sides, of the right size")
    notes.append("batches: plain steps behind random keys and values on both sides")
    return notes


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _commit() -> str | None:
    """Of the checkout that this file is in, with a mark where it was changed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
