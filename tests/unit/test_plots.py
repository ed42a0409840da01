"""The pictures of docs/plots: what is drawn of the figures that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plot_quality import Point, main, readback_by_ratio, recall_by_history


def readback(ratio: float, accuracy: float) -> dict[str, Any]:
    interval = [accuracy - 0.02, accuracy + 0.01]
    return {
        "character_accuracy": accuracy,
        "compression_ratio": ratio,
        "model": "m",
        "intervals95": {"character_accuracy": interval},
    }


def recall(history: float, found: float, twin: float | None) -> dict[str, Any]:
    figures = {"exact_match": found, "text_twin_exact_match": twin}
    intervals = {name: [v - 0.1, v + 0.1] for name, v in figures.items() if v is not None}
    rest = {"history_text_tokens": history, "kind": "synthetic", "model": "m"}
    return {**figures, **rest, "intervals95": intervals}


def test_readback_has_a_point_for_each_ratio() -> None:
    one, other, foreign = readback(4.0, 0.9), readback(8.0, 0.7), {"answers": []}
    other["by_kind"] = {"prose": 0.7, "code": 0.4}
    other["intervals95"]["by_kind"] = {"prose": [0.6, 0.8], "code": [0.3, 0.5]}
    assert readback_by_ratio([one, foreign, other, recall(9, 0.1, None)]) == {
        "m, prose": [Point(4.0, 0.9, 0.88, 0.91), Point(8.0, 0.7, 0.6, 0.8)],
        "m, code": [Point(8.0, 0.4, 0.3, 0.5)],
    }


def test_recall_leaves_out_what_was_not_measured() -> None:
    series = recall_by_history([recall(1000, 0.5, None), recall(4000, 0.4, 0.9), readback(4, 0.9)])
    assert {name: [point.x for point in points] for name, points in series.items()} == {
        "m, synthetic: visual memory": [1000, 4000],
        "m, synthetic: text twin, all of it": [4000],
    }


@pytest.mark.parametrize("results", [[], [readback(4.0, 0.9), recall(1000, 0.5, 0.6)]])
def test_both_pictures_are_drawn_of_many_results_and_of_none(
    tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    for number, found in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(found))
    main(["--results", str(tmp_path), "--out", str(tmp_path / "plots")])
    pictures = sorted((tmp_path / "plots").iterdir())
    assert [picture.name for picture in pictures] == [
        "readback-by-ratio.png",
        "recall-by-history.png",
    ]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
