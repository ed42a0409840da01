"""docs/first-run.md, done as it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_processes import ServerProcess

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]
HERE = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    """The commands that the guide shows in ``language``."""
    guide = (ROOT / "docs" / "first-run.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)


def test_the_guide_leads_to_an_answer_that_is_still_there_after_a_restart(tmp_path: Path) -> None:
    assert shutil.which("curl"), "the guide's requests need curl on PATH: make curl"
    start = blocks("")[1]
    options = start.partition("vist2 serve ")[2].split()
    server = ServerProcess(tmp_path, options[options.index("--store") + 1], keys=False)
    server.start()
    try:
        (requests,) = blocks("sh")
        said = told(requests.replace(HERE, server.url))
        answers = [json.loads(line) for line in said.replace("}{", "}\n{").splitlines()]
        assert "Miso" in answers[1]["choices"][0]["message"]["content"]
        server.stop()
        server.start()
        (program,) = blocks("python")
        assert "Miso" in told(program.replace(HERE, server.url), sys.executable, "-c")
    finally:
        server.stop()
    assert "no keys" in server.log


def told(program: str, *run: str) -> str:
    command = [*(run or ("bash", "-ec")), program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
