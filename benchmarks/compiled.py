"""What compiled decode steps bring, against plain ones and transformers' own, in turns.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py [--models bundled,0.6B] [--turns 9] [--write]

Steps: one token behind as many random keys and values as visual tokens stand for 1,024 and 8,192
text tokens (a quarter), greedy choice included. `transformers` is the model's own forward over its
dynamic cache. Answers (of the bundled model): 200 tokens behind a memory, folds, choices and text
included; that both say the same is checked. Time is processor time of one thread, since other work
on the machine hits the ways unlike; ratios are those of each turn. Compiling is told in processor
time of this process and its compilers, with an empty cache of torch's and a filled one.
Writes benchmarks/results/compiled.json; `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, Qwen3ForCausalLM

from vist2_memory.benchmark.machine import machine
from vist2_memory.benchmark.speed_models import sized_config
from vist2_memory.benchmark.speed_text import random_kv
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model
from vist2_memory.engine.compiled import CompiledSteps
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.loading import load_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.steps import PlainSteps, Steps
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import write as write_transcript
from vist2_memory.types import Context, Finished, GenerationParams

OUT = Path(__file__).parent / "results" / "compiled.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
HISTORIES = (1024, 8192)
RATIO = 4
STEPS = {"bundled": 40, "0.6B": 4}
TOKENS = 200
TEXT = "the ferry leaves at nine and Anna keeps bees behind her house while it rains "


def language_model(name: str) -> Qwen3ForCausalLM:
    """The bundled one in float32, or one of a size in bfloat16 with random weights."""
    if name == "bundled":
        folder = find_model(DEFAULT_MODEL)
        return load_model(folder, torch.device("cpu"), torch.float32).language_model
    config = sized_config(name, "B/16", max(HISTORIES)).text_config
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    model.set_attn_implementation("sdpa")
    return model


def compiled(model: Qwen3ForCausalLM) -> tuple[CompiledSteps, float]:
    """Compiled steps, and the processor time that it took."""
    before = _spent()
    steps = CompiledSteps(model)
    steps.warm_up()
    return steps, _spent() - before


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@torch.inference_mode()
def steps_of(model: Qwen3ForCausalLM, name: str, compiled: Steps, turns: int) -> dict[str, Any]:
    """Seconds a step of each way, behind each history."""
    found = {}
    for history in HISTORIES:
        held = history // RATIO
        ways = {
            "transformers": _by_transformers(model, held, STEPS[name]),
            "plain": _by_cache(model, PlainSteps(model), held, STEPS[name]),
            "compiled": _by_cache(model, compiled, held, STEPS[name]),
        }
        found[str(history)] = in_turns(ways, turns, "plain")
    return found


def _by_transformers(model: Qwen3ForCausalLM, held: int, steps: int) -> Callable[[], float]:
    cache = DynamicCache(config=model.config)
    keys, values = random_kv(model, held)
    for number in range(model.config.num_hidden_layers):
        cache.update(keys, values, number)
    token = torch.tensor([[5]])

    def run() -> float:
        began = time.process_time()
        for _ in range(steps):
            output = model(input_ids=token, past_key_values=cache, logits_to_keep=1)
            int(output.logits[0, -1].argmax())
        seconds = (time.process_time() - began) / steps
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys[:, :, :held], layer.values[:, :, :held]
        return seconds

    return run


def _by_cache(model: Qwen3ForCausalLM, by: Steps, held: int, steps: int) -> Callable[[], float]:
    cache = KVCache(model, steps=by)
    keys, values = random_kv(model, held)
    cache.reserve(held + steps)
    for layer in cache._layers:
        layer.write(0, keys, values)
        layer.length = held
    table = model.get_input_embeddings()

    def run() -> float:
        began = time.process_time()
        for _ in range(steps):
            int(cache.append(table(torch.tensor([5]))).argmax())
        seconds = (time.process_time() - began) / steps
        cache.crop(held)
        return seconds

    return run


def answers(turns: int) -> dict[str, Any]:
    """Seconds a token of whole answers of the bundled model, that fold on the way."""
    ways, said = {}, set[str]()
    for name in ("plain", "compiled"):
        options = EngineOptions(device="cpu", compile=name == "compiled", kv_cache_bytes=0)
        engine = TorchEngine(find_model(DEFAULT_MODEL), options=options)
        engine.stop_ids = frozenset()  # answers are as long as they are asked for
        chunks = engine.chunker.cut_all(TEXT * 200)[:16]
        tail = write_transcript([("user", "When does the ferry leave?"), ("assistant", "")])
        context = Context("", tuple(engine.encode(chunks)), tail)

        def run(engine: TorchEngine = engine, context: Context = context) -> float:
            events, began = engine.generate(context, GenerationParams(max_tokens=TOKENS)), 0.0
            for event in events:
                began = began or time.process_time()  # what is read first is not decoding
                if isinstance(event, Finished):
                    said.add(event.text)
            return (time.process_time() - began) / TOKENS

        ways[name] = run
    found = in_turns(ways, turns, "plain")
    assert len(said) == 1, "the ways say different things"
    return found


def in_turns(ways: dict[str, Callable[[], float]], turns: int, base: str) -> dict[str, Any]:
    """Medians of each way, and of the ratios of ``base`` to each; the first turn warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name in random.sample(list(ways), len(ways)):
            taken = ways[name]()
            if turn:
                seconds[name].append(taken)
    found: dict[str, Any] = {}
    for name, times in seconds.items():
        ratios = [b / own for b, own in zip(seconds[base], times, strict=True)]
        found[name] = {
            "ms": round(statistics.median(times) * 1000, 3),
            f"ratio_to_{base}": round(statistics.median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
        }
    return found


def measure(names: list[str], turns: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        model = language_model(name)
        _, cold = compiled(model)
        torch._dynamo.reset()
        by, again = compiled(model)
        found[name] = {
            "compile_cpu_s": {"cold": round(cold, 1), "cached": round(again, 1)},
            "steps": steps_of(model, name, by, turns),
        }
        if name == "bundled":
            found[name]["answers"] = answers(turns)
        print(json.dumps(found[name], indent=1))
    return found


def table(models: dict[str, Any]) -> str:
    """The rows of the docs."""
    lines = [
        "| | transformers | plain | compiled | compiling, s of processor time (cached) |",
        "|---|---|---|---|---|",
    ]
    for name, own in models.items():
        cold, cached = own["compile_cpu_s"]["cold"], own["compile_cpu_s"]["cached"]
        parts = {f"{name}, {int(h):,} text tokens": ways for h, ways in own["steps"].items()}
        if "answers" in own:
            parts[f"{name}, whole answers"] = own["answers"]
        for row, ways in parts.items():
            cells = [row]
            for way in ("transformers", "plain", "compiled"):
                told = ways.get(way)
                low, high = told["range"] if told else (0, 0)
                ratio = told["ratio_to_plain"] if told else 0
                cells.append(f"{ratio:.2f} ({low:.2f} to {high:.2f})" if told else "–")
            lines.append(f"| {' | '.join([*cells, f'{cold:.0f} ({cached:.0f})'])} |")
    return "\n".join(lines)


def write(models: dict[str, Any]) -> None:
    """Put the table between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    marks = r"(<!-- compiled -->\n).*(\n<!-- end compiled -->)"
    text, found = re.subn(
        marks, lambda m: m[1] + table(models) + m[2], page, count=1, flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{PAGE} must have the marks <!-- compiled --> and <!-- end compiled -->")
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="bundled,0.6B")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="only write the table anew")
    asked = parser.parse_args()
    if not asked.write:
        told = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {"models": {}}
        with tempfile.TemporaryDirectory() as empty:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            told["models"] |= measure(asked.models.split(","), asked.turns)
        told |= {"machine": machine(), "threads": torch.get_num_threads(), "time": "processor"}
        OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    write(json.loads(OUT.read_text(encoding="utf-8"))["models"])


if __name__ == "__main__":
    main()
