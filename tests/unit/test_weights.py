"""Rounded weights of the language model: how far off, how small, and what stays exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.weights import FEW, Rounded
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)


def layer(columns: int = 96, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(columns, 40, bias=True).to(dtype)


@pytest.mark.parametrize(("bits", "error", "size"), [(8, 1 / 254, 1 / 4), (4, 1 / 14, 1 / 8)])
def test_weights_are_off_by_half_a_step_at_most_and_small(
    bits: int, error: float, size: float
) -> None:
    exact = layer()
    rounded = Rounded(exact, bits)
    weight = exact.weight.detach()
    group = 96 if bits == 8 else 32
    largest = weight.reshape(40, -1, group).abs().amax(-1, keepdim=True)
    apart = (rounded.weight - weight).reshape(40, -1, group).abs()
    assert bool((apart <= error * largest * 1.001).all())
    assert apart.max() > 0
    assert rounded.values.nbytes == size * weight.nbytes


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("tokens", [1, FEW, FEW + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_that_of_the_rounded_weights(
    bits: int, tokens: int, dtype: torch.dtype
) -> None:
    exact = layer(dtype=dtype)
    rounded = Rounded(exact, bits)
    hidden = torch.randn(2, tokens, 96).to(dtype)
    expected = nn.functional.linear(hidden.float(), rounded.weight.float(), exact.bias.float())
    tolerance = 1e-5 if dtype is torch.float32 else 0.02
    torch.testing.assert_close(rounded(hidden).float(), expected, rtol=tolerance, atol=tolerance)


def test_rows_that_no_group_divides_are_kept_in_eight_bits() -> None:
    rounded = Rounded(layer(columns=40), 4)
    assert rounded.values.shape == (40, 40)


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_visual_tokens_and_their_fingerprint_are_those_of_the_exact_model(
    checkpoint: Path, weights: str, dtype: str
) -> None:
    exact = TorchEngine(checkpoint, options=EngineOptions(device="cpu", dtype=dtype))
    options = EngineOptions(device="cpu", dtype=dtype, weights=weights)  # type: ignore[arg-type]
    engine = TorchEngine(checkpoint, options=options)
    chunks = engine.chunker.cut_all("My cat is called Miso. " * 4)
    assert engine.spec == exact.spec
    for own, other in zip(engine.encode(chunks), exact.encode(chunks), strict=True):
        assert np.array_equal(own.values, other.values)
    context = Context("", tuple(engine.encode(chunks)), MARKS["user"] + "Who?" + MARKS["assistant"])
    params = GenerationParams(max_tokens=20, temperature=1.0, seed=1)
    *_, end = engine.generate(context, params)
    assert isinstance(end, Finished)
    assert end.usage.new_tokens > 0
    assert isinstance(engine.model.language_model.lm_head, Rounded)
    batched = [event for _, event in engine.generate_batch([context], [params])]
    assert isinstance(batched[-1], Finished)
    assert batched[-1].text == end.text or dtype == "bfloat16"


def test_what_this_engine_cannot_do_is_refused(checkpoint: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"weights=.*leave it out"):
        TorchEngine(checkpoint, options=EngineOptions(device="cpu", weights="fp8"))
