"""Text to train on: text files and JSON lines, packed or not, and passages drawn from them."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import lzma
import random
import zlib
from bisect import bisect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, TextIO

from vist2_memory.errors import InvalidInputError

PACKED = (".xz", ".gz", ".zst")
"""Endings of compressed files, which are unpacked on the way."""
_DAMAGED = (UnicodeDecodeError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The UTF-8 text of a file, plain or compressed; raises ``InvalidInputError`` if damaged."""
    damaged: tuple[type[Exception], ...] = _DAMAGED
    with ExitStack() as stack:
        opened: Any
        if path.suffix == ".xz":
            opened = stack.enter_context(lzma.open(path, "rt", encoding="utf-8"))
        elif path.suffix == ".gz":
            opened = stack.enter_context(gzip.open(path, "rt", encoding="utf-8"))
        elif path.suffix == ".zst":
            zstandard = _zstandard(path)
            damaged += (zstandard.ZstdError,)
            file = stack.enter_context(path.open("rb"))
            unpacked = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            opened = stack.enter_context(io.TextIOWrapper(unpacked, encoding="utf-8"))
        else:
            opened = stack.enter_context(path.open(encoding="utf-8"))
        try:
            yield opened
        except damaged as error:
            raise InvalidInputError(f"{path} holds no text: {error!r}") from error


def _zstandard(path: Path) -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise InvalidInputError(
            f"{path} is packed with zstd: pip install 'vist2-memory[train]'"
        ) from error


def read_texts(path: Path, most: int | None = None) -> Iterator[str]:
    """The texts of a file: .txt, or .jsonl with a ``text`` field; see ``PACKED``.

    ``most``: characters of a text at a time; what is longer comes in pieces that end at a line's
    end where there is one. Raises ``InvalidInputError`` for a file or a line without text, naming
    it.
    """
    with open_text(path) as lines:
        if ".jsonl" not in path.suffixes:
            yield from _pieces(lines, most)
            return
        for number, line in enumerate(lines, 1):
            try:
                text = json.loads(line)["text"]
                if not isinstance(text, str):
                    raise TypeError(f"'text' is of type {type(text).__name__}")
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInputError(f"{path}:{number} holds no text: {error!r}") from error
            yield from _pieces(io.StringIO(text), most)


def _pieces(text: TextIO, most: int | None) -> Iterator[str]:
    """The whole of ``text``, or pieces of ``most`` characters and the rest of a line."""
    if most is None:
        yield text.read()
        return
    while piece := text.read(most):
        yield piece + text.readline(most)


def find_files(path: Path, pattern: str = "*") -> list[Path]:
    """``path`` itself, or the text files of a folder in order of their names."""
    if path.is_file():
        return [path]
    kinds = {".txt", ".jsonl", *PACKED}
    found = sorted(file for file in path.glob(pattern) if file.suffix in kinds)
    if not found:
        raise FileNotFoundError(
            f"{path} holds no .txt, .jsonl, {', '.join(PACKED)} file matching {pattern!r}"
        )
    return found


class Passages:
    """Passages of running text, any place of any text equally likely."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [text for text in texts if text.strip()]
        if not self._texts:
            raise InvalidInputError("there is no text to draw passages from")
        self._ends = list(accumulate(len(text) for text in self._texts))

    def place(self) -> Any:
        """What a checkpoint has to remember of a source of passages, as plain values."""
        return None

    def check(self, place: Any) -> None:
        """Raise ``InvalidInputError`` for a ``place`` in other data."""
        if place is not None:
            raise InvalidInputError("the run was begun with streamed text: go on with --stream")

    def go_to(self, place: Any) -> None:
        """Go on from ``place``, as from :meth:`place`; ``InvalidInputError`` if of other data."""
        self.check(place)

    def draw(self, rng: random.Random, characters: int) -> str:
        """A passage of ``characters`` characters, shorter only where its text is."""
        place = rng.randrange(self._ends[-1])
        text = self._texts[bisect(self._ends, place)]
        start = rng.randrange(max(1, len(text) - characters + 1))
        return text[start : start + characters]

    def paragraph(self, rng: random.Random, most: int) -> str:
        """Whole lines of a text, about ``most`` characters at the most."""
        lines = self.draw(rng, 2 * most).split("\n")[1:] or [self.draw(rng, most)]
        kept: list[str] = []
        for line in lines:
            if sum(map(len, kept)) + len(line) > most and kept:
                break
            kept.append(line)
        return "\n".join(kept)[:most].strip()
