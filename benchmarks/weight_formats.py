"""What rounding the language model's weights costs and brings: bytes, logits, answers, speed.

    python benchmarks/weight_formats.py [logits] [recall] [speed] [--conversations 20]

Writes benchmarks/results/weights.json, of each part what is asked for. Logits are those of the
bundled model in bfloat16 along the answers that it gives greedily with exact weights, to held-out
questions. Exact match is that of ``vist2 eval recall``. Speed is that of decode steps of a random
language model of the size of Qwen3-0.6B in bfloat16, in turns, as ratios to exact weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.weights import quantise
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import source
from vist2_memory.training.evaluate.recall import History, evaluate_recall

OUT = Path(__file__).parent / "results" / "weights.json"
KINDS = (None, "int8", "int4")
SEED = 12345
HISTORY = 300  # text tokens
ANSWER = 24  # tokens


def engine_of(kind: str | None) -> TorchEngine:
    options = EngineOptions(device="cpu", dtype="bfloat16", weights=kind)  # type: ignore[arg-type]
    return TorchEngine(find_model("vist2-tiny"), options=options)


def size_of(model: torch.nn.Module) -> int:
    """Bytes of parameters and buffers, those that are shared counted once."""
    parts = {t.data_ptr(): t.nbytes for t in (*model.parameters(), *model.buffers())}
    return sum(parts.values())


@torch.inference_mode()
def along(engine: TorchEngine, past: History, prompt: str, forced: list[int]) -> Any:
    """The tokens of an answer and the logits before each, shape (tokens, vocabulary)."""
    cache = engine.prefill("", list(past.visual))
    ids = engine.processor.tokenizer.encode(past.transcript.tail + prompt)
    logits = cache.append(engine.encoder.embed(ids))
    never = torch.tensor(sorted(engine._never))
    tokens: list[int] = []
    seen = []
    while len(tokens) < (len(forced) or ANSWER):
        seen.append(logits.index_fill(0, never, -torch.inf))
        tokens.append(forced[len(tokens)] if forced else int(seen[-1].argmax()))
        if not forced and tokens[-1] in engine.stop_ids:
            break
        logits = cache.append(engine.encoder.embed([tokens[-1]]))
    return tokens, torch.stack(seen)


def logits(conversations: int) -> dict[str, Any]:
    engines = {str(kind): engine_of(kind) for kind in KINDS}
    exact = engines["None"]
    draw, rng = source("synthetic"), random.Random(SEED)
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in engines}
    for _ in range(conversations):
        past = History(exact, draw(rng, int(HISTORY * 3.2)))
        for question in past.conversation.questions[:2]:
            prompt = write([("user", question.text), ("assistant", "")])
            answer, reference = along(exact, past, prompt, [])
            known = reference.isfinite()
            wanted = reference.log_softmax(-1)
            for name, engine in engines.items():
                _, found = along(engine, past, prompt, answer)
                apart = torch.where(known, (found - reference).abs(), 0.0)
                kl = torch.where(known, wanted.exp() * (wanted - found.log_softmax(-1)), 0.0)
                same = found.argmax(-1) == reference.argmax(-1)
                mean = apart.sum(-1) / known.sum(-1)
                rows[name].append(torch.stack([apart.amax(-1), mean, kl.sum(-1), same.float()], -1))
    result = {}
    for name, parts in rows.items():
        table = torch.cat(parts)
        result[name] = {
            "tokens": len(table),
            "bytes_of_language_model": size_of(engines[name].model.language_model),
            "logits_max_abs_diff": round(float(table[:, 0].max()), 4),
            "logits_mean_abs_diff": round(float(table[:, 1].mean()), 4),
            "kl_nats_mean": round(float(table[:, 2].mean()), 6),
            "same_greedy_token": round(float(table[:, 3].mean()), 4),
        }
    return result


def recall(conversations: int) -> dict[str, Any]:
    found = {}
    for kind in KINDS:
        report = evaluate_recall(
            engine_of(kind),
            conversations=conversations,
            seed=SEED,
            history=HISTORY,
            baselines=False,
        )
        found[str(kind)] = {key: report[key] for key in ("exact_match", "interval95", "questions")}
    return found


@torch.inference_mode()
def speed(turns: int) -> dict[str, Any]:
    """Seconds of decode steps behind 256 tokens, and their ratio to those with exact weights."""
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
        attn_implementation="sdpa",
    )
    torch.set_default_dtype(torch.bfloat16)
    exact = Qwen3ForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    caches = {}
    sizes = {}
    for kind in KINDS:
        model = exact if kind is None else copy.deepcopy(exact)
        if kind is not None:
            quantise(model, kind)  # type: ignore[arg-type]
        sizes[str(kind)] = size_of(model)
        caches[str(kind)] = KVCache(model)
        caches[str(kind)].append(torch.randn(256, 1024).bfloat16() * 0.02)
    token = torch.randn(1, 1024).bfloat16() * 0.02
    seconds: dict[str, list[float]] = {name: [] for name in caches}
    for turn in range(turns + 1):
        for name in random.sample(list(caches), len(caches)):
            began = time.perf_counter()
            for _ in range(2):
                caches[name].append(token)
            if turn:
                seconds[name].append((time.perf_counter() - began) / 2)
    result = {}
    for name, times in seconds.items():
        ratios = sorted(a / b for a, b in zip(seconds["None"], times, strict=True))
        result[name] = {
            "bytes": sizes[name],
            "seconds_a_step": round(statistics.median(times), 4),
            "speed_ratio": round(statistics.median(ratios), 3),
            "speed_ratio_spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["logits", "recall", "speed"])
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    ways = {"logits": logits, "recall": recall, "speed": speed}
    for part in options.parts:
        found = ways[part](options.turns if part == "speed" else options.conversations)
        result = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
        result[part] = found
        result["conditions"] = {
            "model": "vist2-tiny in bfloat16; for speed, random weights of the size of Qwen3-0.6B",
            "seed": SEED,
            "history": HISTORY,
            "threads": torch.get_num_threads(),
        }
        OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(part, json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
