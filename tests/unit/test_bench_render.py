"""``vist2 bench render``: what it prints, and what it says when a part is missing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vist2_memory.benchmark import pdf
from vist2_memory.benchmark.render import _pages, made_up_text, measure_render
from vist2_memory.cli import app
from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.page import PageGeometry, PageRenderer
from vist2_memory.types import Chunk


@pytest.fixture
def poppler() -> None:
    if shutil.which("pdftoppm") is None:
        pytest.fail("pdftoppm is not on PATH. `make test` installs poppler-utils.", pytrace=False)


@pytest.mark.usefixtures("poppler")
def test_the_json_has_the_ratios_and_what_they_were_measured_on() -> None:
    result = CliRunner().invoke(app, ["bench", "render", "--json", "--pages", "1", "--repeats=1"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    for name in ("pages_ratio_to_pdf", "sketch_ratio_to_pdf", "sketch_characters_per_second"):
        assert figures[name] > 0
    assert figures["pages"] == figures["repeats"] == 1
    told = {"machine", "versions", "range", "pages_per_second", "characters", "drawn_at_once"}
    assert told <= figures.keys()


@pytest.mark.usefixtures("poppler")
@pytest.mark.parametrize(("lean", "mode"), [(False, "RGB"), (True, "L")])
def test_pdf_pages_have_the_size_of_ours_and_as_much_ink(lean: bool, mode: str) -> None:
    renderer = PageRenderer(PageGeometry())
    lines = renderer.lines(made_up_text(1))[: renderer.geometry.lines_per_page]
    drawer = pdf.PdfRenderer(renderer.geometry)
    image, *more = drawer.draw_lines([lines]) if lean else drawer.draw(" ".join(lines[:-2]))
    assert not more
    assert (image.mode, image.size) == (mode, (616, 868))
    ours = renderer.draw([Chunk("", "\n".join(lines), 0)])[0].pixels
    ink = (255 - np.asarray(image.convert("L"), dtype=float)).sum() / (255.0 - ours).sum()
    assert 0.5 < ink < 2


def test_pages_of_a_text_fill_a_page_each_and_lose_no_word() -> None:
    renderer, text = PageRenderer(PageGeometry()), made_up_text(3)
    pages = _pages(renderer, text, 3)
    assert [len(renderer.lines(page)) for page in pages] == [renderer.geometry.lines_per_page] * 3
    assert text.split()[: len(" ".join(pages).split())] == " ".join(pages).split()


@pytest.mark.usefixtures("poppler")
def test_a_text_of_too_few_pages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("short")
    result = CliRunner().invoke(app, ["bench", "render", "--data", str(file), "--pages", "2"])
    assert result.exit_code == 2
    assert "0 pages, 2 were asked for" in result.stderr


def test_without_poppler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InvalidInputError, match="apt-get install poppler-utils"):
        measure_render(pages=1, repeats=1)


def test_without_reportlab_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reportlab", None)
    with pytest.raises(InvalidInputError, match=r"vist2-memory\[bench\]"):
        measure_render(pages=1, repeats=1)
