"""An adapter of the language model, against the same adapter merged into the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.on_vllm import agreement, context_of, endless, said
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.types import GenerationParams

pytestmark = pytest.mark.timeout(600)
RANK, ALPHA = 4, 16
PARTS = ("q_proj", "v_proj")
PAST_THE_FOLD = 10
"""Tokens after which a full context has folded once."""


def merged_with(folder: Path, engine: TorchEngine) -> None:
    """Write an adapter of random weights into ``folder``, and add it to ``engine``'s own."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for number, layer in enumerate(engine.model.language_model.model.layers):
        for part in PARTS:
            weight = getattr(layer.self_attn, part).weight
            name = f"base_model.model.model.layers.{number}.self_attn.{part}"
            down = torch.randn(RANK, weight.shape[1], generator=generator) * 0.05
            up = torch.randn(weight.shape[0], RANK, generator=generator) * 0.05
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            with torch.no_grad():
                weight += ALPHA / RANK * up @ down
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(PARTS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_an_adapter_says_what_the_merged_weights_say(
    bundled: Path, tmp_path: Path, reference: TorchEngine
) -> None:
    merged = TorchEngine(bundled, device="cpu")
    merged_with(tmp_path, merged)
    options = EngineOptions(kv_cache_bytes=2**27, vllm={"lora": str(tmp_path)})
    adapted = VLLMEngine(bundled, options=options)
    context = context_of(reference, full=True)
    params = GenerationParams(max_tokens=60, logprobs=4)
    try:
        with endless(adapted, merged, reference):
            ours, theirs, plain = (
                said(engine, context, params) for engine in (adapted, merged, reference)
            )
    finally:
        adapted.close()
    assert agreement(ours, theirs, within=0.02) > PAST_THE_FOLD
    assert ours.folded[0] == theirs.folded[0]
    pairs = zip(theirs.logprobs, plain.logprobs, strict=True)
    assert max(abs(one.logprob - other.logprob) for one, other in pairs) > 0.5
