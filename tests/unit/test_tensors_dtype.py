"""The format of visual tokens is a part of their identity: no process reads another's"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.memories import tell
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import CodecError, InvalidInputError
from vist2_memory.store import InMemoryStore
from vist2_memory.store.codec import decode
from vist2_memory.store.formats import DTYPES
from vist2_memory.types import GenerationParams

pytest_plugins = ("tests.support.fixtures",)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_stored_is_what_was_encoded(checkpoint: Path, dtype: Any) -> None:
    engine = TorchEngine(checkpoint, device="cpu", tensors_dtype=dtype)
    memory = VisualMemory.open("memory://", model=engine)
    session = tell(memory.session("a"))
    for chunk, tokens in zip(session.chunks(), engine.encode(session.chunks()), strict=True):
        asked = {"fingerprint": engine.spec.fingerprint, "chunk_id": chunk.id}
        [data] = memory.store.get_many(session.scope, engine.spec.fingerprint, [chunk.id])
        assert data is not None
        found = decode(data, scope=session.scope, **asked)
        form = engine.spec.tensors
        np.testing.assert_array_equal(form.rounded(found.values), found.values)
        step = 1e-5 if dtype == "float32" else 0.01  # other batches differ in the last digits
        np.testing.assert_allclose(found.values, tokens.values, atol=step)
    end = session.ask("Who?", params=GenerationParams(max_tokens=3))
    assert end.degraded == ()
    assert end.usage.cached_visual_tokens == end.usage.visual_tokens > 0


def test_memories_of_other_formats_never_mix(checkpoint: Path) -> None:
    store = InMemoryStore()
    params = GenerationParams(max_tokens=3)
    engines = {
        dtype: TorchEngine(checkpoint, device="cpu", tensors_dtype=dtype)  # type: ignore[arg-type]
        for dtype in DTYPES
    }
    fingerprints = [engine.spec.fingerprint for engine in engines.values()]
    assert len({name.rpartition("-")[0] for name in fingerprints}) == 1  # the same model
    assert [name.rpartition("-")[2] for name in fingerprints] == ["bf16", "f32", "i8"]
    tell(VisualMemory.open(store, model=engines["int8"]).session("a"))
    for dtype in ("bfloat16", "float32"):
        session = VisualMemory.open(store, model=engines[dtype]).session("a")
        end = session.ask(f"Who of {dtype}?", params=params)
        assert end.degraded == ()  # an ordinary miss
        assert end.usage.visual_tokens > end.usage.cached_visual_tokens
    session = VisualMemory.open(store, model=engines["int8"]).session("a")
    chunk = session.chunks()[0]
    mine, theirs = engines["int8"].spec.fingerprint, engines["float32"].spec.fingerprint
    [data] = store.get_many(session.scope, theirs, [chunk.id])
    assert data is not None
    with pytest.raises(CodecError, match="was made by"):  # lying in the other's place
        decode(data, scope=session.scope, fingerprint=mine, chunk_id=chunk.id)


def test_the_format_is_chosen_where_a_memory_is_opened(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dtype_of(**options: Any) -> str:
        with VisualMemory.open("memory://", model=checkpoint, device="cpu", **options) as memory:
            return memory.engine.spec.tensors.dtype

    assert dtype_of() == "bfloat16"
    monkeypatch.setenv("VIST2_TENSORS_DTYPE", "int8")
    assert dtype_of() == "int8"
    assert dtype_of(tensors_dtype="float32") == "float32"
    assert VisualMemory.open("memory://", model=PlainEngine()).engine.spec.model == "plain"
    monkeypatch.setenv("VIST2_TENSORS_DTYPE", "int4")
    with pytest.raises(InvalidInputError, match="tensors_dtype='int4' is not allowed"):
        VisualMemory.open("memory://", model=checkpoint)
    with pytest.raises(InvalidInputError, match="where an engine is made"):
        VisualMemory.open("memory://", model=PlainEngine(), tensors_dtype="int8")
