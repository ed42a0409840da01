"""bfloat16 against float32 on a CPU: the bundled model, or one of its shape and more layers' width.

    python benchmarks/precision.py [--turns 7] [--hidden 1024]

Of each of prefill (512 tokens), decode (a token after them) and encode (64 chunks): time in float32
over that in bfloat16, in turns in one process on one thread; and how far the logits of the last
position are apart. ``--hidden`` measures random weights of that width too, whose matrices no longer
fit the caches. Writes benchmarks/results/precision.json.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from vist2_memory.benchmark.machine import machine, versions
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.encoder import Encoder
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration

OUT = Path(__file__).parent / "results" / "precision.json"
PROMPT, CHUNKS = 512, 64
TEXT = "The ferry to the island leaves at nine, and the harbour master has the keys. "


def wider(engine: TorchEngine, hidden: int) -> Vist2ForConditionalGeneration:
    """Random weights of the bundled model's depth, ``hidden`` wide."""
    known = engine.model.config.to_dict()
    for part in ("text_config", "vision_config"):
        heads = hidden // 64
        known[part] = {**known[part], "hidden_size": hidden, "intermediate_size": 3 * hidden,
                       "num_attention_heads": heads}  # fmt: skip
    known["text_config"] |= {"num_key_value_heads": heads // 2, "head_dim": 64}
    torch.manual_seed(0)
    return Vist2ForConditionalGeneration(Vist2Config(**known)).eval()


@torch.inference_mode()
def stages(model: Vist2ForConditionalGeneration, engine: TorchEngine, turn: int) -> dict[str, Any]:
    """Seconds of each stage, and the logits of the last position."""
    encoder = Encoder(model, engine.processor, "precision", engine.spec.tensors)
    chunks = engine.chunker.cut_all(TEXT * 400)[:CHUNKS]
    ids = torch.randint(1000, (1, PROMPT), generator=torch.Generator().manual_seed(turn))
    began = time.perf_counter()
    out = model.language_model(input_ids=ids, use_cache=True, logits_to_keep=1)
    prefilled = time.perf_counter()
    cache = out.past_key_values
    for _ in range(8):
        out = model.language_model(input_ids=ids[:, :1], past_key_values=cache, logits_to_keep=1)
    decoded = time.perf_counter()
    encoder.encode(chunks)
    return {
        "prefill": prefilled - began,
        "decode": (decoded - prefilled) / 8,
        "encode": time.perf_counter() - decoded,
        "logits": out.logits[0, -1].float(),
    }


def measure(
    engine: TorchEngine, model: Vist2ForConditionalGeneration, turns: int
) -> dict[str, Any]:
    folder = model.state_dict()
    half = Vist2ForConditionalGeneration(model.config).eval()
    half.load_state_dict(folder)
    models = {"float32": model, "bfloat16": half.to(torch.bfloat16)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    for turn in range(turns + 1):
        for name in random.Random(turn).sample(sorted(models), 2):
            found[name].append(stages(models[name], engine, turn))
    seconds = {
        name: {
            stage: statistics.median(each[stage] for each in runs[1:])
            for stage in ("prefill", "decode", "encode")
        }
        for name, runs in found.items()
    }
    pairs = list(zip(found["float32"], found["bfloat16"], strict=True))
    apart = max(float((a["logits"] - b["logits"]).abs().max()) for a, b in pairs)
    return {
        "float32_over_bfloat16": {
            stage: seconds["float32"][stage] / seconds["bfloat16"][stage]
            for stage in seconds["float32"]
        },
        "logits_max_abs_diff": apart,
        "seconds": seconds,
        "turns": turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--hidden", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine = TorchEngine(find_model("vist2-tiny"), device="cpu")
    result = {
        "bundled": measure(engine, engine.model, options.turns),
        f"random, {options.hidden} wide": measure(
            engine, wider(engine, options.hidden), options.turns
        ),
        "machine": machine(),
        "versions": versions(("torch", "transformers")),
    }
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
