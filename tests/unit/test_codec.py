"""The codec gives back what it was given, or refuses: never another tensor, never another error."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import example, given
from hypothesis import strategies as st

from vist2_memory.errors import CodecError, FingerprintMismatchError
from vist2_memory.store.base import Refused, Scope
from vist2_memory.store.codec import MAX_HEADER_BYTES, decode, encode
from vist2_memory.store.formats import TensorFormat
from vist2_memory.types import VisualTokens

SCOPE = Scope("acme", "session", "user-42")


def made(tokens: int = 3, hidden: int = 5, **changes: Any) -> VisualTokens:
    values = np.random.default_rng(7).normal(size=(tokens, hidden)).astype(np.float32)
    return replace(VisualTokens("chunk-1", values, "model-1", text_tokens=64), **changes)


def decoded(data: bytes, **changes: Any) -> VisualTokens:
    asked = {"scope": SCOPE, "fingerprint": "model-1", "chunk_id": "chunk-1", **changes}
    return decode(data, **asked)


FORMS = {
    "bfloat16": TensorFormat("bfloat16"),
    "float32": TensorFormat("float32"),
    "int8": TensorFormat("int8"),
    "int8 of 5 layers": TensorFormat("int8", layers=5),
}
DATA = encode(made(), SCOPE)
STORED = {name: encode(made(), SCOPE, form) for name, form in FORMS.items()}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_gives_back_what_it_was_given(form: TensorFormat) -> None:
    tokens = made(16, 120)
    data = encode(tokens, SCOPE, form)
    found = decoded(data)
    assert (found.chunk_id, found.fingerprint, found.text_tokens) == ("chunk-1", "model-1", 64)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, form.rounded(tokens.values))
    # What was stored once can be stored again without loss.
    assert encode(found, SCOPE, form) == data


def test_bfloat16_rounds_to_nearest_even() -> None:
    cases = {  # bits of a float32 -> the upper half that is stored
        0x3F80_0000: 0x3F80,
        0x3F80_7FFF: 0x3F80,
        0x3F80_8000: 0x3F80,  # a tie, down to even
        0x3F80_8001: 0x3F81,
        0x3F81_8000: 0x3F82,  # a tie, up to even
        0xBF81_8000: 0xBF82,
        0x8000_0000: 0x8000,
        0x0000_0001: 0x0000,
        0x3FFF_FFFF: 0x4000,  # carries into the exponent
        0x7F7F_0000: 0x7F7F,  # the largest
    }
    values = np.array([list(cases)], dtype=np.uint32).view(np.float32)
    found = decoded(encode(made(values=values), SCOPE)).values
    assert (found.view(np.uint32)[0] >> 16).tolist() == list(cases.values())


def test_the_file_is_plain_safetensors_of_a_size_close_to_its_values() -> None:
    [(name, tensor)] = safetensors.deserialize(DATA)
    assert (name, tensor["dtype"], tensor["shape"]) == ("values", "BF16", [3, 5])
    assert len(tensor["data"]) == 30
    assert len(DATA) < 30 + 400


def test_half_precision_and_views_are_encoded_too() -> None:
    wide = np.arange(24, dtype=np.float16).reshape(4, 6)
    for values in (wide, wide.T, wide[::2, ::-1], wide.astype(np.float64), wide.astype(">f4")):
        found = decoded(encode(made(values=values), SCOPE)).values
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_refuses_to_store_what_is_not_finite(bad: float, form: TensorFormat) -> None:
    tokens = made()
    tokens.values[1, 2] = bad
    with pytest.raises(CodecError, match="not finite"):
        encode(tokens, SCOPE, form)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_refuses_to_store_what_overflows(dtype: Any) -> None:
    values = np.array([[np.finfo(np.float32).max]])
    with pytest.raises(CodecError, match=f"not finite in {dtype}"):
        encode(made(values=values), SCOPE, TensorFormat(dtype))


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.zeros((0, 4), np.float32)},
        {"values": np.zeros((4, 0), np.float32)},
        {"values": np.zeros(4, np.float32)},
        {"values": np.zeros((1, 2, 3), np.float32)},
        {"values": np.zeros((65_537, 1), np.float32)},
        {"values": np.zeros((2, 2), np.int64)},
        {"values": np.array([["a"]])},
        {"chunk_id": ""},
        {"fingerprint": ""},
        {"fingerprint": "f" * 257},
        {"text_tokens": -1},
        {"text_tokens": 1.5},
    ],
)
def test_refuses_to_store_what_is_no_tensor(changes: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        encode(made(**changes), SCOPE)


# --------------------------------------------------------------------------------------- refusal


def test_another_model_is_a_mismatch() -> None:
    with pytest.raises(FingerprintMismatchError, match="'model-1', not by 'model-2'"):
        decoded(DATA, fingerprint="model-2")


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk_id": "chunk-2"},
        {"scope": Scope("acme", "session", "user-43")},
        {"scope": Scope("acme", "collection", "user-42")},
        {"scope": Scope("other", "session", "user-42")},
        {"scope": Scope("other", "session", "user-42"), "fingerprint": "model-2"},
    ],
)
def test_a_copy_in_another_place_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CodecError) as caught:
        decoded(DATA, **changes)
    assert not isinstance(caught.value, FingerprintMismatchError)


def test_another_codec_version_is_a_mismatch() -> None:
    data = DATA.replace(b'\\"codec\\":1', b'\\"codec\\":2')
    assert data != DATA
    with pytest.raises(FingerprintMismatchError, match="codec version 2; this release reads 1"):
        decoded(data)


@pytest.mark.parametrize("data", STORED.values(), ids=STORED)
def test_a_flipped_bit_or_other_byte_anywhere_is_refused(data: bytes) -> None:
    for position in range(len(data)):
        for new in {data[position] ^ 1 << bit for bit in range(8)} | {0x20, 0x09, 0x30, 0x22}:
            if new != data[position]:
                with pytest.raises(CodecError):
                    decoded(data[:position] + bytes([new]) + data[position + 1 :])


@pytest.mark.parametrize("data", STORED.values(), ids=STORED)
def test_anything_shorter_or_longer_is_refused(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(CodecError):
            decoded(data[:length])
    for more in (b"\0", b" ", data):
        with pytest.raises(CodecError):
            decoded(data + more)
        with pytest.raises(CodecError):
            decoded(more + data)


def test_what_a_store_refused_is_refused_with_its_reason() -> None:
    with pytest.raises(CodecError, match="sealed under another key"):
        decoded(Refused("sealed under another key"))


@given(st.binary(max_size=600))
@example(b"")
@example(pickle.dumps({"values": [1.0]}))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decoded(data)


def forged(header: object, payload: bytes = b"\0" * 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


def signed(
    spec: object, payload: bytes = b"\0" * 8, scales: object = None, **note: object
) -> bytes:
    """A file whose checksum holds, as one who can write to the store could make."""
    from vist2_memory.store.codec import _NO_CHECKSUM, _checksum

    note = {
        "checksum": _NO_CHECKSUM.decode(),
        "codec": 1,
        "fingerprint": "model-1",
        "chunk_id": "chunk-1",
        "text_tokens": 64,
        **note,
    }
    more = {} if scales is None else {"scales": scales}
    data = forged({"__metadata__": {"vist2": json.dumps(note)}, **more, "values": spec}, payload)
    start = data.index(_NO_CHECKSUM)
    return data[:start] + _checksum(data, start, SCOPE) + data[start + 64 :]


GOOD = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}


SCALES = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
WHOLE = {"dtype": "I8", "shape": [1, 4], "data_offsets": [4, 8]}
ONES = np.array([1], "<f4").tobytes() + bytes([1, 2, 255, 0])


def test_a_signed_file_is_read() -> None:
    np.testing.assert_array_equal(decoded(signed(GOOD)).values, np.zeros((1, 2)))
    np.testing.assert_array_equal(decoded(signed(WHOLE, ONES, SCALES)).values, [[1, 2, -1, 0]])


@pytest.mark.parametrize(
    "data",
    [
        signed(None),
        signed([]),
        signed({**GOOD, "dtype": "F64"}),
        signed({**GOOD, "dtype": ["F32"]}),
        signed({**GOOD, "shape": None}),
        signed({**GOOD, "shape": [2]}),
        signed({**GOOD, "shape": [1, 3]}),
        signed({**GOOD, "shape": [True, 2]}),
        signed({**GOOD, "shape": [-1, -2]}),
        signed({**GOOD, "shape": [65_536, 65_536]}),
        signed({**GOOD, "shape": [2**63, 2**63]}),
        signed({**GOOD, "data_offsets": [0, 2**63]}),
        signed({**GOOD, "data_offsets": [4, 8]}),
        signed({**GOOD, "data_offsets": None}),
        signed({"dtype": "F32", "shape": [1, 2]}),
        signed(GOOD, np.array([1, np.nan], "<f4").tobytes()),
        signed(GOOD, np.array([1, np.inf], "<f4").tobytes()),
        signed(GOOD, b"\0" * 12),
        signed(GOOD, np.zeros(2, "<f4").tobytes(), SCALES),
        signed({**GOOD, "data_offsets": [4, 12]}, b"\0" * 12, SCALES),
        signed(WHOLE, ONES),
        signed({**WHOLE, "data_offsets": [0, 4]}, ONES[4:]),
        signed(WHOLE, ONES, []),
        signed(WHOLE, ONES, {**SCALES, "dtype": "BF16"}),
        signed(WHOLE, ONES, {**SCALES, "data_offsets": [1, 5]}),
        signed({**WHOLE, "data_offsets": [0, 4]}, ONES, SCALES),
        signed({**WHOLE, "shape": [1, 2**16]}, ONES, SCALES),
        signed({**WHOLE, "shape": [2, 2]}, ONES, SCALES),
        signed(
            {**WHOLE, "shape": [1, 3], "data_offsets": [8, 11]},
            b"\0" * 11,
            {**SCALES, "shape": [1, 2], "data_offsets": [0, 8]},
        ),
        signed(WHOLE, np.array([np.inf], "<f4").tobytes() + b"abcd", SCALES),
        signed(WHOLE, np.array([3e38], "<f4").tobytes() + b"abcd", SCALES),
        signed({**WHOLE, "shape": [65_536, 65_536]}, ONES, {**SCALES, "shape": [65_536, 1]}),
        signed(GOOD, text_tokens=-1),
        signed(GOOD, text_tokens="64"),
        signed(GOOD, fingerprint=None),
        signed(GOOD, chunk_id=[1]),
        signed(GOOD, codec="1"),
        signed(GOOD, codec=True),
        signed(GOOD, more=1),
        forged(b"[" * 8000),
        forged(b"\xff" * 50),
        forged([]),
        forged({"values": GOOD}),
        forged({"values": GOOD, "__metadata__": None}),
        forged({"values": GOOD, "__metadata__": {"vist2": "[" * 4000}}),
        forged({"values": GOOD, "__metadata__": {"vist2": "[1]"}}),
        forged({"values": GOOD, "__metadata__": {"vist2": '{"codec":1}'}}),
        forged({"values": GOOD, "__metadata__": {"vist2": '{"codec":' + "9" * 5000 + "}"}}),
        forged(b'{"a":' + b"9" * 5000 + b"}"),
        forged(b" " * (MAX_HEADER_BYTES + 1)),
        (2**63).to_bytes(8, "little") + DATA,
    ],
)
def test_a_forged_file_is_refused_at_once(data: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(CodecError):
        decoded(data)
    assert time.perf_counter() - began < 1


@given(
    spec=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ),
    payload=st.binary(max_size=64),
)
def test_whatever_the_header_says_only_the_declared_error_comes_out(
    spec: object, payload: bytes
) -> None:
    with pytest.raises(CodecError):
        decoded(signed(spec, payload))
