"""VisualTokens <-> bytes: a safetensors file that names what it is and proves that it is whole.

The file has one tensor, ``values``, and in its metadata (one JSON object) the codec version, the
fingerprint, the chunk id, the text tokens it stands for, and a checksum. The checksum is BLAKE2b
over the key of the scope and every byte of the file (its own digits taken as zeros), so a value
that was damaged, or copied from another scope, is refused. It is no signature: who can write to
the store can forge it.

Stored bytes are read as data only: the header is JSON, nothing is unpickled, and what is allocated
is at most twice what was stored.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import safetensors

from vist2_memory.errors import CodecError, FingerprintMismatchError
from vist2_memory.store.base import Scope
from vist2_memory.types import VisualTokens

CODEC_VERSION = 1
MAX_HEADER_BYTES = 8192
MAX_TOKENS = 65_536
MAX_HIDDEN = 65_536
MAX_ID_LENGTH = 256

DType: TypeAlias = Literal["bfloat16", "float16", "float32"]
DTYPES: tuple[str, ...] = get_args(DType)

_STORED: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
}
_NO_CHECKSUM = b"0" * 64
_METADATA = {"checksum": str, "codec": int, "fingerprint": str, "chunk_id": str, "text_tokens": int}


def encode(tokens: VisualTokens, scope: Scope, dtype: DType = "bfloat16") -> bytes:
    """The bytes to store. ``tokens.values`` has shape (visual tokens, hidden size).

    bfloat16 rounds to nearest, ties to even. Raises `CodecError` for values that are not finite (in
    ``dtype``) or of a wrong shape, `ValueError` for an unknown ``dtype``.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} is not allowed: one of {', '.join(DTYPES)}")
    values = np.asarray(tokens.values)
    if values.dtype.kind != "f":
        raise CodecError(f"visual tokens must be floating-point numbers, not {values.dtype}")
    _check_shape(list(values.shape))
    _check_ids(tokens)
    with np.errstate(over="ignore"):
        stored = _narrowed(values.astype(np.float32), dtype)  # [T, H] in the stored dtype
    metadata = {
        "checksum": _NO_CHECKSUM.decode(),
        "codec": CODEC_VERSION,
        "fingerprint": tokens.fingerprint,
        "chunk_id": tokens.chunk_id,
        "text_tokens": tokens.text_tokens,
    }
    data = _serialized(stored, dtype, metadata)
    start = data.index(_NO_CHECKSUM)
    return b"".join((data[:start], _checksum(data, start, scope), data[start + 64 :]))


def decode(data: bytes, *, scope: Scope, fingerprint: str, chunk_id: str) -> VisualTokens:
    """The visual tokens, with float32 values; what was stored must be exactly what is asked for.

    Raises `CodecError` if the bytes are damaged, not ours, or written for another scope or chunk,
    and `FingerprintMismatchError` if another model or codec version made them.
    """
    header, size = _header(data)
    metadata = _metadata(header)
    checksum = metadata["checksum"].encode("ascii", "replace")
    start = data.find(checksum, 0, size)
    if len(checksum) != len(_NO_CHECKSUM) or start < 0:
        raise CodecError("the stored tensor has no readable checksum: damaged")
    if _checksum(data, start, scope) != checksum:
        raise CodecError(
            f"the stored tensor's checksum does not hold in {scope.key}: "
            "damaged, or written for another scope"
        )
    if metadata["chunk_id"] != chunk_id:
        raise CodecError(f"a tensor of chunk {metadata['chunk_id']!r} lies under {chunk_id!r}")
    if metadata["fingerprint"] != fingerprint:
        raise FingerprintMismatchError(
            f"the tensor was made by {metadata['fingerprint']!r}, not by {fingerprint!r}"
        )
    return VisualTokens(
        chunk_id, _values(data, header), fingerprint, text_tokens=metadata["text_tokens"]
    )


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON object before the values, and where the values begin."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise CodecError(f"{len(data)} stored bytes are not a tensor: no header of allowed length")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError):
        raise CodecError("the stored tensor's header is not JSON: damaged") from None
    if not isinstance(header, dict) or header.keys() != {"values", "__metadata__"}:
        raise CodecError("the stored tensor's header does not name exactly one tensor, 'values'")
    return header, 8 + length


def _metadata(header: dict[str, Any]) -> dict[str, Any]:
    """What the file says of itself, with every field of its right type."""
    outer = header["__metadata__"]
    try:
        metadata = json.loads(outer["vist2"])
        version = metadata["codec"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise CodecError("the stored tensor's metadata is damaged, or not ours") from None
    if version != CODEC_VERSION:
        raise FingerprintMismatchError(
            f"the tensor has codec version {version!r}; this release reads {CODEC_VERSION}"
        )
    kinds = {name: type(value) for name, value in metadata.items()}
    if kinds != _METADATA or metadata["text_tokens"] < 0:
        raise CodecError("the stored tensor's metadata is not complete")
    return dict(metadata)


def _values(data: bytes, header: dict[str, Any]) -> npt.NDArray[np.float32]:
    """The tensor of a file whose header was read; shape (visual tokens, hidden size)."""
    spec = header["values"]
    shape = spec.get("shape") if isinstance(spec, dict) else None
    if not isinstance(shape, list) or str(spec.get("dtype")) not in _STORED:
        raise CodecError("the stored tensor has no known dtype and shape")
    _check_shape(shape)
    try:
        [(_, tensor)] = safetensors.deserialize(data)
    except Exception as error:  # the library's own class, which is no subclass of a narrower one
        raise CodecError(f"the stored tensor is not a safetensors file: {error}") from None
    stored = np.frombuffer(tensor["data"], dtype=_STORED[spec["dtype"]]).reshape(shape)  # [T, H]
    values = _widened(stored)
    if not np.isfinite(values).all():
        raise CodecError("the stored tensor has values that are not finite")
    return values


def _narrowed(values: npt.NDArray[np.float32], dtype: DType) -> npt.NDArray[Any]:
    if dtype == "bfloat16":
        if not np.isfinite(values).all():
            raise CodecError("visual tokens that are not finite are not stored")
        bits: npt.NDArray[Any] = np.ascontiguousarray(values).view(np.uint32)
        bits = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        stored = bits.astype(_STORED["BF16"])
    else:
        stored = np.ascontiguousarray(values, dtype=_STORED["F16" if dtype == "float16" else "F32"])
    if not np.isfinite(_widened(stored)).all():
        raise CodecError(f"visual tokens that are not finite in {dtype} are not stored")
    return stored


def _widened(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if stored.dtype.kind == "u":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def _serialized(stored: npt.NDArray[Any], dtype: DType, metadata: dict[str, Any]) -> bytes:
    # safetensors 0.8 takes a description of the memory, earlier versions the bytes.
    if hasattr(safetensors, "TensorSpec"):
        spec: Any = safetensors.TensorSpec(
            dtype=dtype,
            shape=list(stored.shape),
            data_ptr=stored.ctypes.data,
            data_len=stored.nbytes,
        )
    else:
        spec = {"dtype": dtype, "shape": list(stored.shape), "data": stored.tobytes()}
    # safetensors keeps no order among several entries: with one, equal tensors are equal bytes.
    note = json.dumps(metadata, ensure_ascii=True, separators=(",", ":"))
    return bytes(safetensors.serialize({"values": spec}, {"vist2": note}))


def _checksum(data: bytes, start: int, scope: Scope) -> bytes:
    """64 hexadecimal digits over the scope and the file, whose own checksum is at ``start``."""
    key = scope.key.encode("ascii")
    view = memoryview(data)
    digest = blake2b(len(key).to_bytes(4, "little") + key, digest_size=32)
    digest.update(view[:start])
    digest.update(_NO_CHECKSUM)
    digest.update(view[start + len(_NO_CHECKSUM) :])
    return digest.hexdigest().encode("ascii")


def _check_shape(shape: list[Any]) -> None:
    limits = (MAX_TOKENS, MAX_HIDDEN)
    if len(shape) != 2 or not all(
        type(size) is int and 1 <= size <= limit for size, limit in zip(shape, limits, strict=True)
    ):
        raise CodecError(
            f"visual tokens of shape {tuple(shape)} are not allowed: "
            f"(1 to {MAX_TOKENS} tokens, hidden size 1 to {MAX_HIDDEN})"
        )


def _check_ids(tokens: VisualTokens) -> None:
    for name, value in (("chunk id", tokens.chunk_id), ("fingerprint", tokens.fingerprint)):
        if not 1 <= len(value) <= MAX_ID_LENGTH:
            raise CodecError(f"{name} {value[:40]!r} is not 1 to {MAX_ID_LENGTH} characters long")
    if type(tokens.text_tokens) is not int or tokens.text_tokens < 0:
        raise CodecError(f"text_tokens={tokens.text_tokens!r} is not allowed: an int, 0 or more")
