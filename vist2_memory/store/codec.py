"""VisualTokens <-> bytes: a safetensors file that names what it is and proves that it is whole.

The file has one tensor, ``values``, for int8 a second one, ``scales``, and in its metadata (one
JSON object) the codec version, the fingerprint, the chunk id, the text tokens it stands for, and a
checksum. The checksum is BLAKE2b over the key of the scope and every byte of the file (its own
digits taken as zeros), so a value that was damaged, or copied from another scope, is refused. It is
no signature: who can write to the store can forge it, unless the store is sealed
(`vist2_memory.store.sealed`).

Stored bytes are read as data only: the header is JSON, nothing is unpickled, and nothing is
allocated before the sizes that the header declares are those of the bytes that are there. Arrays
are views of the stored bytes; what is allocated is the float32 values, for float32 not even those.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from vist2_memory.errors import CodecError, FingerprintMismatchError
from vist2_memory.store.base import Refused, Scope
from vist2_memory.store.formats import DEFAULT_FORMAT, TensorFormat, widened
from vist2_memory.types import VisualTokens

CODEC_VERSION = 1
MAX_HEADER_BYTES = 8192
MAX_TOKENS = 65_536
MAX_HIDDEN = 65_536
MAX_ID_LENGTH = 256

_STORED: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "I8": np.dtype("i1"),
}
_NAMES = {"BF16": "bfloat16", "F32": "float32", "I8": "int8"}
_CODES = {dtype: code for code, dtype in _STORED.items()}
_SCALES_OF = {"I8": {"scales": "F32"}, "BF16": {}, "F32": {}}
_NO_CHECKSUM = b"0" * 64
_METADATA = {"checksum": str, "codec": int, "fingerprint": str, "chunk_id": str, "text_tokens": int}


def encode(tokens: VisualTokens, scope: Scope, form: TensorFormat = DEFAULT_FORMAT) -> bytes:
    """The bytes to store. ``tokens.values`` has shape (visual tokens, width).

    Raises `CodecError` for values that are not finite (in ``form``) or of a wrong shape.
    """
    values = np.asarray(tokens.values)
    if values.dtype.kind != "f":
        raise CodecError(f"visual tokens must be floating-point numbers, not {values.dtype}")
    _check_shape(list(values.shape))
    _check_ids(tokens)
    stored = form.narrowed(values)
    metadata = {
        "checksum": _NO_CHECKSUM.decode(),
        "codec": CODEC_VERSION,
        "fingerprint": tokens.fingerprint,
        "chunk_id": tokens.chunk_id,
        "text_tokens": tokens.text_tokens,
    }
    data = _serialized(stored, metadata)
    start = data.index(_NO_CHECKSUM)
    return b"".join((data[:start], _checksum(data, start, scope), data[start + 64 :]))


def decode(data: bytes, *, scope: Scope, fingerprint: str, chunk_id: str) -> VisualTokens:
    """The visual tokens, with float32 values; what was stored must be exactly what is asked for.

    Raises `CodecError` if the bytes are damaged, not ours, or written for another scope or chunk,
    and `FingerprintMismatchError` if another model or codec version made them.
    """
    if isinstance(data, Refused):
        raise CodecError(data.reason)
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
        chunk_id, _values(data, header, size), fingerprint, text_tokens=metadata["text_tokens"]
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
    if not isinstance(header, dict) or not {"values", "__metadata__"} <= header.keys():
        raise CodecError("the stored tensor's header does not name the tensor 'values'")
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


def _values(data: bytes, header: dict[str, Any], start: int) -> npt.NDArray[np.float32]:
    """The float32 values, shape (visual tokens, width), that begin at ``start``."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    offset = 0
    for name, (code, shape) in _described(header).items():
        count, size = shape[0] * shape[1], _STORED[code].itemsize
        end = offset + count * size
        if header[name] != {"dtype": code, "shape": shape, "data_offsets": [offset, end]}:
            raise CodecError(f"the stored tensor {name!r} does not lie where it should")
        if start + end > len(data):
            break
        arrays[name] = np.frombuffer(data, _STORED[code], count, start + offset).reshape(shape)
        offset = end
    if start + end != len(data):
        raise CodecError(
            f"{len(data) - start} bytes are stored where the header declares {end}: damaged"
        )
    values = widened(arrays)
    if not np.isfinite(values).all():
        raise CodecError("the stored tensor has values that are not finite")
    return values


def _described(header: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """The dtype and shape of each tensor in the order in which they lie in the file."""
    found: dict[str, tuple[str, list[int]]] = {}
    for name in sorted(header.keys() - {"__metadata__"}):
        spec = header[name]
        code, shape = (spec.get("dtype"), spec.get("shape")) if isinstance(spec, dict) else (0, 0)
        if not isinstance(code, str) or code not in _STORED or not isinstance(shape, list):
            raise CodecError(f"the stored tensor {name[:40]!r} has no known dtype and shape")
        _check_shape(shape)
        found[name] = (code, shape)
    code, (tokens, width) = found["values"]
    beside = {name: other for name, (other, _) in found.items() if name != "values"}
    if beside != _SCALES_OF[code]:
        raise CodecError(f"a tensor of {_NAMES[code]} does not come with {sorted(beside)}")
    for _, shape in found.values():
        if shape[0] != tokens or width % shape[1]:
            raise CodecError(f"scales of shape {shape} do not fit values of {[tokens, width]}")
    return found


def _serialized(stored: dict[str, npt.NDArray[Any]], metadata: dict[str, Any]) -> bytes:
    # safetensors 0.8 takes a description of the memory, earlier versions the bytes.
    specs: dict[str, Any] = {}
    for name, array in stored.items():
        dtype, shape = _NAMES[_CODES[array.dtype]], list(array.shape)
        if hasattr(safetensors, "TensorSpec"):
            specs[name] = safetensors.TensorSpec(
                dtype=dtype, shape=shape, data_ptr=array.ctypes.data, data_len=array.nbytes
            )
        else:
            specs[name] = {"dtype": dtype, "shape": shape, "data": array.tobytes()}
    # safetensors keeps no order among several entries: with one, equal tensors are equal bytes.
    note = json.dumps(metadata, ensure_ascii=True, separators=(",", ":"))
    return bytes(safetensors.serialize(specs, {"vist2": note}))


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
