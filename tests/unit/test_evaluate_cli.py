"""``vist2 eval``: one JSON object, a table with notes, errors in one line."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.tokenizers import PROSE
from vist2_memory.cli import app
from vist2_memory.training.evaluate import recall, text_model

pytest_plugins = ("tests.support.fixtures",)

Run = Callable[..., Any]  # gives a Result of typer's CliRunner


@pytest.fixture
def measure(checkpoint: Path) -> Run:
    def run(*args: object) -> Any:
        return CliRunner().invoke(app, ["eval", *map(str, args), "--model", str(checkpoint)])

    return run


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(PROSE)
    return tmp_path / "a.txt"


def test_perplexity_as_json_and_as_a_table(measure: Run, prose: Path) -> None:
    options = ("perplexity", "--data", prose, "--history", 24, "--passages", 2)
    result = measure(*options, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert {"visual", "text_twin", "truncated", "mean_pooled", "convolution"} <= figures.keys()
    shown = measure(*options).stdout
    assert "--twin FOLDER" in shown
    low, high = figures["interval95"]
    assert f"{figures['visual']:.3f}" in shown
    assert f"{low:.3f}–{high:.3f}" in shown


def test_recall_of_dialogues(measure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (recall, text_model):
        monkeypatch.setattr(module, "ANSWER_TOKENS", 2)
    row = {"turns": [["user", "At 7:45, please. " * 20]], "slots": {"time": [[0, "7:45"]]}}
    with lzma.open(tmp_path / "talks.jsonl.xz", "wt") as file:
        file.write(json.dumps(row) + "\n")
    options = ("--kind", "dialogues", "--history", 64, "--conversations", 1, "--skip-baselines")
    result = measure("recall", "--data", tmp_path / "talks.jsonl.xz", *options, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert {"exact_match", "text_twin_exact_match", "interval95"} <= figures.keys()
    assert figures["kind"] == "dialogues"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("recall", "--kind", "dialogues"), "give --data"),
        (("recall", "--twin", "no/such/folder"), "no folder of a Qwen3 checkpoint"),
        (("readback", "--ratio", "9", "--chunks", "1", "--data"), "a visual token; it offers 2.4"),
        (("recall", "--mean-pooled", "no/such/folder"), "no folder of a Qwen3 checkpoint"),
        (("recall", "--convolution", "no/such/folder"), "no folder of a Qwen3 checkpoint"),
    ],
)
def test_what_cannot_be_measured_is_one_line_on_stderr(
    options: tuple[str, ...], why: str, measure: Run, prose: Path
) -> None:
    result = measure(*options, *([prose] if options[-1] == "--data" else []))
    assert (result.exit_code, result.stdout) == (2, "")
    *_, line = result.stderr.splitlines()
    assert line.startswith("vist2: error: ")
    assert why in line
