"""The example of an agent, on the bundled model."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent_with_tools.py"


@pytest.mark.timeout(300)
def test_an_agent_goes_on_after_a_restart_within_its_budget(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(EXAMPLE))["main"]()
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith(" human:")] == [
        f" human: {('We visit the museum on Sunday. ' * 20)[:70]}",
        f" human: {('Bo has the tickets. ' * 20)[:70]}",
        " human: What are the opening hours of the museum?",
    ]
    read = [int(tokens) for tokens in re.findall(r"read (\d+) tokens", said)]
    assert len(read) >= 3
    assert max(read) <= 500
