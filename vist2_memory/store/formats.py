"""Numbers of visual tokens as they are stored: float32, bfloat16, or int8 with scales.

int8 is symmetric: a token's values are whole numbers from -127 to 127 times one scale, of which it
has one for each layer of the language model that it carries features for, since those differ in
size. Scales keep 16 significant bits, so that 127 times a scale is exact and what was rounded once
is rounded to itself. It knows nothing of files, models or scopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from vist2_memory.errors import CodecError

DType: TypeAlias = Literal["bfloat16", "float32", "int8"]
DTYPES: tuple[str, ...] = get_args(DType)

_CODES = {"bfloat16": "bf16", "float32": "f32", "int8": "i8"}
_LARGEST = 127


@dataclass(frozen=True, slots=True)
class TensorFormat:
    """How the visual tokens of one engine are stored."""

    dtype: DType = "bfloat16"
    """bfloat16 (2 bytes a value), float32 (4) or int8 (1, and 4 a scale)."""
    layers: int = 1
    """Layers of the language model whose features stand end to end in a token's values."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r} is not allowed: one of {', '.join(DTYPES)}")
        if self.layers < 1:
            raise ValueError(f"layers={self.layers!r} is not allowed: 1 or more")

    @property
    def code(self) -> str:
        """Its part of a fingerprint."""
        return _CODES[self.dtype]

    def bytes_per_token(self, width: int) -> int:
        """Bytes that a token of ``width`` values takes, without what a file adds."""
        size = {"bfloat16": 2, "float32": 4, "int8": 1}[self.dtype]
        return width * size + (4 * self.layers if self.dtype == "int8" else 0)

    def rounded(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """``values``, shape (tokens, width), as they are after storing and reading; writable."""
        return np.require(widened(self.narrowed(values)), requirements="W")

    def narrowed(self, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """The arrays to store: ``values`` (tokens, width), for int8 ``scales`` (tokens, layers).

        bfloat16 rounds to nearest, ties to even. Raises `CodecError` for values that are not finite
        (in this dtype too), or of a width that the layers do not share equally.
        """
        with np.errstate(over="ignore"):
            exact = np.ascontiguousarray(values, dtype="<f4")  # [T, W]
        if not np.isfinite(exact).all():
            raise CodecError("visual tokens that are not finite are not stored")
        if self.dtype == "int8":
            stored = _quantised(exact, self.layers)
        elif self.dtype == "bfloat16":
            bits: npt.NDArray[Any] = exact.view(np.uint32)
            bits = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
            stored = {"values": bits.astype("<u2")}
        else:
            return {"values": exact}
        if not np.isfinite(widened(stored)).all():
            raise CodecError(f"visual tokens that are not finite in {self.dtype} are not stored")
        return stored


DEFAULT_FORMAT = TensorFormat()


def widened(stored: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """The float32 values, shape (tokens, width), of arrays that `TensorFormat.narrowed` gave.

    Stored float32 is not copied.
    """
    values = stored["values"]
    if values.dtype.kind == "u":
        bits: npt.NDArray[Any] = np.left_shift(values, 16, dtype=np.uint32)
        return bits.view(np.float32)
    if values.dtype.kind == "f":
        return values
    scales = stored["scales"]
    tokens, layers = scales.shape
    parts = values.reshape(tokens, layers, -1)  # [T, L, W / L]
    with np.errstate(over="ignore"):
        out: npt.NDArray[np.float32] = np.multiply(parts, scales[:, :, None], dtype=np.float32)
    return out.reshape(values.shape)


def _quantised(values: npt.NDArray[Any], layers: int) -> dict[str, npt.NDArray[Any]]:
    tokens, width = values.shape
    if width % layers:
        raise CodecError(f"a token of {width} values cannot hold features of {layers} layers")
    parts = values.reshape(tokens, layers, -1)
    largest = np.maximum(parts.max(axis=2), -parts.min(axis=2))  # [T, L]
    bits = np.ascontiguousarray(largest / np.float32(_LARGEST), dtype="<f4").view("<u4")
    scales = ((bits + np.uint32(0xFF)) & ~np.uint32(0xFF)).view("<f4")  # upwards, 16 bits
    divisors = np.where(scales > 0, scales, np.float32(1))[:, :, None]
    whole = np.rint(parts / divisors).astype(np.int8)
    return {"scales": scales, "values": whole.reshape(values.shape)}
