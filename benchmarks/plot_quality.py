"""Draw the figures of ``vist2 eval`` as pictures: readback by ratio, recall by length of history.

    python benchmarks/plot_quality.py [--results FOLDER] [--out FOLDER]

Reads every .json file of the folder that ``vist2 eval readback`` or ``vist2 eval recall`` printed;
bars are intervals of 95%. What was not measured is left out.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WAYS = {
    "exact_match": "visual memory",
    "exact_match_exact_quotes": "visual memory, exact quotes",
    "text_twin_exact_match": "text twin, all of it",
    "text_twin_truncated_exact_match": "text twin, truncated",
    "exact_match_truncated": "same model, truncated",
    "exact_match_without_memory": "no memory",
}
"""The figures of recall that are drawn, and what the legend calls them."""


class Point(NamedTuple):
    """A figure with its interval, at a place of the x axis."""

    x: float
    y: float
    low: float
    high: float


Series = dict[str, list[Point]]


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The JSON objects in ``folder``, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def readback_by_ratio(results: Sequence[Mapping[str, Any]]) -> Series:
    """Character accuracy over text tokens a visual token, by model and kind of text."""
    series: Series = defaultdict(list)
    for found in results:
        if found.get("character_accuracy") is None:
            continue
        intervals = found["intervals95"]
        kinds = found.get("by_kind") or {"prose": found["character_accuracy"]}
        spans = intervals.get("by_kind") or {"prose": intervals["character_accuracy"]}
        for kind, value in kinds.items():
            point = Point(found["compression_ratio"], value, *spans[kind])
            series[f"{found['model']}, {kind}"].append(point)
    return series


def recall_by_history(results: Sequence[Mapping[str, Any]]) -> Series:
    """Exact match over text tokens of history, by model, kind of history and form of memory."""
    series: Series = defaultdict(list)
    for found in results:
        if found.get("history_text_tokens") is None or "exact_match" not in found:
            continue
        for way, name in WAYS.items():
            if found.get(way) is not None:
                low, high = found["intervals95"][way]
                point = Point(found["history_text_tokens"], found[way], low, high)
                series[f"{found['model']}, {found['kind']}: {name}"].append(point)
    return series


def draw(series: Series, picture: Path, title: str, x: str, y: str, *, log: bool = False) -> None:
    """Lines with bars, one for each series; says so where there is nothing to draw."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(10, 4.5))
    histories = list(dict.fromkeys(_parts(name)[0] for name in sorted(series)))
    lines = list(dict.fromkeys(_parts(name)[1] for name in sorted(series)))
    for name, points in sorted(series.items()):
        points = sorted(points)
        history, line = _parts(name)
        ys = [point.y for point in points]
        below = [max(0.0, point.y - point.low) for point in points]
        above = [max(0.0, point.high - point.y) for point in points]
        axis.errorbar(
            [point.x for point in points],
            ys,
            [below, above],
            label=name,
            capsize=3,
            color=f"C{lines.index(line)}",
            marker="osD^v"[histories.index(history) % 5],
            linestyle=("-", "--", ":", "-.")[histories.index(history) % 4],
        )
    if series:
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    else:
        axis.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center")
    if log and series:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:,.0f}")
    else:
        axis.set_xlim(0, max([11.0, *(point.x + 1 for line in series.values() for point in line)]))
    axis.set_ylim(0, 1.02)
    axis.set(xlabel=x, ylabel=y, title=title)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _parts(name: str) -> tuple[str, str]:
    """What is drawn alike in the name of a series: of one history or model, and of one form."""
    history, _, line = name.rpartition(": " if ": " in name else ", ")
    return history, line


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).parents[1]
    parser.add_argument("--results", type=Path, default=root / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=root / "docs" / "plots")
    options = parser.parse_args(arguments)
    results = read_results(options.results)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, series, title, x, y, log in (
        ("readback-by-ratio", readback_by_ratio(results), "Readback",
         "text tokens a visual token", "characters right", False),
        ("recall-by-history", recall_by_history(results), "Recall",
         "text tokens of history", "exact match", True),
    ):  # fmt: skip
        picture = options.out / f"{name}.png"
        draw(series, picture, f"{title}, with intervals of 95%", x, y, log=log)
        print(f"{picture}: {sum(map(len, series.values()))} figures")


if __name__ == "__main__":
    main()
