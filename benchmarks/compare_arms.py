"""Visual memory against a text-only twin and the direct methods, at one small equal budget.

    python benchmarks/compare_arms.py --data DATA --out runs/arms --seeds 0 1 2

Trains every form of memory by the same recipe, from the same initial language model, tokenizer and
samples for each seed, one after the other; evaluates them side by side; writes
benchmarks/results/arms.json and docs/plots/arms.png. The same command again goes on where it was
stopped; seeds that the JSON already has are kept. With ``--only FORM`` it trains one form of each
seed and stops, so that several can be trained at once. DATA is what ``vist2 train`` takes, with
``prose/dev.*`` held out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from vist2_memory.engine.torch import TorchEngine
from vist2_memory.training.data import find_files
from vist2_memory.training.devices import Execution
from vist2_memory.training.evaluate import (
    evaluate_perplexity,
    evaluate_readback,
    evaluate_recall,
)
from vist2_memory.training.forms import MEMORIES
from vist2_memory.training.run import train

ROOT = Path(__file__).parents[1]
SHOWN = {
    "perplexity": {
        "visual": "visual",
        "mean-pooled": "mean_pooled",
        "convolution": "convolution",
        "truncated": "truncated",
        "no history": "without_history",
        "text twin": "text_twin",
        "twin, truncated": "text_twin_truncated",
    },
    "recall": {
        "visual": "exact_match",
        "mean-pooled": "mean_pooled_exact_match",
        "convolution": "convolution_exact_match",
        "truncated": "exact_match_truncated",
        "no history": "exact_match_without_memory",
        "text twin": "text_twin_exact_match",
        "twin, truncated": "text_twin_truncated_exact_match",
    },
    "readback": {"characters": "character_accuracy"},
}
"""The figures that are summed up over seeds, by evaluation and by what the plot calls them."""
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t for 95% and 1, 2, ... degrees of freedom."""


def options() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="takes the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default="comparison")
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--start", help="a model that every arm goes on from, not random weights")
    parser.add_argument("--history", type=int, default=700, help="text tokens, of both evaluations")
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--only", choices=MEMORIES, help="train this form of memory, and stop")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument("--compile", metavar="BACKEND", help="as of vist2 train")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/arms.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs/plots/arms.png")
    return parser.parse_args()


def train_arms(asked: argparse.Namespace, seed: int) -> dict[str, Path]:
    """The folders of the models of one seed, by their form of memory."""
    models: dict[str, Path] = {}
    tokenizer = asked.out / f"seed-{seed}" / MEMORIES[0] / "tokenizer.json"
    for memory in MEMORIES if asked.only is None else (asked.only,):
        out = asked.out / f"seed-{seed}" / memory
        out.mkdir(parents=True, exist_ok=True)
        if tokenizer.is_file() and not (out / tokenizer.name).exists():
            shutil.copy(tokenizer, out)  # the others would train the very same one
        print(f"seed {seed}: {memory}", flush=True)
        models[memory] = train(
            asked.recipe,
            asked.data,
            out,
            seed,
            asked.start,
            Execution(cpu=asked.cpu, compile=asked.compile),
            memory=memory,
            size=asked.preset,
        )
    return models


def measure(asked: argparse.Namespace, models: dict[str, Path]) -> dict[str, Any]:
    """Every evaluation of the models of one seed."""
    engine = TorchEngine(models["visual"], device="cpu" if asked.cpu else None)
    (held_out,) = find_files(asked.data / "prose", "dev.*")
    arms = {
        "twin": models["text"],
        "mean_pooled": models["mean-pooled"],
        "convolution": models["convolution"],
    }
    return {
        "perplexity": evaluate_perplexity(
            engine, held_out, history=asked.history, passages=asked.passages, **arms
        ),
        "recall": evaluate_recall(
            engine, conversations=asked.conversations, history=asked.history, **arms
        ),
        "readback": evaluate_readback(engine, held_out, chunks=asked.chunks),
    }


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The mean, and its interval of 95% by Student's t; None with a single seed."""
    mean = fmean(values)
    if len(values) < 2:
        return {"mean": mean, "interval95": None}
    half = T95[min(len(values) - 1, len(T95)) - 1] * stdev(values) / len(values) ** 0.5
    return {"mean": mean, "interval95": [mean - half, mean + half]}


def summarize(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each figure over seeds; and how much it exceeds visual memory's, seed by seed."""
    summary: dict[str, Any] = {}
    for evaluation, figures in SHOWN.items():
        values = {n: [run[evaluation][figure] for run in runs] for n, figure in figures.items()}
        summary[evaluation] = {name: over_seeds(each) for name, each in values.items()}
        if "visual" in values:
            summary[f"{evaluation}_less_visual"] = {
                name: over_seeds([a - b for a, b in zip(each, values["visual"], strict=True)])
                for name, each in values.items()
                if name != "visual"
            }
    return summary


def plot(runs: Sequence[dict[str, Any]], summary: dict[str, Any], picture: Path) -> None:
    """A panel for perplexity and one for recall: a bar is a mean, a dot a seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    titles = {"perplexity": "perplexity (less is better)", "recall": "recall, exact match"}
    for axis, (evaluation, title) in zip(axes, titles.items(), strict=True):
        for place, (name, key) in enumerate(SHOWN[evaluation].items()):
            colour = "tab:blue" if name == "visual" else "tab:gray"
            axis.bar(place, summary[evaluation][name]["mean"], color=colour, alpha=0.5)
            seeds = [run[evaluation][key] for run in runs]
            axis.plot([place] * len(seeds), seeds, "k.", markersize=5)
        axis.set_xticks(range(len(SHOWN[evaluation])), SHOWN[evaluation], rotation=30, ha="right")
        axis.set_title(title)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def measured_before(asked: argparse.Namespace, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of other seeds that the JSON holds, if they were made with the same settings."""
    if not asked.json.is_file():
        return []
    found = json.loads(asked.json.read_text())
    if {name: found.get(name) for name in settings} != settings:
        return []
    return [run for run in found["runs"] if run["seed"] not in asked.seeds]


def main() -> None:
    """Train, evaluate, write."""
    asked = options()
    settings = {
        "recipe": asked.recipe,
        "preset": None if asked.start else asked.preset,
        "start": asked.start,
        "history": asked.history,
        "passages": asked.passages,
        "conversations": asked.conversations,
        "chunks": asked.chunks,
    }
    runs = measured_before(asked, settings)
    for seed in asked.seeds:
        models = train_arms(asked, seed)
        if asked.only is not None:
            continue
        runs.append({"seed": seed, **measure(asked, models)})
        result = settings | {
            "torch": torch.__version__,
            "cpus": os.cpu_count(),
            "summary": summarize(runs),
            "runs": runs,
        }
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(result, indent=2) + "\n")
        plot(runs, result["summary"], asked.plot)
        print(asked.json, asked.plot, sep="\n")


if __name__ == "__main__":
    main()
