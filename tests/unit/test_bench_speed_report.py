"""What benchmarks/ makes of the figures of ``vist2 bench speed``: tables and pictures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plot_speed, speed

PAGE = "before\n<!-- speed -->\nold\n<!-- end speed -->\nafter\n"


def told(value: float) -> dict[str, float]:
    return {"median": value, "min": value * 0.9, "max": value * 1.1}


def figures(history: int, **changes: Any) -> dict[str, Any]:
    ways = ("text", "cold", "warm", "prefix", "text_prefix static")
    ratios = dict.fromkeys(("warm", "cold", "generation", "generation_cold", "generation_bound"))
    return {
        **dict.fromkeys(speed.AIMS),
        "ttft_ratio_warm": 4.5,
        "decode_ratio": 1.75,
        "ranges": {"ttft_ratio_warm": told(4.5)},
        "ttft": {way: told(2.0) for way in ways},
        "text_prefix_way": "text_prefix static",
        "decode": {
            "tokens_per_s": {"ours": 14.0, "text": 8.0},
            "bound": 1.9,
            "synthetic_kv": False,
            "text_way": "dynamic",
        },
        "flops": {
            "ratios": {name: {"counted": 0.21, "causal": 0.25} for name in ratios},
            "operations": {n: {"causal": 3e12} for n in ("text_prefill", "prefill")},
        },
        "stages": {"encode": 1.5},
        "limits": {"encode": 0.25},
        "model": "0.6B",
        "tower": "B/16",
        "device": "cpu",
        "threads": 2,
        "commit": "abc1234",
        "history_text_tokens": history,
        **changes,
    }


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def test_tables_have_what_was_measured_and_the_rest_of_the_page_stays(results: Path) -> None:
    speed.result("0.6B-8192").write_text(json.dumps(figures(8256)))
    only = figures(32_832, ttft_ratio_warm=None, decode_ratio=None)
    speed.result("8B-32768-counted").write_text(json.dumps(only))
    speed.write()
    page = (results / "page.md").read_text()
    assert page.startswith("before\n<!-- speed -->\n")
    assert page.endswith("\n<!-- end speed -->\nafter\n")
    assert "\nold\n" not in page
    assert "| `ttft_ratio_warm` | 4.5 (4.05 to 4.95) | 4 |" in page
    assert "| 0.6B-8192 | 14 | 8 (dynamic) | 1.75 | 1.90 | – |" in page
    assert "| encode | 1.5 | 25% |" in page
    assert "| 8B-32768 | 0.21 (0.25) |" in page
    assert "abc1234" in page


def test_without_results_the_page_says_so(results: Path) -> None:
    speed.write()
    assert "No results were written yet." in (results / "page.md").read_text()


def test_each_run_is_a_command_of_its_own(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def ran(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command[3:])
        return subprocess.CompletedProcess(command, 0, "{}")

    monkeypatch.setattr(subprocess, "run", ran)
    speed.run(["bundled-1024"], "redis://x", gpu=False)
    options = "bench speed --model bundled --history 1024 --json --store redis://x"
    assert asked == [options.split()]
    assert speed.result("bundled-1024").read_text() == "{}"
    speed.run([], "memory://", gpu=True)
    assert len(asked) == 1 + 12


@pytest.mark.parametrize("some", [True, False])
def test_pictures_are_drawn_of_many_results_and_of_none(tmp_path: Path, some: bool) -> None:
    for number in range(2 if some else 0):
        found = figures(8192 * (number + 1))
        (tmp_path / f"speed-{number}.json").write_text(json.dumps(found))
    (tmp_path / "other.json").write_text("[]")
    results = plot_speed.read_results(tmp_path)
    series = plot_speed.first_tokens(results)
    assert len(series) == (5 if some else 0)
    assert all([x for x, _ in points] == [8192, 16_384] for points in series.values())
    plot_speed.main(["--results", str(tmp_path), "--out", str(tmp_path / "plots")])
    pictures = sorted((tmp_path / "plots").iterdir())
    names = ["speed-decode.png", "speed-first-token.png", "speed-flops.png"]
    assert [picture.name for picture in pictures] == names
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
