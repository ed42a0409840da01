"""Passages of texts that are read while they are needed, for data larger than memory.

A text is read from its beginning to its end, in stretches, beside many others: which of the open
texts comes next is random. The place in the data is a few numbers, so that a run goes on with the
very passages that an unbroken one draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.training.data import Passages, read_texts

PIECE = 1 << 17
"""Characters of a text that are held at once; a longer one is taken as several."""
STREAMS = 8
"""Streams of a process, which take turns: so many workers at most can draw from them."""
OPEN_TEXTS = 256
"""Texts that are open at a time, in all streams of a process."""
SHORT_DRAWS = 1000
"""So many passages in a row of less than a third of what was asked for: the texts are too short."""


@dataclass(slots=True)
class _Open:
    """A text that is being read: number ``number`` of a file, and how far it was read."""

    file: int
    number: int
    text: str
    read: int = 0


class StreamedPassages(Passages):
    """Passages of text files, of which ``open_texts`` texts are held at a time."""

    def __init__(
        self,
        files: Sequence[Path],
        seed: int = 0,
        open_texts: int = OPEN_TEXTS,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        """``process``: (which, of how many); each process reads texts of its own.

        The files are read again and again, in a new order each time. Raises ``InvalidInputError``
        when they hold no text for this process.
        """
        self._files = list(files)
        self._seed = seed
        self._process = process
        self._epoch, self._turn, self._number = 0, 0, 0  # of the next text: see _order
        self._texts_ahead = self._read_on()
        self._short = 0
        self._open: list[_Open] = []
        for _ in range(open_texts):
            self._open.append(self._next())

    def draw(self, rng: random.Random, characters: int) -> str:
        """The next ``characters`` characters of one of the open texts, fewer at its end."""
        slot = rng.randrange(len(self._open))
        source = self._open[slot]
        passage = source.text[source.read : source.read + characters]
        source.read += len(passage)
        if source.read >= len(source.text):
            self._open[slot] = self._next()
        self._short = self._short + 1 if 3 * len(passage) < characters else 0
        if self._short > SHORT_DRAWS:
            raise InvalidInputError(
                f"the texts are too short for passages of {characters} characters: train with "
                "fewer chunks or join texts that belong together"
            )
        return passage

    def place(self) -> Any:
        """Where every open text stands, and which is read next."""
        return {
            "files": [file.name for file in self._files],
            "next": [self._epoch, self._turn, self._number],
            "open": [[text.file, text.number, text.read] for text in self._open],
            "short": self._short,
        }

    def check(self, place: Any) -> None:
        """Raise ``InvalidInputError`` for a ``place`` in other data, or of no stream."""
        names = [file.name for file in self._files]
        if place is None or place["files"] != names:
            raise InvalidInputError(
                "the run was begun "
                + ("without --stream" if place is None else f"with the files {place['files']}")
                + f", it cannot go on by streaming {names}"
            )

    def go_to(self, place: Any) -> None:
        """Read again what was open, and go on from there; ``InvalidInputError`` if other data."""
        self.check(place)
        self._epoch, self._turn, self._number = place["next"]
        self._texts_ahead = self._read_on()
        self._short = place["short"]
        wanted = {(file, number) for file, number, _ in place["open"]}
        found = {
            (file, number): text
            for file in sorted({file for file, _ in wanted})
            for number, text in enumerate(read_texts(self._files[file], PIECE))
            if (file, number) in wanted
        }
        self._open = [
            _Open(file, number, found[file, number], read) for file, number, read in place["open"]
        ]

    def _next(self) -> _Open:
        return next(self._texts_ahead)

    def _order(self) -> list[int]:
        """The files in the order of this epoch."""
        order = list(range(len(self._files)))
        random.Random(f"{self._seed}, {self._epoch}").shuffle(order)
        return order

    def _read_on(self) -> Iterator[_Open]:
        """The texts from the place of the next one on, without end."""
        which, of = self._process
        own = self._epoch > 0 or self._turn > 0 or self._number > 0
        while True:
            order = self._order()
            while self._turn < len(order):
                file = order[self._turn]
                for text in islice(read_texts(self._files[file], PIECE), self._number, None):
                    number = self._number
                    self._number += 1
                    if (self._turn + number) % of == which and text.strip():
                        own = True
                        yield _Open(file, number, text)
                self._turn, self._number = self._turn + 1, 0
            if not own:
                raise InvalidInputError(
                    f"there is no text to draw passages from for process {which} of {of}"
                )
            self._epoch, self._turn = self._epoch + 1, 0


def open_streams(
    files: Sequence[Path], seed: int = 0, process: tuple[int, int] = (0, 1)
) -> list[StreamedPassages]:
    """``STREAMS`` streams, each of texts of its own, with ``OPEN_TEXTS`` open texts in all.

    As many for any number of workers that draw from them, so that these change nothing.
    ``process``: see :class:`StreamedPassages`.
    """
    which, of = process
    return [
        StreamedPassages(files, seed, OPEN_TEXTS // STREAMS, (which * STREAMS + i, of * STREAMS))
        for i in range(STREAMS)
    ]
