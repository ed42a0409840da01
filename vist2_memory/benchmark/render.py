"""How fast text is drawn: our pages and sketches against pages by way of PDF.

The same text, page size, type and resolution; all are timed in turns, as one core's work. All get
text that is not cut into lines, but for the leanest PDF, which is measured beside. The document is
converted at once; pages and sketches are drawn a batch at a time, as engines draw them for their
towers.
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
    bare = _pages(renderer, made_up_text(pages) if text is None else text, pages)
    page_chunks = [Chunk(str(i), page, 0) for i, page in enumerate(bare)]
    cut = [renderer.lines(page) for page in bare]
    whole = "\n".join(bare)
    sketch_chunks = [Chunk(str(i), part, 0) for i, part in enumerate(_parts(whole, sketcher))]
    contenders: dict[str, Callable[[], object]] = {
        "pdf": lambda: pdf.draw(whole),
        "lean_pdf": lambda: pdf.draw_lines(cut),
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

    def ratios(slow: str, fast: str) -> list[float]:
        return [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]

    figures = {
        "pages_ratio_to_pdf": ratios("pdf", "page"),
        "sketch_ratio_to_pdf": ratios("pdf", "sketch"),
        "pages_ratio_to_lean_pdf": ratios("lean_pdf", "page"),
        "sketch_ratio_to_lean_pdf": ratios("lean_pdf", "sketch"),
    }
    return {
        **{name: median(values) for name, values in figures.items()},
        "sketch_characters_per_second": len(whole) / median(seconds["sketch"]),
        "range": {name: [min(values), max(values)] for name, values in figures.items()},
        "pages_per_second": {
            name: pages / median(seconds[name]) for name in ("page", "pdf", "lean_pdf")
        },
        "pages": pages,
        "characters": len(whole),
        "repeats": repeats,
        "drawn_at_once": {"pdf": pages, "lean_pdf": pages, **_BATCH},
        "time": "processor seconds of this process and its children",
        "page_geometry": renderer.geometry.to_dict(),
        "sketch_geometry": sketcher.geometry.to_dict(),
        "machine": machine(),
        "versions": versions(("numpy", "pillow", "reportlab", "pdf2image")),
    }


def made_up_text(pages: int) -> str:
    """Paragraphs of words that fill at least ``pages`` default pages; the same each time."""
    draw = random.Random(0)
    weights = range(len(_LETTERS), 0, -1)
    words = ["".join(draw.choices(_LETTERS, weights, k=draw.randint(1, 9))) for _ in range(3000)]
    paragraphs = (draw.choices(words, k=draw.randint(20, 150)) for _ in range(30 * pages))
    return "\n".join(" ".join(paragraph) for paragraph in paragraphs)


def _pages(renderer: PageRenderer, text: str, pages: int) -> list[str]:
    """The first ``pages`` pages of ``text``, with no line cut that it did not have."""
    found: list[str] = []
    paragraphs = [line for line in text.split("\n") if line.strip()]
    each, lines, held = renderer.geometry.lines_per_page, 0, list[str]()
    for paragraph in paragraphs:
        wrapped = renderer.lines(paragraph)
        while lines + len(wrapped) >= each and len(found) < pages:
            held.append(" ".join(wrapped[: each - lines]))
            wrapped = wrapped[each - lines :]
            found.append("\n".join(held))
            lines, held = 0, []
        if len(found) == pages:
            return found
        if wrapped:
            held.append(" ".join(wrapped))
            lines += len(wrapped)
    raise InvalidInputError(
        f"the text fills {len(found)} pages, {pages} were asked for: give a longer text, or ask "
        "for fewer pages"
    )


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
