"""The detour that pages are compared with: a PDF by reportlab, its images by poppler.

So does Glyph (arXiv 2510.17800) draw text for its model. Both parts are optional, the extra
``bench`` and the system's poppler.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.page import PageGeometry
from vist2_memory.sketch.typeface import read_outline_font

_FONT = "vist2-bench"


def check_pdf_tools() -> None:
    """Raises ``InvalidInputError`` that says what to install, where something is missing."""
    try:
        import pdf2image  # noqa: F401
        import reportlab  # noqa: F401
    except ImportError as error:
        raise InvalidInputError(
            f"the comparison with PDF needs {error.name}: pip install 'vist2-memory[bench]'"
        ) from error
    if shutil.which("pdftoppm") is None:
        raise InvalidInputError(
            "the comparison with PDF needs poppler's pdftoppm on PATH: apt-get install "
            "poppler-utils, dnf install poppler-utils, or brew install poppler"
        )


class PdfRenderer:
    """Pages of lines that are already cut, in the size, type and leading of ``geometry``."""

    def __init__(self, geometry: PageGeometry) -> None:
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFont

        check_pdf_tools()
        self.geometry = geometry
        pdfmetrics.registerFont(TTFont(_FONT, io.BytesIO(read_outline_font())))

    def draw(self, pages: Sequence[Sequence[str]]) -> list[Any]:
        """One grey Pillow image a page; the document is converted at once, by one process."""
        from pdf2image import convert_from_bytes

        return convert_from_bytes(
            self.document(pages), dpi=self.geometry.dpi, grayscale=True, thread_count=1
        )

    def document(self, pages: Sequence[Sequence[str]]) -> bytes:
        """The PDF."""
        from reportlab.pdfgen.canvas import Canvas

        geometry = self.geometry
        points = 72 / geometry.dpi
        width, height = geometry.width * points, geometry.height * points
        margin = geometry.margin * points
        file = io.BytesIO()
        canvas = Canvas(file, pagesize=(width, height))
        for lines in pages:
            text = canvas.beginText(margin, height - margin - geometry.font_points)
            text.setFont(_FONT, geometry.font_points, geometry.line_points)
            for line in lines:
                text.textLine(line)
            canvas.drawText(text)
            canvas.showPage()
        canvas.save()
        return file.getvalue()
