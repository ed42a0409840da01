"""Which words stand in a visual token, as far as a linear map can tell; against pooled embeddings.

    python benchmarks/probe_words.py --data DATA --json benchmarks/results/probe_words.json

A linear map is trained from the vectors of chunks of prose to the tokens that are drawn, wholly or
in part, under each, and asked on chunks that it was not trained on.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from torch import Tensor

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.loading import load_model
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.types import Chunk

GUESSES, HELD_OUT, BATCH, STEPS = 20, 0.1, 512, 600


def shown(engine: TorchEngine, chunk: Chunk, strip: int) -> Tensor:
    """The ids of the tokens under each visual token, shape (visual tokens, strip), -1 for none."""
    tokenizer = engine.chunker.tokenizer
    rows = torch.full((engine.cost(chunk), strip), -1)
    ids = tokenizer.encode(chunk.text)  # type: ignore[attr-defined]
    for token, (start, end) in zip(ids, tokenizer.spans(chunk.text), strict=True):
        for place in range(start // strip, (end - 1) // strip + 1):
            rows[place, int((rows[place] >= 0).sum())] = token
    return rows


def found(vectors: Tensor, tokens: Tensor, vocabulary: int) -> float:
    """The share of held-out tokens that are among the map's first guesses."""
    torch.manual_seed(0)
    known = int(len(vectors) * (1 - HELD_OUT))
    vectors = (vectors - vectors[:known].mean(0)) / vectors[:known].std()
    probe = torch.nn.Linear(vectors.shape[1], vocabulary)
    optimizer = torch.optim.Adam(probe.parameters(), lr=3e-3)
    for _ in range(STEPS):
        some = torch.randint(known, (BATCH,))
        there = tokens[some] >= 0
        likely = probe(vectors[some]).log_softmax(-1).gather(1, tokens[some].clamp(min=0))
        loss = -((likely * there).sum(1) / there.sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        guesses = probe(vectors[known:]).topk(GUESSES).indices
    wanted = tokens[known:]
    hits = (guesses[:, :, None] == wanted[:, None, :]).any(1) & (wanted >= 0)
    return float(hits.sum() / (wanted >= 0).sum())


def main() -> None:
    """Encode, train both maps, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="vist2-tiny")
    parser.add_argument("--chunks", type=int, default=2600)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = find_model(asked.model)
    engine = TorchEngine(folder, device="cpu")
    model = load_model(folder, torch.device("cpu"), torch.float32)
    table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[assignment]
    strip = model.config.sketch_geometry.cells_per_strip
    prose = Passages(list(read_texts(find_files(asked.data / "prose", "train-0*")[0]))[:10])
    rng = random.Random(0)
    chunks: list[Chunk] = []
    while len(chunks) < asked.chunks:
        cut = engine.chunker.cut_all(prose.draw(rng, 4000))[:8]
        chunks += [chunk for chunk in cut if chunk.text.isascii()]
    visual, tokens = [], []
    for start in range(0, len(chunks), 64):
        some = chunks[start : start + 64]
        visual += [torch.from_numpy(each.values.copy()) for each in engine.encode(some)]
        tokens += [shown(engine, chunk, strip) for chunk in some]
    vectors, ids = torch.cat(visual).float(), torch.cat(tokens)
    pooled = torch.stack([table[row[row >= 0]].mean(0) for row in ids])
    result = {
        "guesses": GUESSES,
        "visual_tokens": len(vectors),
        "found_in_visual_tokens": round(found(vectors, ids, len(table)), 3),
        "found_in_pooled_embeddings": round(found(pooled, ids, len(table)), 3),
    }
    print(json.dumps(result))
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
