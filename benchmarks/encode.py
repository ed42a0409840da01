"""Encoding: chunks of a like size together, and drawing beside the tower.

    python benchmarks/encode.py [bundled] [b16] [--turns 5]

``order_ratio``: time of batches of 64 in the order in which the chunks came, over that of batches
of like sizes; ``order_ratio_64``: over the same, given 64 chunks at a time, as documents are.
``draw_share``: time of drawing and of cutting into patches over that of encoding.
All take turns in one process, on one thread. ``changed_values`` is the share of stored values that
are other ones in a batch of one than among others. ``b16``: a tower of the size of SigLIP2 B/16,
random weights in bfloat16. Writes benchmarks/results/encode.json.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vist2_memory.benchmark.machine import machine, versions
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.encoder import ENCODE_BATCH, Encoder
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.text.transcript import write
from vist2_memory.types import Chunk

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "encode.json"
B16 = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
       "num_attention_heads": 12}  # fmt: skip


def chunks_of(engine: TorchEngine, count: int) -> list[Chunk]:
    """Chunks of prose and of code, among them the short ones in which messages end, shuffled."""
    prose = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md")))
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("tests/*.py")))
    parts = [text[at : at + 700] for text in (prose, code) for at in range(0, len(text), 700)]
    found = [c for part in parts for c in engine.chunker.cut_all(write([("user", part)]))]
    return random.Random(0).sample(list({chunk.id: chunk for chunk in found}.values()), count)


def of_size_b16(engine: TorchEngine) -> Encoder:
    """An encoder with a larger tower; it draws as the bundled model does."""
    known = engine.model.config.to_dict()
    known["vision_config"] = {**known["vision_config"], **B16}
    torch.manual_seed(0)
    model = Vist2ForConditionalGeneration(Vist2Config(**known)).to(torch.bfloat16).eval()
    return Encoder(model, engine.processor, "random", engine.spec.tensors)


@torch.inference_mode()
def in_order(encoder: Encoder, chunks: Sequence[Chunk]) -> None:
    """Batches of the chunks as they came."""
    for start in range(0, len(chunks), ENCODE_BATCH):
        encoder._encode_batch(chunks[start : start + ENCODE_BATCH])


def measure(encoder: Encoder, chunks: list[Chunk], turns: int) -> dict[str, Any]:
    draw, few = encoder.processor.renderer.draw, chunks[: len(chunks) // 4]
    ways: dict[str, Callable[[], Any]] = {
        "in_order": lambda: in_order(encoder, chunks),
        "sorted": lambda: encoder.encode(chunks),
        "sorted_64": lambda: [
            encoder.encode(chunks[at : at + 64]) for at in range(0, len(chunks), 64)
        ],
        "draw": lambda: encoder.processor.patches(draw(chunks)),
    }
    encoder.encode(chunks)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns):
        for name in random.Random(turn).sample(sorted(ways), len(ways)):
            began = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - began)
    took = {name: statistics.median(each) for name, each in times.items()}
    many, one = encoder.encode(few), [encoder.encode([chunk])[0] for chunk in few]
    other = sum(int((a.values != b.values).sum()) for a, b in zip(many, one, strict=True))
    return {
        "order_ratio": took["in_order"] / took["sorted"],
        "order_ratio_64": took["in_order"] / took["sorted_64"],
        "draw_share": took["draw"] / took["sorted"],
        "changed_values": other / sum(item.values.size for item in many),
        "largest_change": max(
            float(np.abs(a.values - b.values).max()) for a, b in zip(many, one, strict=True)
        ),
        "seconds": took,
        "spread": {name: [min(each), max(each)] for name, each in times.items()},
        "chunks": len(chunks),
        "turns": turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["bundled", "b16"])
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine = TorchEngine(find_model("vist2-tiny"), device="cpu")
    result = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in options.models:
        encoder = engine.encoder if name == "bundled" else of_size_b16(engine)
        chunks = chunks_of(engine, 256 if name == "bundled" else 128)
        result[name] = measure(encoder, chunks, options.turns)
    result |= {"machine": machine(), "versions": versions(("torch", "transformers"))}
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
