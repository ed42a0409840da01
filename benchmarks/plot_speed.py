"""Draw the figures of ``vist2 bench speed`` by length of history, on logarithmic axes.

    python benchmarks/plot_speed.py [--results FOLDER] [--out FOLDER]

Reads every speed-*.json of the folder. What was not measured is left out.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Series = dict[str, list[tuple[float, float]]]
"""Points by the name of their line."""
WAYS = {
    "text": "text",
    "cold": "visual memory, cold",
    "warm": "visual memory, from the store",
    "prefix": "visual memory, next turn",
    "text_prefix": "text, next turn",
}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The JSON objects of speed in ``folder``, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("speed-*.json"))]


def name_of(found: Mapping[str, Any]) -> str:
    """Model and tower, and the device if it is a GPU."""
    tower = f" {found['tower']}" if found.get("tower") else ""
    gpu = "" if found.get("device", "cpu") == "cpu" else f", {found['device']}"
    return f"{found['model']}{tower}{gpu}"


def first_tokens(results: Sequence[Mapping[str, Any]]) -> Series:
    """Seconds to the first token."""
    series: Series = defaultdict(list)
    for found in results:
        ttft = dict(found.get("ttft") or {})
        if not ttft:
            continue
        ttft["text_prefix"] = ttft[found["text_prefix_way"]]
        for way, label in WAYS.items():
            point = (found["history_text_tokens"], ttft[way]["median"])
            series[f"{name_of(found)}: {label}"].append(point)
    return series


def decoding(results: Sequence[Mapping[str, Any]]) -> Series:
    """Tokens a second."""
    series: Series = defaultdict(list)
    for found in results:
        for side, rate in (found.get("decode") or {}).get("tokens_per_s", {}).items():
            label = "visual memory" if side == "ours" else side
            series[f"{name_of(found)}: {label}"].append((found["history_text_tokens"], rate))
    return series


def operations(results: Sequence[Mapping[str, Any]]) -> Series:
    """Operations of the prefill, in 10^12."""
    series: Series = defaultdict(list)
    for found in results:
        for part, label in (("text_prefill", "text"), ("prefill", "visual memory")):
            if "flops" in found:
                count = found["flops"]["operations"][part]["causal"] / 1e12
                name = f"{found['model']}: {label}"
                series[name].append((found["history_text_tokens"], count))
    return series


def draw(series: Series, picture: Path, title: str, y: str) -> None:
    """Lines, one for each series; says so where there is nothing to draw."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5))
    for name, points in sorted(series.items()):
        once = sorted(set(points))
        axis.plot([x for x, _ in once], [y for _, y in once], marker="o", label=name)
    if series:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.legend(fontsize=6)
    else:
        axis.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center")
    axis.set(xlabel="text tokens of history", ylabel=y, title=title)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    root = Path(__file__).parents[1]
    parser.add_argument("--results", type=Path, default=root / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=root / "docs" / "plots")
    options = parser.parse_args(arguments)
    results = read_results(options.results)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, series, title, y in (
        ("speed-first-token", first_tokens(results), "Time to the first token", "seconds"),
        ("speed-decode", decoding(results), "Decoding", "tokens a second"),
        ("speed-flops", operations(results), "Prefill", "operations, 10^12"),
    ):
        picture = options.out / f"{name}.png"
        draw(series, picture, title, y)
        print(f"{picture}: {sum(map(len, series.values()))} figures")


if __name__ == "__main__":
    main()
