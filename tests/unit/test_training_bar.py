"""The bar of ``vist2 train``: tokens a second and the time left, on the main process's terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vist2_memory.cli import training


@pytest.mark.parametrize(
    ("terminal", "rank", "shown"), [(True, "0", True), (True, "1", False), (False, "0", False)]
)
def test_progress_is_shown_on_the_terminal_of_the_main_process(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, rank: str, shown: bool
) -> None:
    from vist2_memory.training.trainer import Progress

    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr(training, "Console", lambda stderr: console)
    monkeypatch.setenv("RANK", rank)
    with training._training_bar() as progress:
        for step in range(1, 4):
            progress(Progress("ocr", step, 10, 2.5, 1234.0, step * 100, 1000))
    assert ("ocr 3/10" in out.getvalue()) == shown
    assert ("loss 2.500  1,234 tokens/s" in out.getvalue()) == shown
    assert ("30%" in out.getvalue()) == shown
    assert bool(out.getvalue()) == shown
