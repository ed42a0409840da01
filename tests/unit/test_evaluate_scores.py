"""Scores and intervals: what they are where everything is right, wrong, or of one cluster."""

from __future__ import annotations

import random
import string
from itertools import pairwise

import pytest

from tests.support.tokenizers import small_tokenizer
from vist2_memory.errors import InvalidInputError
from vist2_memory.text.chunking import Chunker
from vist2_memory.training.evaluate import texts
from vist2_memory.training.evaluate.readback import exact_lines
from vist2_memory.training.evaluate.scores import (
    Part,
    Report,
    bootstrap,
    ratio,
    share_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("right", "of", "expected"),
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0))],
)
def test_wilsons_interval_as_in_the_tables(
    right: int, of: int, expected: tuple[float, float]
) -> None:
    assert wilson(right, of) == pytest.approx(expected, abs=1e-4)


def test_the_bootstrap_resamples_clusters_and_gives_the_same_interval_each_time() -> None:
    alike: list[Part] = [(5, 10)] * 40
    apart: list[Part] = [(0, 10), (10, 10)] * 20
    assert bootstrap(alike) == (0.5, 0.5)
    low, high = bootstrap(apart)
    assert (low, high) == bootstrap(apart)
    assert low == pytest.approx(0.5 - 1.96 * (0.25 / 40) ** 0.5, abs=0.03)
    assert high == pytest.approx(0.5 + 1.96 * (0.25 / 40) ** 0.5, abs=0.03)
    assert bootstrap([*apart, (0, 0)]) == (low, high)  # a cluster that was asked nothing


def test_an_interval_of_a_share_is_never_narrower_than_that_of_independent_trials() -> None:
    assert share_interval([(3, 3)]) == pytest.approx(wilson(3, 3))
    assert share_interval([(0, 10), (10, 10)] * 20) == bootstrap([(0, 10), (10, 10)] * 20)
    assert share_interval([(5, 10)] * 40) == pytest.approx(wilson(200, 400))


def test_a_report_says_why_a_figure_is_missing() -> None:
    report = Report()
    report.share("found", [(1, 2), (1, 2)])
    report.share("unknown", [], "none was asked")
    report.leave_out("no twin", "twin")
    report.shares("by_kind", {"a": [(1, 4)], "b": []})
    report.note(seed=3)
    figures = report.finish("found")
    assert (figures["found"], figures["unknown"], figures["twin"]) == (0.5, None, None)
    assert figures["by_kind"] == {"a": 0.25}
    assert figures["counts"] == {"by_kind": {"a": 4}}
    assert figures["interval95"] == figures["intervals95"]["found"]
    assert figures["not_measured"] == {"unknown": "none was asked", "twin": "no twin"}
    assert ratio([]) is None


@pytest.mark.parametrize(
    ("reading", "right"),
    [
        ("abcdefghij", 3),
        ("abXdefghij", 2),
        ("abcd, efghij", 3),
        ("abcdefghij and on", 2),
        ("efghabcdij", 2),
        ("", 0),
    ],
)
def test_exact_lines_are_found_in_order(reading: str, right: int) -> None:
    assert exact_lines("abcdefghij", reading, columns=4) == (right, 3)


def test_texts_of_other_kinds_are_as_long_as_asked_and_the_same_for_a_seed() -> None:
    code = texts.code()
    assert code is not None
    for draw in (texts.dialogue, texts.numbers, code):
        drawn = [draw(random.Random(seed), 300) for seed in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert [len(text) for text in drawn] == [300] * 3
    digits = sum(c in string.digits for c in texts.numbers(random.Random(1), 3000))
    assert digits > 600


def test_runs_of_chunks_are_consecutive_and_texts_too_short_are_refused() -> None:
    chunker = Chunker(small_tokenizer(), 8, lambda text: True)
    rng = random.Random(0)
    runs = texts.draw_chunks(chunker, texts.numbers, rng, 3, each=4, name="numbers")
    assert [len(run) for run in runs] == [4, 4, 4]
    assert all(a.start + len(a.text) == b.start for run in runs for a, b in pairwise(run))
    with pytest.raises(InvalidInputError, match="numbers is too short: 4 chunks of 8 tokens"):
        texts.draw_chunks(chunker, lambda rng, n: "12", rng, 1, each=4, name="numbers")
