"""From nothing to the first answer of the bundled model, beside importing what it stands on.

    python benchmarks/startup.py [--repeats 15]

Each measurement is a process of its own; the kinds take turns, in an order that is shuffled, so
that what else the machine does meets all alike. Files are in the system's cache after a first round
that is not counted. ``seconds`` are wall-clock, from before the first import, without the
interpreter's own start; ``cpu_seconds`` are those of a processor. One thread computes: a model this
small gains nothing by more, and where others use the machine too, threads wait for each other.

What "importing transformers" is depends on what one wants of it, since it loads its parts when they
are named: ``bare`` is ``import torch, transformers``, which gives no model yet; ``auto`` names
``AutoModelForCausalLM`` too; ``model`` names the class of the language model, which is what
``AutoModelForCausalLM.from_pretrained`` loads before it reads any weights. ``ratio`` is of
``bare``, the least of them. Writes benchmarks/results/startup.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vist2_memory.benchmark.machine import machine, versions

OUT = Path(__file__).parent / "results" / "startup.json"

KINDS = {
    "bare": "import torch, transformers",
    "auto": "import torch\nfrom transformers import AutoModelForCausalLM",
    "model": "import torch\nfrom transformers import Qwen3ForCausalLM",
    "answer": """
from vist2_memory import VisualMemory
VisualMemory.open("memory://").session("s").ask("What is my cat called?")
""",
    "first_text": """
from vist2_memory import VisualMemory
next(VisualMemory.open("memory://").session("s").stream("What is my cat called?"))
""",
}
TIMED = """
import time
began = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def taken(code: str) -> tuple[float, float]:
    """Seconds that ``code`` takes in a fresh interpreter: wall-clock, and of a processor."""
    result = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    wall, processor = map(float, result.stdout.split()[-2:])
    return wall, processor


def of_each(what: Callable[[list[float]], Any], times: dict[str, list[float]]) -> dict[str, Any]:
    """``what`` of the times of each kind."""
    return {kind: what(one) for kind, one in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    rng, times = random.Random(0), {kind: [] for kind in KINDS}
    for turn in range(options.repeats + 1):
        for kind in rng.sample(sorted(KINDS), len(KINDS)):
            measured = taken(KINDS[kind])
            if turn:
                times[kind].append(measured)
    wall = {kind: [one for one, _ in both] for kind, both in times.items()}
    processor = {kind: [one for _, one in both] for kind, both in times.items()}
    medians, cpu = of_each(statistics.median, wall), of_each(statistics.median, processor)
    result = {
        "ratio": medians["answer"] / medians["bare"],
        "ratio_auto": medians["answer"] / medians["auto"],
        "ratio_model": medians["answer"] / medians["model"],
        "ratio_cpu": cpu["answer"] / cpu["bare"],
        "seconds": medians,
        "spread": of_each(lambda one: [min(one), max(one)], wall),
        "cpu_seconds": cpu,
        "repeats": options.repeats,
        "machine": machine(),
        "versions": versions(("torch", "transformers")),
    }
    OUT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
