"""100,000 damaged, forged and random values: refused, each by the one error, within the memory
that their size allows.

Half of the forged ones carry a good checksum, as who can write to a store without a key can make
it: then only what the header says stands between them and the arrays.
"""

from __future__ import annotations

import json
import random
import tracemalloc

import numpy as np
import pytest

from vist2_memory.errors import CodecError
from vist2_memory.store import Scope
from vist2_memory.store.codec import _NO_CHECKSUM, _checksum, decode, encode
from vist2_memory.store.formats import TensorFormat
from vist2_memory.types import VisualTokens

SCOPE = Scope("acme", "session", "user-42")
INPUTS = 100_000
SPARE = 64 * 2**10
"""Bytes that refusing takes beside the values: the header as Python objects, the error."""
HUGE = [
    0,
    1,
    2,
    -1,
    127,
    2**16,
    2**16 + 1,
    2**31,
    2**32,
    2**63,
    2**64,
    10**30,
    0.5,
    True,
    None,
    "1",
]


def stored(form: TensorFormat) -> bytes:
    values = np.random.default_rng(5).normal(size=(4, 10)).astype(np.float32)
    return encode(VisualTokens("c", values, "f", 32), SCOPE, form)


VALID = [stored(TensorFormat(dtype)) for dtype in ("bfloat16", "float32", "int8")]  # type: ignore[arg-type]
VALID.append(stored(TensorFormat("int8", layers=5)))


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Some bytes of ``data`` changed, cut out, doubled or put elsewhere."""
    new = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        start = rng.randrange(len(new) + 1)
        end = min(len(new), start + rng.choice((1, 1, 4, 40)))
        kind = rng.randrange(5)
        if kind == 0:
            new[start:end] = bytes(b ^ 1 << rng.randrange(8) for b in new[start:end])
        elif kind == 1:
            new[start:end] = rng.randbytes(end - start)
        elif kind == 2:
            del new[start:end]
        elif kind == 3:
            new[start:start] = new[start:end] or b"\0"
        else:
            new[start:end] = rng.choice((b"99999999999", b'"', b"[", b"{", b"-", b"\xff", b"null"))
    return bytes(new)


def forged(rng: random.Random, data: bytes) -> bytes:
    """``data`` with another header, of which the checksum holds."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    names = [name for name in header if name != "__metadata__"]
    spec = header[rng.choice(names)]
    for _ in range(rng.choice((1, 2))):
        what = rng.choice(("shape", "data_offsets", "dtype", "body", "name", "more"))
        if what in ("shape", "data_offsets") and isinstance(spec.get(what), list):
            spec[what][rng.randrange(2)] = rng.choice(HUGE)
        elif what == "dtype":
            spec[what] = rng.choice(["F32", "F64", "BF16", "I8", "U8", "BOOL", "x", None])
        elif what == "body":
            body = body[: rng.randrange(len(body) or 1)] if rng.random() < 0.5 else body + b"\0" * 8
        elif what == "name":
            header[rng.choice(["scales", "values", "more"])] = spec
        else:
            spec["more"] = 1
    note = json.loads(header["__metadata__"]["vist2"])
    header["__metadata__"]["vist2"] = json.dumps({**note, "checksum": _NO_CHECKSUM.decode()})
    text = json.dumps(header).encode()
    new = len(text).to_bytes(8, "little") + text + body
    start = new.index(_NO_CHECKSUM)
    return new[:start] + _checksum(new, start, SCOPE) + new[start + len(_NO_CHECKSUM) :]


def refused(data: bytes) -> bool:
    """Whether only the declared error comes out, or the very values that were stored."""
    try:
        found = decode(data, scope=SCOPE, fingerprint="f", chunk_id="c").values
    except CodecError:
        return True
    assert found.nbytes <= 4 * len(data)
    return False


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_only_the_declared_error_comes_out_of_whatever_is_stored() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    valid = frozenset(VALID)
    taken = 0
    for number in range(INPUTS):
        kind = number % 4
        if kind == 0:
            data = rng.randbytes(rng.randrange(600))
        elif kind == 1:
            data = mutated(rng, rng.choice(VALID))
        else:
            data = forged(rng, rng.choice(VALID))
        try:
            well = refused(data) or kind > 1 or data in valid
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {data!r}") from error
        assert well, f"seed {seed}, input {number} was taken: {data!r}"
        taken += kind > 1
    assert taken == INPUTS // 2


def test_no_header_makes_more_memory_be_taken_than_was_stored() -> None:
    rng = random.Random(7)
    refused(VALID[0])
    tracemalloc.start()
    try:
        for number in range(2000):
            data = forged(rng, VALID[number % len(VALID)])
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            refused(data)
            assert tracemalloc.get_traced_memory()[1] - before < 8 * len(data) + SPARE, data
    finally:
        tracemalloc.stop()
