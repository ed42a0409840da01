"""How fast text is drawn: our pages and sketches against pages by way of PDF.

The same text, page size, type and resolution; all are timed in turns, as one core's work. Pages get
lines that are already cut, either way: reportlab does not wrap them, and our renderer only checks
their widths. The document is converted at once; pages and sketches are drawn a batch at a time, as
engines draw them for their towers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from vist2_memory.benchmark.machine import cpu_seconds, machine, versions
from vist2_memory.benchmark.pdf import PdfRenderer, check_pdf_tools
from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.page import PageGeometry, PageRenderer
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.types import Chunk

_SKETCH_CHARACTERS = 220
"""Characters a sketch, about what 64 text tokens are in English."""
_BATCH = {"page": 8, "sketch": 64}
"""How many are drawn at once: as many as engines encode at once."""
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def measure_render(
    text: str | None = None,
    *,
    pages: int = 40,
    repeats: int = 5,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Draw ``pages`` pages of ``text``, each way ``repeats`` times; made-up words where it is None.

    Ratios are of characters drawn in a second of processor time, medians over the repeats, with the
    smallest and largest in ``range``. Raises ``InvalidInputError`` for a text of fewer pages, and
    where reportlab, pdf2image or poppler are missing.
    """
    check_pdf_tools()
    renderer, sketcher = PageRenderer(PageGeometry()), SketchRenderer(SketchGeometry())
    pdf = PdfRenderer(renderer.geometry)
    cut = _pages(renderer, made_up_text(pages) if text is None else text, pages)
    page_chunks = [Chunk(str(i), "\n".join(lines), 0) for i, lines in enumerate(cut)]
    whole = "\n".join(chunk.text for chunk in page_chunks)
    sketch_chunks = [Chunk(str(i), part, 0) for i, part in enumerate(_parts(whole, sketcher))]
    contenders: dict[str, Callable[[], object]] = {
        "pdf": lambda: pdf.draw(cut),
        "page": lambda: _in_batches(renderer.draw, page_chunks, _BATCH["page"]),
        "sketch": lambda: _in_batches(sketcher.draw, sketch_chunks, _BATCH["sketch"]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):  # the first turn fills caches and is not counted
        for name, draw in contenders.items():
            start = cpu_seconds()
            draw()
            if turn:
                seconds[name].append(cpu_seconds() - start)
        progress(turn, repeats)
    ratios = {
        name: [slow / fast for slow, fast in zip(seconds["pdf"], seconds[name], strict=True)]
        for name in ("page", "sketch")
    }
    return {
        "pages_ratio_to_pdf": median(ratios["page"]),
        "sketch_ratio_to_pdf": median(ratios["sketch"]),
        "sketch_characters_per_second": len(whole) / median(seconds["sketch"]),
        "range": {name: [min(values), max(values)] for name, values in ratios.items()},
        "pages_per_second": {name: pages / median(seconds[name]) for name in ("page", "pdf")},
        "pages": pages,
        "characters": len(whole),
        "repeats": repeats,
        "drawn_at_once": {"pdf": pages, **_BATCH},
        "time": "processor seconds of this process and its children",
        "page_geometry": renderer.geometry.to_dict(),
        "sketch_geometry": sketcher.geometry.to_dict(),
        "machine": machine(),
        "versions": versions(("numpy", "pillow", "reportlab", "pdf2image")),
    }


def made_up_text(pages: int) -> str:
    """Words that need no more than ``pages`` default pages, and no fewer; the same each time."""
    draw = random.Random(0)
    weights = range(len(_LETTERS), 0, -1)
    words = ["".join(draw.choices(_LETTERS, weights, k=draw.randint(1, 9))) for _ in range(3000)]
    return " ".join(draw.choices(words, k=2500 * pages))


def _pages(renderer: PageRenderer, text: str, pages: int) -> list[list[str]]:
    """The lines of the first ``pages`` pages of ``text``."""
    lines, each = renderer.lines(text), renderer.geometry.lines_per_page
    if len(lines) < pages * each:
        raise InvalidInputError(
            f"the text fills {len(lines) // each} pages, {pages} were asked for: "
            "give a longer text, or ask for fewer pages"
        )
    return [lines[i * each : (i + 1) * each] for i in range(pages)]


def _in_batches(
    draw: Callable[[Sequence[Chunk]], object], chunks: Sequence[Chunk], size: int
) -> None:
    """Draw all of ``chunks``; nothing of a batch is kept."""
    for start in range(0, len(chunks), size):
        draw(chunks[start : start + size])


def _parts(text: str, sketcher: SketchRenderer) -> Iterator[str]:
    """``text`` in parts that fit a sketch: halved where many characters are drawn as escapes."""
    for start in range(0, len(text), _SKETCH_CHARACTERS):
        waiting = [text[start : start + _SKETCH_CHARACTERS]]
        while waiting:
            part = waiting.pop()
            if sketcher.fits(part):
                yield part
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
