"""Text to train on: prose in xz-compressed JSON lines, and passages drawn from it at random."""

from __future__ import annotations

import json
import lzma
import random
from bisect import bisect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from vist2_memory.errors import InvalidInputError


def read_texts(path: Path) -> Iterator[str]:
    """The texts of a file: .txt, or .jsonl with a ``text`` field; .xz is unpacked on the way.

    Raises ``InvalidInputError`` for a file or a line without text, naming it.
    """
    place = str(path)
    try:
        with ExitStack() as stack:
            opened = lzma.open if path.suffix == ".xz" else open
            lines = stack.enter_context(opened(path, "rt", encoding="utf-8"))
            if ".jsonl" not in path.suffixes:
                yield lines.read()
                return
            for number, line in enumerate(lines, 1):
                place = f"{path}:{number}"
                text = json.loads(line)["text"]
                if not isinstance(text, str):
                    raise TypeError(f"'text' is of type {type(text).__name__}")
                yield text
    except (ValueError, KeyError, TypeError, lzma.LZMAError, EOFError) as error:
        raise InvalidInputError(f"{place} holds no text: {error!r}") from error


def find_files(path: Path, pattern: str = "*") -> list[Path]:
    """``path`` itself, or the text files of a folder in order of their names."""
    if path.is_file():
        return [path]
    kinds = {".txt", ".jsonl", ".xz"}
    found = sorted(file for file in path.glob(pattern) if file.suffix in kinds)
    if not found:
        raise FileNotFoundError(f"{path} holds no .txt, .jsonl or .xz file matching {pattern!r}")
    return found


class Passages:
    """Passages of running text, any place of any text equally likely."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [text for text in texts if text.strip()]
        if not self._texts:
            raise InvalidInputError("there is no text to draw passages from")
        self._ends = list(accumulate(len(text) for text in self._texts))

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
