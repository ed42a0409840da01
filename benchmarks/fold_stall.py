"""How long a stream waits for a fold, and what share of the time folds take.

    python benchmarks/fold_stall.py [--layers 28] [--vocabulary 151936] [--history 8192]

A random VIST2 in bfloat16 of the width of Qwen3 0.6B with a tower as large as SigLIP2 B/16 answers
behind a memory of random visual tokens. The same answer is generated as
the engine does it, and as if nothing were done ahead; and once without any fold, which is what the
time of folds is taken from. In turns, in one process. Writes benchmarks/results/fold.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vist2_memory.engine import ahead, generation
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import MARKS
from vist2_memory.training.export import save_checkpoint
from vist2_memory.types import ChunkFolded, Context, GenerationParams, VisualTokens

OUT = Path(__file__).parent / "results" / "fold.json"
VISUAL = 16  # tokens a chunk
TOWER = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}


def make(folder: Path, layers: int, vocabulary: int, keep: int) -> TorchEngine:
    """A random checkpoint with the tokenizer of the bundled model, loaded."""
    bundled = find_model("vist2-tiny")
    config: Any = Vist2Config.from_pretrained(bundled)
    text = config.text_config.to_dict() | {
        "vocab_size": vocabulary,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": layers,
        "layer_types": ["full_attention"] * layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
    }
    values = config.to_dict() | {
        "text_config": text,
        "vision_config": config.vision_config.to_dict() | TOWER | {"num_attention_heads": 12},
        "keep_recent_chunks": keep,
        "max_visual_tokens": 16384,
    }
    torch.set_default_dtype(torch.bfloat16)
    model = Vist2ForConditionalGeneration(Vist2Config(**values))
    torch.set_default_dtype(torch.float32)
    save_checkpoint(model, Vist2Tokenizer.load(bundled), folder)
    return TorchEngine(folder, options=EngineOptions(device="cpu", dtype="bfloat16"))


def times(engine: TorchEngine, context: Context, tokens: int) -> tuple[list[float], list[float]]:
    """Seconds from token to token: of ordinary ones, and of those with a fold in between."""
    engine.check(GenerationParams())  # what grammars need is made with the real ones
    engine.stop_ids = frozenset({-1})  # a random model is to go on
    began, plain, folds, folded = time.perf_counter(), list[float](), list[float](), False
    for number, event in enumerate(engine.generate(context, GenerationParams(max_tokens=tokens))):
        if isinstance(event, ChunkFolded):
            folded = True
            continue
        now = time.perf_counter()
        if number:  # the first one has the prefill in it
            (folds if folded else plain).append(now - began)
        began, folded = now, False
    return plain, folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--history", type=int, default=8192, help="text tokens, at 4x")
    parser.add_argument("--keep", type=int, default=1, help="recent chunks that stay text")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = make(Path(folder), options.layers, options.vocabulary, options.keep)
    rng = np.random.default_rng(0)
    size = engine.model.config.text_config.hidden_size
    visual = tuple(
        VisualTokens(str(i), rng.normal(size=(VISUAL, size)).astype(np.float32), "random", 64)
        for i in range(options.history // 64)
    )
    words = " ".join(["The ferry leaves at nine, from the old harbour."] * 5)
    context = Context("", visual, MARKS["user"] + words + MARKS["assistant"])
    ways = {"ahead": ahead.AHEAD, "at the fold": 0, "no folds": None}
    found: dict[str, list[tuple[list[float], list[float]]]] = {way: [] for way in ways}
    limit = type(engine.spec).fold_at
    for _ in range(options.rounds + 1):
        for way, early in ways.items():
            generation.AHEAD = early or 0
            if early is None:
                type(engine.spec).fold_at = lambda *_: 1024  # type: ignore[method-assign]
            found[way].append(times(engine, context, options.tokens))
            type(engine.spec).fold_at = limit  # type: ignore[method-assign]
    result: dict[str, Any] = {"conditions": vars(options)}
    step = statistics.median(t for plain, _ in found["no folds"][1:] for t in plain)
    base = statistics.median(sum(plain) for plain, _ in found["no folds"][1:])
    for way, rounds in found.items():
        stalls = [t for _, folds in rounds[1:] for t in folds]
        total = statistics.median(sum(plain) + sum(folds) for plain, folds in rounds[1:])
        most = statistics.median(max(plain + folds) for plain, folds in rounds[1:])
        result[way] = {
            "step_s": step,
            "fold_gap_steps": statistics.median(stalls) / step if stalls else None,
            "longest_gap_steps": most / step,
            "share_of_folds": 1 - base / total,
            "folds": len(stalls),
        }
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
