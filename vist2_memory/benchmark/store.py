"""What the store costs: against its driver alone, and in bytes against a KV cache.

Tensors have random values and the sizes of real ones: how many visual tokens a chunk has follows
from the geometry and from how long its text is.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import cycle
from statistics import median
from typing import Any
from uuid import uuid4

import numpy as np

from vist2_memory.benchmark.drivers import Driver, RedisDriver, driver_of
from vist2_memory.benchmark.machine import machine, versions
from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model, open_engine
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.log import SessionLog
from vist2_memory.memory.recollection import Tensors
from vist2_memory.model.presets import SOURCES, preset
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.store import Scope, Store, open_store
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.formats import TensorFormat
from vist2_memory.types import Message, Role, VisualTokens

FINGERPRINT = f"{'0' * 32}-vist2-float32-"
"""As long as that of an engine."""
CHARACTERS_PER_TEXT_TOKEN = (3.6, 4.8)
"""Of Qwen3's tokens in English prose, from chunk to chunk."""
CHUNK_BYTES = 28_500
"""About what a chunk of the 0.6B model takes in bfloat16."""
FORMATS = (TensorFormat("bfloat16"), TensorFormat("int8"))
Progress = Callable[[int, int], None]


def measure_store(
    url: str,
    *,
    megabytes: tuple[float, ...] = (1.0, 8.0, 32.0),
    repeats: int = 15,
    text_tokens: int = 16_000,
    model: str = DEFAULT_MODEL,
    chunks: int = 200,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """All figures of the store at ``url``, which nobody else should use meanwhile.

    ``megabytes``: sizes of sessions to write and read; ``text_tokens``: of the session that is
    loaded, cut and stored as ``model`` does; ``chunks``: of each model that is compared to its KV
    cache. Ratios are of throughput in wall-clock time, ours to
    the driver's, medians over ``repeats``, with the middle half in ``range``; ``with_codec`` counts
    making and checking the bytes too, which the driver does not do. Null where there is no driver
    to compare to, or where a server does not tell what it holds.
    """
    if url == "memory://":
        raise InvalidInputError("memory:// keeps nothing between two openings: name another store")
    driver = driver_of(url)
    try:
        with open_store(url) as store:
            steps = len(megabytes) + 2
            by_size = []
            for done, size in enumerate(megabytes):
                progress(done, steps)
                by_size.append(_throughput(store, driver, size, repeats))
            progress(steps - 2, steps)
            session = _session(url, store, driver, text_tokens, model)
            progress(steps - 1, steps)
            ratios = {name: _kv_cache_ratios(store, driver, name, chunks) for name in SOURCES}
            progress(steps, steps)
            described = store.describe()
    finally:
        if driver is not None:
            driver.close()
    return {
        "read_ratio_to_raw": by_size[-1]["read_ratio_to_raw"],
        "write_ratio_to_raw": by_size[-1]["write_ratio_to_raw"],
        **session,
        "kv_cache_ratio": ratios,
        "by_size": by_size,
        "reason": _reason(driver),
        "characters_per_text_token": CHARACTERS_PER_TEXT_TOKEN,
        "repeats": repeats,
        "store": described.partition(":")[0],
        "time": "wall-clock",
        "machine": machine(),
        "versions": versions(("numpy", "redis", "hiredis", "safetensors")),
    }


def _reason(driver: Driver | None) -> str | None:
    """Why some figures are null."""
    if driver is None:
        return "several servers: only one is compared to its driver and asked what it holds"
    if not isinstance(driver, RedisDriver):
        return "no server that tells what it holds of each tensor"
    return None


def _throughput(store: Store, driver: Driver | None, size: float, repeats: int) -> dict[str, Any]:
    """Ours and the driver's in turns, for a session of about ``size`` megabytes."""
    scope = Scope(f"bench-{uuid4().hex}", "session", "throughput")
    form = FORMATS[0]
    tokens = list(_chunks("0.6B", form, max(1, round(size * 2**20 / CHUNK_BYTES))))
    data = {item.chunk_id: encode(item, scope, form) for item in tokens}
    ids = list(data)

    def made() -> None:
        store.put_many(scope, FINGERPRINT, {t.chunk_id: encode(t, scope, form) for t in tokens})

    def checked() -> None:
        found = store.get_many(scope, FINGERPRINT, ids)
        for chunk_id, read in zip(ids, found, strict=True):
            assert read is not None
            decode(read, scope=scope, fingerprint=FINGERPRINT, chunk_id=chunk_id)

    ways: dict[str, Callable[[], object]] = {
        "write": lambda: store.put_many(scope, FINGERPRINT, data),
        "read": lambda: store.get_many(scope, FINGERPRINT, ids),
        "write_with_codec": made,
        "read_with_codec": checked,
    }
    if driver is not None:
        ways |= {"raw_write": lambda: driver.put(data), "raw_read": lambda: driver.get(ids)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for turn in range(repeats + 1):  # the first turn warms up and is not counted
            order = list(ways)
            random.shuffle(order)  # none always follows the same other
            if not turn:
                order.sort(reverse=True)  # writes first
            for name in order:
                start = time.perf_counter()
                ways[name]()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    finally:
        store.delete(scope)
    figures: dict[str, Any] = {
        "megabytes": sum(map(len, data.values())) / 2**20,
        "chunks": len(data),
        "seconds": {name: median(values) for name, values in seconds.items()},
    }
    for name in ("read", "write", "read_with_codec", "write_with_codec"):
        raw = seconds.get(f"raw_{name.partition('_')[0]}")
        ratios = sorted(a / b for a, b in zip(raw, seconds[name], strict=True)) if raw else None
        figures[f"{name}_ratio_to_raw"] = ratios and median(ratios)
        if ratios:
            quarter = len(ratios) // 4
            spread = [ratios[quarter], ratios[-1 - quarter]]
            figures.setdefault("range", {})[f"{name}_ratio_to_raw"] = spread
    return figures


def _session(
    url: str, store: Store, driver: Driver | None, text_tokens: int, model: str
) -> dict[str, Any]:
    """A session as the model cuts and stores it: how long it takes to load, its bytes."""
    engine = open_engine(find_model(model), None, "cpu")
    namespace = f"bench-{uuid4().hex}"
    scope = Scope(namespace, "session", "long")
    try:
        log = SessionLog(store, lambda: engine, scope, Tensors(store))
        for message in _conversation():
            log.append(message)
            if sum(chunk.tokens for chunk in log.refresh().chunks) >= text_tokens:
                break
        chunks = log.refresh().chunks
        payload = _fill(store, engine, scope, log)
        held = driver and driver.stored(scope)
        seconds = []
        for _ in range(5):
            with VisualMemory.open(url, model=engine, namespace=namespace) as memory:
                start = time.perf_counter()
                session = memory.session(scope.name)
                found = memory.tensors.recollect(engine, scope, session.chunks())
                seconds.append(time.perf_counter() - start)
                assert found.cached_visual_tokens == sum(map(len, found.visual)) > 0
    finally:
        store.delete(scope)
        engine.close()
    tokens = sum(chunk.tokens for chunk in chunks)
    return {
        "load_16k_s": median(seconds),
        "bytes_per_1k_text_tokens": {
            "payload": payload / tokens * 1000,
            "stored": held and held["tensors"] / tokens * 1000,
            "log": held and held["log"] / tokens * 1000,
        },
        "loaded": {"text_tokens": tokens, "chunks": len(chunks), "range": _ends(seconds)},
        "model": model,
    }


def _fill(store: Store, engine: Engine, scope: Scope, log: SessionLog) -> int:
    """Put tensors of the right sizes in place of those of the log's chunks; their bytes."""
    draw = np.random.default_rng(0)
    width = engine.encode(log.refresh().chunks[:1])[0].values.shape[1]
    fingerprint, form = engine.spec.fingerprint, engine.spec.tensors
    data = {}
    for chunk in log.refresh().chunks:
        values = draw.standard_normal((engine.cost(chunk), width), dtype=np.float32)
        item = VisualTokens(chunk.id, form.rounded(values), fingerprint, chunk.tokens)
        data[chunk.id] = encode(item, scope, form)
    store.put_many(scope, fingerprint, data)
    return sum(map(len, data.values()))


def _kv_cache_ratios(
    store: Store, driver: Driver | None, name: str, chunks: int
) -> dict[str, float | None]:
    """Bytes of the KV cache of a text over those that the server holds of its visual tokens."""
    text: Any = preset(name).text_config
    kv = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * 2
    ratios: dict[str, float | None] = {}
    for form in FORMATS:
        scope = Scope(f"bench-{uuid4().hex}", "session", name)
        tokens = list(_chunks(name, form, chunks))
        try:
            data = {item.chunk_id: encode(item, scope, form) for item in tokens}
            store.put_many(scope, FINGERPRINT + form.code, data)
            held = driver and driver.stored(scope)
        finally:
            store.delete(scope)
        text_tokens = sum(item.text_tokens for item in tokens)
        ratios[form.dtype] = text_tokens * kv / held["tensors"] if held else None
    return ratios


def _chunks(name: str, form: TensorFormat, count: int) -> Iterator[VisualTokens]:
    """``count`` chunks of the size and width that the preset ``name`` has, of random values."""
    config: Any = preset(name)
    geometry = SketchGeometry(**config.geometry)
    draw = np.random.default_rng(0)
    for number in range(count):
        characters = config.chunk_tokens * draw.uniform(*CHARACTERS_PER_TEXT_TOKEN)
        shape = (geometry.visual_tokens(round(characters)), config.text_config.hidden_size)
        values = form.rounded(draw.standard_normal(shape, dtype=np.float32))
        yield VisualTokens(f"{number:032x}", values, FINGERPRINT, config.chunk_tokens)


def _conversation() -> Iterator[Message]:
    """The demonstration's conversation without end, never twice the same."""
    script = json.loads((resources.files("vist2_memory") / "assets" / "demo.json").read_text())
    said = [message for day in script["days"] for message in day["messages"]]
    for number, message in enumerate(cycle(said)):
        role: Role = "user" if message["role"] == "user" else "assistant"
        yield Message(role, f"{message['content']} ({number})", f"m{number}", time=1.0)


def _ends(values: list[float]) -> list[float]:
    return [min(values), max(values)]
