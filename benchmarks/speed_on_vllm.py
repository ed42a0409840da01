"""vLLM on visual memory against vLLM on text: writes the JSON of `measure_vllm`.

    python benchmarks/speed_on_vllm.py [--model vist2-tiny] [--history 4096] --out vllm.json

Needs vLLM: docs/vllm.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vist2_memory.benchmark.speed_vllm import measure_vllm
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--history", type=int, default=4096)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    found = measure_vllm(
        find_model(asked.model),
        history=asked.history,
        new_tokens=asked.new_tokens,
        repeats=asked.repeats,
        turns=asked.turns,
        progress=lambda done, of: print(f"{done}/{of}", file=sys.stderr),
    )
    asked.out.write_text(json.dumps({"model": asked.model, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
