"""What the format of stored visual tokens costs: bytes, logits, tokens chosen, answers.

    python benchmarks/codec_formats.py [costs] [logits] [recall]

Writes benchmarks/results/codec.json, of each part what is not there yet. Logits are those of the
bundled model along the answers that it gives greedily from float32 visual tokens, of up to
``--questions`` questions a held-out conversation; each format is compared with float32. Exact match
is that of ``vist2 eval recall``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.store import Scope
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.formats import DTYPES, TensorFormat
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import source
from vist2_memory.training.evaluate.recall import History, evaluate_recall
from vist2_memory.types import VisualTokens

OUT = Path(__file__).parent / "results" / "codec.json"
SEED = 12345
HISTORY = 300  # text tokens
ANSWER = 24  # tokens
SCOPE = Scope("benchmark", "session", "codec")


@torch.inference_mode()
def along(
    engine: TorchEngine, past: History, prompt: str, values: list[VisualTokens], forced: list[int]
) -> tuple[list[int], torch.Tensor]:
    """The tokens of an answer and the logits before each, shape (tokens, vocabulary).

    ``forced``: the answer to go along, or empty to choose greedily.
    """
    cache = engine.prefill("", values)
    ids = engine.processor.tokenizer.encode(past.transcript.tail + prompt)
    logits = cache.append(engine.encoder.embed(ids))
    tokens: list[int] = []
    seen = []
    while len(tokens) < (len(forced) or ANSWER):
        masked = logits.clone()
        masked[sorted(engine._never)] = -torch.inf
        seen.append(masked)
        token = forced[len(tokens)] if forced else int(masked.argmax())
        tokens.append(token)
        if not forced and token in engine.processor.stop_ids:
            break
        logits = cache.append(engine.encoder.embed([token]))
    return tokens, torch.stack(seen)


def compare(engine: TorchEngine, conversations: int, questions: int) -> dict[str, Any]:
    """How far each format moves the logits from those of float32."""
    draw, rng = source("synthetic"), random.Random(SEED)
    sums: dict[str, list[np.ndarray]] = {name: [] for name in DTYPES}
    errors: dict[str, list[float]] = {name: [] for name in DTYPES}
    for _ in range(conversations):
        past = History(engine, draw(rng, int(HISTORY * 3.2)))
        exact = list(past.visual)
        for question in past.conversation.questions[:questions]:
            prompt = write([("user", question.text), ("assistant", "")])
            answer, reference = along(engine, past, prompt, exact, [])
            known = reference.isfinite()
            for name in DTYPES:
                form = TensorFormat(name)  # type: ignore[arg-type]
                rounded = [replace(v, values=form.rounded(v.values)) for v in exact]
                errors[name] += [
                    float(np.abs(r.values - e.values).max() / np.abs(e.values).max())
                    for r, e in zip(rounded, exact, strict=True)
                ]
                _, found = along(engine, past, prompt, rounded, answer)
                apart = torch.where(known, (found - reference).abs(), 0.0)
                logs, wanted = found.log_softmax(-1), reference.log_softmax(-1)
                kl = torch.where(known, wanted.exp() * (wanted - logs), 0.0).sum(-1)
                same = found.argmax(-1) == reference.argmax(-1)
                mean = apart.sum(-1) / known.sum(-1)
                columns = (apart.amax(-1), mean, kl, same.float())
                sums[name].append(torch.stack(columns, -1).numpy())
    result: dict[str, Any] = {}
    for name, parts in sums.items():
        rows = np.concatenate(parts)  # [tokens, 4]
        result[name] = {
            "tokens": len(rows),
            "largest_error_of_values": max(errors[name]),
            "logits_max_abs_diff": float(rows[:, 0].max()),
            "logits_mean_abs_diff": float(rows[:, 1].mean()),
            "kl_nats_mean": float(rows[:, 2].mean()),
            "kl_nats_max": float(rows[:, 2].max()),
            "same_greedy_token": float(rows[:, 3].mean()),
        }
    return result


def costs(engine: TorchEngine) -> dict[str, Any]:
    """Bytes and microseconds of one chunk of the bundled model, and of a large one's page."""
    [tokens] = engine.encode([engine.chunker.cut_all("The ferry leaves at nine. " * 200)[0]])
    rng = np.random.default_rng(0)
    page = replace(tokens, values=rng.normal(size=(256, 4 * 2048)).astype(np.float32))
    found: dict[str, Any] = {}
    for name in DTYPES:
        for what, stood, layers in (("chunk", tokens, 1), ("page of 4 layers", page, 4)):
            form = TensorFormat(name, layers)  # type: ignore[arg-type]
            data = encode(stood, SCOPE, form)
            asked = {
                "scope": SCOPE,
                "fingerprint": stood.fingerprint,
                "chunk_id": stood.chunk_id,
            }
            found.setdefault(name, {})[what] = {
                "visual_tokens": len(stood),
                "values_a_token": stood.values.shape[1],
                "bytes": len(data),
                "bytes_a_token": form.bytes_per_token(stood.values.shape[1]),
                "encode_us": quickest(lambda s=stood, f=form: encode(s, SCOPE, f)),
                "decode_us": quickest(lambda d=data, a=asked: decode(d, **a)),
            }
    return found


def quickest(call: Any) -> float:
    """Microseconds of the quickest of several calls."""
    times = []
    for _ in range(30):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return round(1e6 * min(times), 1)


def recall(name: str, conversations: int) -> dict[str, Any]:
    """Exact match on held-out conversations whose visual tokens are stored as ``name``."""
    engine = TorchEngine(find_model("vist2-tiny"), device="cpu", tensors_dtype=name)  # type: ignore[arg-type]
    report = evaluate_recall(
        engine, conversations=conversations, seed=SEED, history=HISTORY, baselines=False
    )
    return {key: report[key] for key in ("exact_match", "interval95", "questions")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["costs", "logits", "recall"])
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--questions", type=int, default=2, help="a conversation, for logits")
    options = parser.parse_args()
    for part in options.parts:
        for name in ("int8", "float32", "bfloat16") if part == "recall" else ("all",):
            if name in load().get(part, {}):
                continue
            if part == "recall":
                found: Any = recall(name, options.conversations)
            else:
                engine = TorchEngine(
                    find_model("vist2-tiny"), device="cpu", tensors_dtype="float32"
                )
                counts = (options.conversations, options.questions)
                found = costs(engine) if part == "costs" else compare(engine, *counts)
            result = load()  # another process may have done another part meanwhile
            result.setdefault(part, {})[name] = found
            result["conditions"] = {"model": "vist2-tiny", "seed": SEED, "history": HISTORY}
            OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            print(part, name, "done", flush=True)


def load() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    return found


if __name__ == "__main__":
    main()
