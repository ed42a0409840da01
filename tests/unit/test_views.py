"""From stored bytes to a tensor without a copy, where the number format allows it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.redis_servers import Doors
from vist2_memory.engine.views import tensor_of
from vist2_memory.store import Scope, open_store
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.formats import TensorFormat
from vist2_memory.types import VisualTokens

SCOPE = Scope("views", "session", "s")


def test_float32_from_redis_to_torch_is_never_copied(redis_doors: Doors) -> None:
    values = np.random.default_rng(0).standard_normal((14, 64), dtype=np.float32)
    data = encode(VisualTokens("c", values, "f", 64), SCOPE, TensorFormat("float32"))
    with open_store(redis_doors.url) as store:
        store.put_many(SCOPE, "f", {"c": data})
        [stored] = store.get_many(SCOPE, "f", ["c"])
        store.delete(SCOPE)
    assert stored is not None
    found = decode(stored, scope=SCOPE, fingerprint="f", chunk_id="c").values
    assert np.shares_memory(found, np.frombuffer(stored, np.uint8))
    assert not found.flags.writeable
    tensor = tensor_of(found)
    assert tensor.data_ptr() == found.ctypes.data
    assert np.array_equal(tensor.numpy(), values)


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4)])
def test_a_tensor_shares_the_array_and_keeps_it_alive(
    writeable: bool, shape: tuple[int, int]
) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    array.flags.writeable = writeable or 0 in shape
    tensor = tensor_of(array)
    assert np.shares_memory(tensor.numpy(), array) or 0 in shape
    copy = array.copy()
    del array  # nobody else refers to it: its memory would be free now
    assert np.array_equal(tensor.numpy(), copy)


def test_a_part_of_an_array_is_that_part() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[1:3, ::2]
    array.flags.writeable = False
    assert tensor_of(array).tolist() == array.tolist()
