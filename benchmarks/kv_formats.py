"""What the format of keys and values costs: bytes, logits, tokens chosen, answers.

    python benchmarks/kv_formats.py [bytes] [logits] [recall]

Writes benchmarks/results/kv.json, of each part what is not there yet. Logits are those of the
bundled model along the answers that it gives greedily with keys and values in float32, of up to
``--questions`` questions a held-out conversation; a token is the same if it is still the likeliest.
``same_answers``: of answers that are generated without being led, those that come out letter by
letter. Exact match is that of ``vist2 eval recall``.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any, get_args

import torch
from codec_formats import HISTORY, SEED, along

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.kv import KVLayer
from vist2_memory.engine.options import EngineOptions, KVType
from vist2_memory.engine.rounded import rounded_to
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import source
from vist2_memory.training.evaluate.recall import History, evaluate_recall

OUT = Path(__file__).parent / "results" / "kv.json"
FORMATS: tuple[str, ...] = get_args(KVType)
COMPRESSION = 4
"""Text tokens a visual token."""


def engine_of(name: str | None) -> TorchEngine:
    options = EngineOptions(device="cpu", tensors_dtype="bfloat16", kv_dtype=name)  # type: ignore[arg-type]
    return TorchEngine(find_model("vist2-tiny"), options=options)


def cost() -> dict[str, Any]:
    """Bytes of a visual token over those of the text tokens it stands for, as bfloat16."""
    found = {}
    for head_size in (64, 128):
        states = torch.randn(1, 8, 1, head_size).bfloat16()
        plain = KVLayer()
        plain.begin(states, states)
        found[f"heads of {head_size}"] = {"bfloat16": 1 / COMPRESSION}
        for name in FORMATS:
            layer = rounded_to(name)()
            layer.begin(states, states)
            ratio = layer.token_bytes / plain.token_bytes / COMPRESSION
            found[f"heads of {head_size}"][name] = ratio
    return found


def compare(conversations: int, questions: int) -> dict[str, Any]:
    """How far each format moves the logits from those of float32."""
    exact, others = engine_of(None), {name: engine_of(name) for name in FORMATS}
    draw, rng = source("synthetic"), random.Random(SEED)
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in FORMATS}
    same: dict[str, list[bool]] = {name: [] for name in FORMATS}
    for _ in range(conversations):
        past = History(exact, draw(rng, int(HISTORY * 3.2)))
        for question in past.conversation.questions[:questions]:
            prompt = write([("user", question.text), ("assistant", "")])
            answer, wanted = along(exact, past, prompt, list(past.visual), [])
            known = wanted.isfinite()
            for name, engine in others.items():
                _, found = along(engine, past, prompt, list(past.visual), answer)
                apart = torch.where(known, (found - wanted).abs(), 0.0)
                kl = wanted.softmax(-1) * (wanted.log_softmax(-1) - found.log_softmax(-1))
                kl = torch.where(known, kl, 0.0).sum(-1)
                token = (found.argmax(-1) == wanted.argmax(-1)).float()
                mean = apart.sum(-1) / known.sum(-1)
                rows[name].append(torch.stack([apart.amax(-1), mean, kl, token], -1))
                free, _ = along(engine, past, prompt, list(past.visual), [])
                same[name].append(free == answer)
    result: dict[str, Any] = {}
    for name, parts in rows.items():
        table = torch.cat(parts)  # [tokens, 4]
        result[name] = {
            "tokens": len(table),
            "logits_max_abs_diff": float(table[:, 0].max()),
            "logits_mean_abs_diff": float(table[:, 1].mean()),
            "kl_nats_mean": float(table[:, 2].mean()),
            "same_greedy_token": float(table[:, 3].mean()),
            "same_answers": sum(same[name]) / len(same[name]),
        }
    return result


def recall(name: str, conversations: int) -> dict[str, Any]:
    """Exact match on held-out conversations with keys and values in the format ``name``."""
    engine = engine_of(None if name == "float32" else name)
    report = evaluate_recall(
        engine, conversations=conversations, seed=SEED, history=HISTORY, baselines=False
    )
    return {key: report[key] for key in ("exact_match", "interval95", "questions")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["bytes", "logits", "recall"])
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--questions", type=int, default=2, help="a conversation, for logits")
    options = parser.parse_args()
    for part in options.parts:
        for name in ("float32", *FORMATS) if part == "recall" else ("all",):
            if name in load().get(part, {}):
                continue
            if part == "recall":
                found = recall(name, options.conversations)
            elif part == "bytes":
                found = cost()
            else:
                found = compare(options.conversations, options.questions)
            result = load()  # another process may have done another part meanwhile
            result.setdefault(part, {})[name] = found
            result["conditions"] = {
                "model": "vist2-tiny",
                "seed": SEED,
                "history": HISTORY,
                "conversations": options.conversations,
            }
            OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            print(part, name, "done", flush=True)


def load() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    return found


if __name__ == "__main__":
    main()
