"""``vist2 bench speed``: which figures there are, what they are made of, and why some are null."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vist2_memory.benchmark import speed, speed_parts
from vist2_memory.benchmark.speed import PARTS, RATIOS, measure_speed
from vist2_memory.benchmark.speed_limits import Limits
from vist2_memory.cli import app
from vist2_memory.errors import InvalidInputError

pytest_plugins = ("tests.support.fixtures",)

STAGES = ("draw", "encode", "store", "read", "prefill", "decode", "fold")


@pytest.fixture(autouse=True)
def known_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring the machine takes longer than the rest."""
    monkeypatch.setattr(speed, "measure_limits", lambda device, dtype: Limits(1e12, 1e10))


@pytest.fixture(scope="module")
def figures(checkpoint: Path) -> dict[str, Any]:
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "measure_limits", lambda device, dtype: Limits(1e12, 1e10))
        found = measure_speed(
            str(checkpoint),
            history=200,
            repeats=1,
            batch=2,
            progress=lambda done, of: seen.append((done, of)),
        )
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    return found


def test_every_figure_is_there_or_says_why_it_is_null(figures: dict[str, Any]) -> None:
    json.dumps(figures)
    for name in RATIOS:
        if figures[name] is None:
            assert name in figures["reasons"]
        else:
            assert figures[name] >= 0
    positive = [name for name in RATIOS if name != "fold_share"]
    assert all(figures[name] > 0 for name in positive)
    assert (figures["vllm"] is None) == ("vllm_reason" in figures)
    for stage in STAGES:
        assert figures["stages"][stage] >= 0
        assert figures["limits"][stage] is None or figures["limits"][stage] >= 0
    for name, told in figures["ranges"].items():
        assert told["min"] <= figures[name] <= told["max"]
    assert {"machine", "versions", "commit", "threads", "dtype", "notes"} <= figures.keys()


def test_the_next_turn_uses_keys_and_values_of_the_whole_history_again(
    figures: dict[str, Any],
) -> None:
    assert figures["reused_tokens"] >= figures["visual_tokens"]


def test_bytes_of_keys_and_values_are_those_of_the_tokens_that_are_read(
    figures: dict[str, Any],
) -> None:
    kv = figures["kv_memory"]
    ours, text = kv["visual_tokens"] + kv["text_tokens_beside"], kv["text_tokens"]
    assert figures["kv_memory_ratio"] == pytest.approx(ours / text)
    assert kv["ours"] / ours == kv["text"] / text  # as much a token
    assert kv["ours_allocated"] >= kv["ours"]
    # float32 here: 8 values a head, against 4 bytes each; int8 has a scale of 2 bytes a head
    assert figures["kv_memory_ratio_int8"] == pytest.approx(ours / text * (8 + 2) / (8 * 2))
    ratio = figures["compression_ratio"]
    assert kv["visual_tokens"] * ratio + kv["text_tokens_beside"] == pytest.approx(text, rel=0.02)


def test_batches_take_the_same_bytes_on_both_sides(figures: dict[str, Any]) -> None:
    batch, kv = figures["batch"], figures["kv_memory"]
    ours = kv["visual_tokens"] + kv["text_tokens_beside"]
    assert batch["text_sequences"] == 2
    assert batch["our_sequences"] > 2
    assert 0 <= 2 * kv["text_tokens"] - batch["our_sequences"] * ours < ours


def test_an_answer_folds_as_often_as_it_fills_a_chunk(figures: dict[str, Any]) -> None:
    fold = figures["fold"]
    assert fold["tokens"] == 4 * 8 + 2
    assert fold["folds"] == 4
    assert fold["longest_stall_steps"] >= 1
    assert 0 <= figures["fold_share"] < 1


def test_skipped_parts_are_null_and_take_nothing(checkpoint: Path) -> None:
    figures = measure_speed(str(checkpoint), history=40, repeats=1, skip=PARTS)
    assert all(figures[name] is None for name in RATIOS)
    assert figures["stages"] == {}
    assert set(figures["limits"].values()) == {None}
    assert {part: "skipped" for part in PARTS} == figures["reasons"]


def test_operations_of_a_large_model_are_counted_without_making_it() -> None:
    skip = [part for part in PARTS if part != "flops"]
    short, long = (measure_speed("8B", history=n, skip=skip) for n in (8192, 32_768))
    assert short["compression_ratio"] == 4.0
    assert short["flops_ratio_warm"] < 0.26  # what the paper has; pairs grow with the square
    assert long["flops_ratio_warm"] < short["flops_ratio_warm"] < short["flops_ratio_cold"]
    assert long["flops_ratio_generation"] < 0.28
    assert short["ttft_ratio_warm"] is None
    assert short["reasons"]["first"] == "skipped"


def test_histories_too_long_to_be_read_here_have_random_keys_and_values(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_parts, "PREFILL_LIMIT", 50)
    skip = ("batch", "flops")
    figures = measure_speed(str(checkpoint), history=200, repeats=1, skip=skip)
    assert figures["ttft_ratio_warm"] is None
    assert "50 text tokens" in figures["reasons"]["ttft"]
    assert figures["decode_ratio"] > 0
    assert figures["decode"]["synthetic_kv"] is True
    assert any("random on both sides" in note for note in figures["notes"])
    kv = figures["kv_memory"]
    ours = kv["visual_tokens"] + kv["text_tokens_beside"]
    assert kv["ours"] * kv["text_tokens"] == kv["text"] * ours


def test_a_history_longer_than_the_model_reads_is_cut_and_said_so(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = measure_speed(str(checkpoint), history=4000, repeats=1, skip=PARTS)
    assert figures["history_asked"] == 4000
    assert figures["visual_tokens"] <= 1024
    assert figures["history_text_tokens"] < 3000
    assert any("4,000 text tokens were asked for" in note for note in figures["notes"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skip": ("everything",)}, "skip='everything'"),
        ({"repeats": 0}, "repeats=0"),
        ({"tower": "B/16"}, "bundled has its own"),
        ({"model": "0.6B", "tower": "H/14"}, "tower='H/14'"),
        ({"dtype": "float8"}, "dtype='float8'"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        measure_speed(**options)


def test_the_command_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(model: str, **options: Any) -> dict[str, Any]:
        del options["progress"]
        asked.append((model, options))
        return {"ttft_ratio_warm": 4.5}

    monkeypatch.setattr(speed, "measure_speed", measured)
    words = ["--model", "0.6B", "--history", "8192", "--tower", "L/16", "--ratio", "4.5"]
    words += ["--skip", "vllm", "--skip", "batch", "--repeats", "2", "--compile", "--json"]
    result = CliRunner().invoke(app, ["bench", "speed", *words])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"ttft_ratio_warm": 4.5}
    [(model, options)] = asked
    assert (model, options.pop("skip")) == ("0.6B", ("vllm", "batch"))
    assert options == {
        "history": 8192,
        "tower": "L/16",
        "ratio": 4.5,
        "store": "memory://",
        "repeats": 2,
        "batch": 4,
        "device": None,
        "dtype": None,
        "compiled": True,
    }
