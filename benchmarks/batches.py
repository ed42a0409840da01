"""What batches in process bring: answers decoded together, and one after the other, in turns.

    python benchmarks/batches.py [--rows 1,2,4,8,16,32,64] [--repeats 5]

The bundled model answers questions whose memories have different lengths, with answers of a fixed
length that are folded on the way; nothing is kept between answers. Each turn generates the same
answers both ways, in an order that changes; the ratio is that of tokens a second, together over
alone, of each turn. Time is processor time of one thread, since other work on the machine hits the
two ways unlike. That both say the same is checked. Writes benchmarks/results/batches.json.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import write
from vist2_memory.types import Context, Finished, GenerationParams

OUT = Path(__file__).parent / "results" / "batches.json"
TOKENS = 120  # of each answer: more than a chunk, so that each is folded
TEXT = "the ferry leaves at nine and Anna keeps bees behind her house while it rains"


def contexts_of(engine: TorchEngine, rows: int, rng: random.Random) -> list[Context]:
    """Memories of 2 to 16 chunks, each with a question."""
    found = []
    for number in range(rows):
        words = " ".join(rng.choices(TEXT.split(), k=3000))
        chunks = engine.chunker.cut_all(words)[: rng.randint(2, 16)]
        tail = write([("user", f"What did I say of number {number}?"), ("assistant", "")])
        found.append(Context("", tuple(engine.encode(chunks)), tail))
    return found


def alone(engine: TorchEngine, contexts: list[Context], params: GenerationParams) -> list[Finished]:
    return [list(engine.generate(context, params))[-1] for context in contexts]  # type: ignore[misc]


def together(
    engine: TorchEngine, contexts: list[Context], params: GenerationParams
) -> list[Finished]:
    ends = {}
    for row, event in engine.generate_batch(contexts, [params] * len(contexts)):
        if isinstance(event, Finished):
            ends[row] = event
    return [ends[row] for row in sorted(ends)]


def measure(engine: TorchEngine, rows: int, repeats: int) -> dict[str, Any]:
    rng = random.Random(rows)
    contexts, params = contexts_of(engine, rows, rng), GenerationParams(max_tokens=TOKENS)
    ways: dict[str, Callable[..., list[Finished]]] = {"alone": alone, "together": together}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    same = []
    for _ in range(repeats):
        said = {}
        for name in rng.sample(list(ways), 2):
            began = time.process_time()
            said[name] = ways[name](engine, contexts, params)
            seconds[name].append(time.process_time() - began)
        pairs = zip(said["alone"], said["together"], strict=True)
        same.append(all((a.text, a.usage) == (b.text, b.usage) for a, b in pairs))
        new = sum(end.usage.new_tokens for end in said["together"])
        folds = sum(end.usage.folds for end in said["together"])
    pairs = zip(seconds["alone"], seconds["together"], strict=True)
    ratios = sorted(a / b for a, b in pairs)
    return {
        "rows": rows,
        "turns": repeats,
        "tokens": new,
        "folds": folds,
        "same_answers": all(same),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        "tokens_per_second": {
            name: round(new / statistics.median(times), 1) for name, times in seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1,2,4,8,16,32,64")
    parser.add_argument("--repeats", type=int, default=5, help="at most; fewer of many rows")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = EngineOptions(device="cpu", dtype=options.dtype, kv_cache_bytes=0)
    engine = TorchEngine(find_model("vist2-tiny"), options=asked)
    engine._never |= engine.stop_ids  # answers of equal length
    measure(engine, 1, 1)  # warms up
    found = []
    for rows in map(int, options.rows.split(",")):
        found.append(measure(engine, rows, max(1, min(options.repeats, 16 // rows))))
        print(json.dumps(found[-1]), flush=True)
        result = {
            "conditions": {
                "model": "vist2-tiny",
                "dtype": options.dtype,
                "time": "processor time of one thread",
                "answer_tokens": TOKENS,
                "repeats": options.repeats,
            },
            "by_rows": found,
        }
        OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
