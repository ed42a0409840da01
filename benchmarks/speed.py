"""Measure speed against text, and write the tables of docs/performance.md.

    python benchmarks/speed.py run [NAME ...] [--store REDIS]    # into benchmarks/results
    python benchmarks/speed.py run NAME ... --gpu                # on a GPU, a few at a time
    python benchmarks/speed.py write                             # from there, between the marks

Without names all of RUNS, or of GPU_RUNS, are measured; a run of a GPU ends within 10 minutes. Each
figure of the tables comes from a file of results. Use a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs/performance.md"
COUNT = "".join(
    f" --skip {part}" for part in ("first", "memory", "decode", "fold", "batch", "vllm")
)
LONG = "--skip first --skip fold --skip vllm"

RUNS = {
    "bundled-1024": "--model bundled --history 1024",
    "bundled-4096": "--model bundled --history 4096",
    "0.6B-1024": "--model 0.6B --history 1024",
    "0.6B-2048": "--model 0.6B --history 2048",
    "0.6B-4096": "--model 0.6B --history 4096",
    "0.6B-8192": "--model 0.6B --history 8192",
    "0.6B-8192-paper": "--model 0.6B --history 8192 --ratio 4.5 --skip first --skip fold "
    "--skip decode --skip batch --skip vllm",
    "0.6B-8192-L16": "--model 0.6B --history 8192 --tower L/16 --skip decode --skip batch "
    "--skip fold --skip vllm",
    "0.6B-16384": f"--model 0.6B --history 16384 --batch 2 {LONG}",
    "0.6B-32768": f"--model 0.6B --history 32768 --repeats 2 {LONG} --skip batch --skip flops",
    "0.6B-65536": f"--model 0.6B --history 65536 --batch 1 {LONG}",
    **{
        f"{size}-{history}-counted": f"--model {size} --history {history}{COUNT}"
        for size in ("0.6B", "1.7B", "4B", "8B")
        for history in (8192, 32_768, 131_072)
    },
}
"""The options of ``vist2 bench speed``, without ``--json`` and ``--store``."""
GPU_RUNS = {
    f"gpu-{size}-{history}": f"--model {size} --history {history} --skip vllm"
    + (" --repeats 2" if history > 32_768 else " --repeats 5")
    + (" --batch 1" if history > 32_768 else " --batch 8")
    for size in ("0.6B", "1.7B", "4B", "8B")
    for history in (8192, 32_768, 131_072)
}
AIMS = {
    "ttft_ratio_cold": "2",
    "ttft_ratio_warm": "4",
    "ttft_ratio_prefix": "40",
    "ttft_ratio_prefix_to_text_prefix": "1",
    "kv_memory_ratio": "at most 0.26",
    "kv_memory_ratio_int8": "at most 0.14",
    "flops_ratio_warm": "at most 0.25",
    "flops_ratio_cold": "",
    "flops_ratio_generation": "at most 0.38",
    "decode_ratio": "",
    "batch_throughput_ratio": "3.5",
    "fold_share": "at most 0.05",
}
"""Of 0.6B at 8,192 text tokens on a CPU."""


def run(names: list[str], store: str, gpu: bool) -> None:
    """Run the commands called ``names`` and keep what they print."""
    known = GPU_RUNS if gpu else RUNS
    for name in names or known:
        options = [*known[name].split(), "--json", "--store", store]
        command = [sys.executable, "-m", "vist2_memory.cli", "bench", "speed", *options]
        start = time.monotonic()
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result(name).write_text(printed, encoding="utf-8")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def result(name: str) -> Path:
    return RESULTS / f"speed-{name}.json"


def measured(names: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What there is of the runs called ``names``."""
    return {name: json.loads(result(name).read_text()) for name in names if result(name).exists()}


def cell(found: dict[str, Any], name: str) -> str:
    """A figure with its range."""
    value = found.get(name)
    if value is None:
        return "–"
    told = found["ranges"].get(name)
    return f"{value:.3g}" + (f" ({told['min']:.3g} to {told['max']:.3g})" if told else "")


def table(runs: dict[str, dict[str, Any]], aims: bool) -> list[str]:
    """A row for each figure, a column for each run."""
    lines = ["| | " + " | ".join(runs) + (" | aim at 0.6B, 8,192 |" if aims else " |")]
    lines.append("|---" * (len(runs) + 1 + aims) + "|")
    for name, aim in AIMS.items():
        cells = [cell(found, name) for found in runs.values()] + ([aim] if aims else [])
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return lines


def stages(found: dict[str, Any]) -> list[str]:
    """What each stage took, and its share of what the machine can do at most."""
    lines = ["| stage | seconds | share of the limit |", "|---|---|---|"]
    for name, seconds in found["stages"].items():
        share = found["limits"].get(name)
        told = "–" if share is None else f"{100 * share:.2g}%"
        lines.append(f"| {name} | {seconds:.3g} | {told} |")
    return lines


def decoding(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Tokens a second by history."""
    lines = ["| | ours, tokens/s | text, tokens/s | ratio | bound | batches | bound |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, found in runs.items():
        if found.get("decode_ratio") is None:
            continue
        decode, batch = found["decode"], found.get("batch") or {}
        rate, most = decode["tokens_per_s"], f"{batch['bound']:.2f}" if batch else "–"
        lines.append(
            f"| {name}{', synthetic' if decode['synthetic_kv'] else ''} | {rate['ours']:.3g} "
            f"| {rate['text']:.3g} ({decode['text_way']}) | {cell(found, 'decode_ratio')} "
            f"| {decode['bound']:.2f} | {cell(found, 'batch_throughput_ratio')} | {most} |"
        )
    return lines


def counted(runs: dict[str, dict[str, Any]]) -> list[str]:
    """Ratios of operations by size and history."""
    kinds = ("warm", "cold", "generation", "generation_cold", "generation_bound")
    lines = ["| | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name, found in runs.items():
        if "flops" in found:
            ratios = found["flops"]["ratios"]
            cells = (f"{ratios[k]['counted']:.2f} ({ratios[k]['causal']:.2f})" for k in kinds)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def page_text() -> str:
    """All tables of the page."""
    runs, gpu = measured(RUNS), measured(GPU_RUNS)
    timed = {n: f for n, f in runs.items() if not n.endswith("-counted")}
    first = {n: f for n, f in timed.items() if f.get("ttft_ratio_warm") is not None}
    lines = ["No results were written yet."] if not runs else []
    for found in (first, gpu):
        if found:
            some = next(iter(found.values()))
            lines += [*table(found, found is first), ""]
            lines += [f"Commit {some['commit']}, {some['device']}, {some['threads']} threads.", ""]
    if timed:
        lines += ["Decoding:", "", *decoding({**timed, **gpu}), ""]
    if "0.6B-8192" in timed:
        lines += ["Stages at 0.6B and 8,192 text tokens:", "", *stages(timed["0.6B-8192"]), ""]
    only = {n.removesuffix("-counted"): f for n, f in runs.items() if n.endswith("-counted")}
    if only:
        lines += ["Operations, ours over text, as counted (and without hidden pairs):", ""]
        lines += counted(only)
    return "\n".join(lines).rstrip()


def write() -> None:
    """Put the tables between the marks of the page."""
    new, count = re.subn(
        r"(<!-- speed -->\n).*(\n<!-- end speed -->)",
        lambda marks: marks[1] + page_text() + marks[2],
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(
            f"{PAGE} must have one pair of marks, <!-- speed --> and <!-- end speed -->"
        )
    PAGE.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("do", choices=("run", "write"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="of RUNS; default: all")
    parser.add_argument("--store", default="memory://", help="a Redis of your own")
    parser.add_argument("--gpu", action="store_true", help="GPU_RUNS in place of RUNS")
    options = parser.parse_args()
    if options.do == "run":
        run(options.names, options.store, options.gpu)
    else:
        write()


if __name__ == "__main__":
    main()
