"""Keys and values in 8 bits: their memory, their error, and that folding works on them too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from tests.support.checkpoints import small_model
from vist2_memory.engine.kv import Beside, KVCache, KVLayer
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.rounded import DTYPES, RoundedLayer, rounded_to
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

WIDE = (1, 2, 40, 128)


def model() -> Qwen3ForCausalLM:
    return small_model().language_model


def back_from(layer: KVLayer, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Both as they come out of ``layer``, which holds nothing else."""
    layer.begin(keys, values)
    layer.reserve(keys.shape[2])
    layer.write(0, keys, values)
    return layer.read(keys.shape[2], keys.dtype)


@pytest.mark.parametrize(("name", "error"), [("int8", 1 / 200), ("fp8", 1 / 15)])
def test_values_come_back_within_the_error_of_eight_bits(name: str, error: float) -> None:
    torch.manual_seed(0)
    keys, values = torch.randn(WIDE), 100 * torch.randn(WIDE)
    keys[0, 0, 3] = 0
    found = back_from(rounded_to(name)(), keys, values)
    for states, back in zip((keys, values), found, strict=True):
        largest = states.abs().amax(-1, keepdim=True)
        assert ((back - states).abs() <= error * largest).all()


@pytest.mark.parametrize("name", DTYPES)
def test_a_token_takes_a_little_more_than_half_the_bytes_of_bfloat16(name: str) -> None:
    plain, rounded = KVLayer(), rounded_to(name)()
    states = torch.randn(WIDE).bfloat16()
    for layer in (plain, rounded):
        assert back_from(layer, states, states)[0].dtype is torch.bfloat16
    assert rounded.token_bytes / plain.token_bytes == 130 / 256
    assert rounded.token_bytes / plain.token_bytes / 4 < 0.14  # at four text tokens a visual token


@pytest.mark.parametrize("name", DTYPES)
def test_folds_forks_and_what_is_read_beside_are_as_if_it_had_been_read_alone(name: str) -> None:
    torch.manual_seed(0)
    a, b, c = torch.randn(9, 32), torch.randn(6, 32), torch.randn(2, 32)
    caches = [KVCache(model(), rounded_to(name)) for _ in range(3)]
    for cache in caches[:2]:
        cache.append(a)
        cache.append(torch.randn(4, 32))
    caches[2].append(a)
    folded, beside, alone = caches
    folded.fold(9, b)
    beside.reserve(40)
    more = Beside(base=9, place=20, embeds=b)
    for _ in range(2):
        beside.append_with(torch.randn(1, 32), more, 3)
    beside.settle(more)
    alone.append(b)
    expected = alone.append(c)
    for cache in (folded.fork(15), folded, beside):
        torch.testing.assert_close(cache.append(c), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DTYPES)
def test_an_engine_answers_with_them_and_turns_use_them_again(checkpoint: Path, name: str) -> None:
    engine = TorchEngine(
        checkpoint,
        keep_recent_chunks=1,
        options=EngineOptions(device="cpu", kv_dtype=name),  # type: ignore[arg-type]
    )
    context = Context(f"{MARKS['system']}Be kind.", (), f"{MARKS['user']}Who?{MARKS['assistant']}")
    ends = [list(engine.generate(context, GenerationParams(max_tokens=40)))[-1] for _ in range(2)]
    first, second = (end for end in ends if isinstance(end, Finished))
    assert first.text == second.text
    assert second.usage.reused_tokens > first.usage.reused_tokens == 0
    held = engine.prefill("Be kind.", ())
    assert all(isinstance(layer, RoundedLayer) for layer in held._layers)
    assert held.nbytes == len(held) * engine.spec.kv_bytes_per_token
