"""The detour that pages are compared with: a PDF by reportlab, its images by poppler.

So does Glyph (arXiv 2510.17800) draw text for its model. Both parts are optional, the extra
``bench`` and the system's poppler.
"""

from __future__ import annotations

import html
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
    """Pages by way of PDF, in the size, type and leading of ``geometry``.

    The whole document is converted at once, by one process.
    """

    def __init__(self, geometry: PageGeometry) -> None:
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFont

        check_pdf_tools()
        self.geometry = geometry
        pdfmetrics.registerFont(TTFont(_FONT, io.BytesIO(read_outline_font())))
        points = 72 / geometry.dpi
        self._size = (geometry.width * points, geometry.height * points)
        self._margin = geometry.margin * points

    def draw(self, text: str) -> list[Any]:
        """Images of ``text``, a page each, as Glyph makes them: reportlab wraps its paragraphs, and
        pdf2image converts in its default colours."""
        return self._convert(self.typeset(text), grayscale=False)

    def draw_lines(self, pages: Sequence[Sequence[str]]) -> list[Any]:
        """The leanest way: lines that are already cut, as grey images."""
        return self._convert(self.document(pages), grayscale=True)

    def _convert(self, document: bytes, grayscale: bool) -> list[Any]:
        from pdf2image import convert_from_bytes

        return convert_from_bytes(
            document, dpi=self.geometry.dpi, grayscale=grayscale, thread_count=1
        )

    def typeset(self, text: str) -> bytes:
        """A PDF of the paragraphs of ``text``."""
        from reportlab.lib.styles import ParagraphStyle
        from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph

        geometry, (width, height), margin = self.geometry, self._size, self._margin
        style = ParagraphStyle(
            "page", fontName=_FONT, fontSize=geometry.font_points, leading=geometry.line_points
        )
        file = io.BytesIO()
        frame = Frame(
            margin,
            margin,
            width - 2 * margin,
            height - 2 * margin,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )
        document = BaseDocTemplate(file, pagesize=(width, height))
        document.addPageTemplates(PageTemplate(frames=[frame]))
        document.build([Paragraph(html.escape(part), style) for part in text.split("\n")])
        return file.getvalue()

    def document(self, pages: Sequence[Sequence[str]]) -> bytes:
        """A PDF of lines that are already cut."""
        from reportlab.pdfgen.canvas import Canvas

        geometry, (width, height), margin = self.geometry, self._size, self._margin
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
