"""Numbers as they are stored: rounded once, and to themselves after that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vist2_memory.errors import CodecError
from vist2_memory.store import Scope
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.formats import DTYPES, TensorFormat, widened
from vist2_memory.types import VisualTokens

SCOPE = Scope("acme", "session", "user-42")
ANY = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**120), max_value=2.0**120
)


@pytest.mark.parametrize("dtype", DTYPES)
@given(values=arrays(np.float32, (3, 8), elements=ANY))
def test_what_was_rounded_is_rounded_to_itself(dtype: Any, values: np.ndarray) -> None:
    form = TensorFormat(dtype, layers=2)
    once = form.rounded(values)
    np.testing.assert_array_equal(form.rounded(once), once)
    assert once.flags.writeable


@given(values=arrays(np.float32, (3, 8), elements=ANY))
def test_int8_is_within_half_a_step_of_each_layer(values: np.ndarray) -> None:
    found = TensorFormat("int8", layers=2).rounded(values)
    for token in range(3):
        for part in (slice(0, 4), slice(4, 8)):
            step = np.abs(values[token, part]).max() / 127
            wrong = np.abs(found[token, part].astype(float) - values[token, part])
            assert wrong.max() <= 0.5001 * step + 1e-40


def test_int8_gives_each_token_and_layer_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([[1e-6, 1.0, 1e6], [1e3, 1e-3, 0.0]])  # [tokens, layers]
    values = (rng.normal(size=(2, 3, 64)) * sizes[:, :, None]).astype(np.float32)
    form = TensorFormat("int8", layers=3)
    stored = form.narrowed(values.reshape(2, 192))
    assert (stored["scales"].shape, stored["values"].dtype) == ((2, 3), np.int8)
    assert np.abs(stored["values"]).max() == 127
    found = widened(stored).reshape(2, 3, 64)
    for token, layer in np.ndindex(2, 3):
        error = np.abs(found[token, layer] - values[token, layer]).max()
        assert error <= 0.0041 * np.abs(values[token, layer]).max()


def test_float32_is_read_without_a_copy() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    data = encode(VisualTokens("c", values, "f", 1), SCOPE, TensorFormat("float32"))
    found = decode(data, scope=SCOPE, fingerprint="f", chunk_id="c").values
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))
    assert not found.flags.writeable  # what is stored stays as it is


@pytest.mark.parametrize("width", [64, 1024])
def test_the_bytes_of_a_token_are_as_told(width: int) -> None:
    values = np.ones((7, width), np.float32)
    for form in (TensorFormat(), TensorFormat("float32"), TensorFormat("int8", layers=4)):
        arrays = form.narrowed(values).values()
        assert sum(array.nbytes for array in arrays) == 7 * form.bytes_per_token(width)


def test_formats_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="dtype='int4' is not allowed: one of bfloat16"):
        TensorFormat("int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers=0"):
        TensorFormat("int8", layers=0)
    with pytest.raises(CodecError, match="5 values cannot hold features of 2 layers"):
        TensorFormat("int8", layers=2).narrowed(np.zeros((1, 5), np.float32))
