"""A training step's language model with attention over what may be seen alone, against all of it.

    python benchmarks/training_attention.py [--chunks 5 20 80] [--repeats 5]

Writes benchmarks/results/training_attention.json: for memories of so many chunks, with questions in
eight blocks of text behind them, the processor time of forward and backward pass of the bundled
language model in bfloat16 autocast, each way in turns, and their ratio. One thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.loading import load_model
from vist2_memory.model.masks import Segment, additive, attention_allowed, lay_out, pad_layouts
from vist2_memory.training.attention import SEEN_ONLY, tiles_of

OUT = Path(__file__).parent / "results" / "training_attention.json"
VISUAL = 13  # visual tokens of a chunk
BLOCKS = [150] * 8  # tokens


def step(model: Any, way: str, embeds: Tensor, allowed: Tensor, positions: Tensor) -> float:
    """Processor seconds of one forward and backward pass."""
    model.set_attn_implementation(way)
    started = time.process_time()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        told = model(
            inputs_embeds=embeds,
            attention_mask=additive(allowed, torch.bfloat16),
            position_ids=positions,
            use_cache=False,
            **({"tiles": tiles_of(allowed)} if way == SEEN_ONLY else {}),
        ).last_hidden_state
    told.float().square().mean().backward()
    return time.process_time() - started


def compare(model: Any, chunks: int, repeats: int) -> dict[str, Any]:
    segments = [Segment(place, VISUAL, visual=True) for place in range(chunks)]
    layout = pad_layouts([lay_out([*segments, *(Segment(chunks, length) for length in BLOCKS)])])
    allowed = attention_allowed(layout)
    embeds = torch.randn(1, allowed.shape[-1], model.config.hidden_size)
    took: dict[str, list[float]] = {"eager": [], SEEN_ONLY: []}
    for number in range(-1, repeats):
        for way, seconds in took.items():
            taken = step(model, way, embeds, allowed, layout.position_ids)
            if number >= 0:
                seconds.append(taken)
    all_of_it, seen = (statistics.median(seconds) for seconds in took.values())
    return {
        "chunks": chunks,
        "tokens": allowed.shape[-1],
        "seen_share": float(allowed.float().mean()),
        "all_s": all_of_it,
        "seen_only_s": seen,
        "ratio": seen / all_of_it,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chunks", type=int, nargs="+", default=[5, 20, 80])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    whole = load_model(find_model("vist2-tiny"), torch.device("cpu"), torch.float32)
    model = whole.language_model.model.train()
    found = {"memories": [compare(model, n, options.repeats) for n in options.chunks]}
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
