"""Readback: the text of a chunk, generated from its visual tokens alone.

Goes through the engine that users use.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vist2_memory.engine.readback import read_back
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.ratios import TOLERANCE
from vist2_memory.text.distance import distance
from vist2_memory.training.evaluate import texts
from vist2_memory.training.evaluate.scores import (
    Part,
    Progress,
    Report,
    compression,
    silent,
)
from vist2_memory.types import Chunk

ACCURACY = "character_accuracy"
OTHERS_SHARE = 4
"""Of the other kinds of text, one chunk is read for so many of prose."""


@dataclass(frozen=True, slots=True)
class Read:
    """A chunk that was read back: characters right, and lines of its sketch without a fault."""

    kind: str
    characters: Part
    lines: Part
    exact: bool


def evaluate_readback(
    engine: TorchEngine,
    data: Path,
    *,
    chunks: int = 200,
    ratio: float | None = None,
    by_kind: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read ``chunks`` chunks of the texts at ``data`` out of their visual tokens.

    ``character_accuracy`` is 1 - edit distance / characters, over all chunks together;
    ``exact_chunks`` and ``exact_lines`` are the shares that came back without a fault. ``by_kind``,
    and ``ratio`` too, adds the accuracy on other kinds of text, a quarter as many chunks of each.
    Raises ``InvalidInputError`` for texts too short, and for a ``ratio`` that it does not give.
    """
    rng = random.Random(seed)
    draw = texts.prose(data)
    drawn = {texts.PROSE: _chunks(engine, draw, rng, chunks, f"the text at {data}")}
    if ratio is not None:
        check_ratio(engine, drawn[texts.PROSE], ratio)
    has_code = True
    if by_kind or ratio is not None:
        others = {texts.DIALOGUE: texts.dialogue, texts.CODE: texts.code()}
        others[texts.NUMBERS] = texts.numbers
        few = -(-chunks // OTHERS_SHARE)
        for kind, source in others.items():
            if source is not None:
                drawn[kind] = _chunks(engine, source, rng, few, kind)
        has_code = others[texts.CODE] is not None
    total = sum(map(len, drawn.values()))
    read: list[Read] = []
    for one in _read_all(engine, drawn):
        read.append(one)
        progress(len(read), total)
    report = _score(read)
    of_kinds = {k: [one.characters for one in read if one.kind == k] for k in drawn}
    if len(drawn) > 1:
        report.shares("by_kind", of_kinds)
    if not has_code:
        report.leave_out("this Python has no source files of its library", f"by_kind {texts.CODE}")
    report.note(
        characters=sum(len(chunk.text) for chunk in drawn[texts.PROSE]),
        chunks=chunks,
        **_compression(engine, drawn[texts.PROSE]),
        ratio=ratio,
        seed=seed,
        model=engine.spec.model,
    )
    return report.finish(ACCURACY)


def check_ratio(engine: TorchEngine, chunks: Sequence[Chunk], ratio: float) -> None:
    """Raise ``InvalidInputError`` unless the engine's sketches of ``chunks`` come near ``ratio``.

    The engine's geometry was chosen by a sample of English; what counts is this text.
    """
    offered = _compression(engine, chunks)["compression_ratio"]
    assert offered is not None
    if abs(offered - ratio) > TOLERANCE * offered:
        raise InvalidInputError(
            f"--ratio {ratio:g}: {engine.spec.model} gives {offered:.1f} text tokens a visual "
            f"token on this text; here it offers --ratio {offered:.2g}"
        )


def exact_lines(text: str, reading: str, columns: int) -> Part:
    """How many lines of ``columns`` characters of ``text`` stand in ``reading``, and of how many.

    In their order; the last one must end the reading.
    """
    lines = [text[start : start + columns] for start in range(0, len(text), columns)]
    found = place = 0
    for line in lines[:-1]:
        at = reading.find(line, place)
        if at >= 0:
            found, place = found + 1, at + len(line)
    found += reading[place:].endswith(lines[-1])
    return found, len(lines)


def _chunks(
    engine: TorchEngine, draw: texts.Draw, rng: random.Random, count: int, name: str
) -> list[Chunk]:
    return [run[0] for run in texts.draw_chunks(engine.chunker, draw, rng, count, name=name)]


def _compression(engine: TorchEngine, chunks: Sequence[Chunk]) -> dict[str, float | None]:
    return compression(chunks, sum(map(engine.cost, chunks)))


def _read_all(engine: TorchEngine, drawn: dict[str, list[Chunk]]) -> Iterator[Read]:
    columns = engine.processor.geometry.columns
    for kind, chunks in drawn.items():
        for chunk, visual in zip(chunks, engine.encode(chunks), strict=True):
            reading = read_back(engine, chunk, visual)
            length = len(chunk.text)
            wrong = min(distance(chunk.text, reading), length)
            lines = exact_lines(chunk.text, reading, columns)
            yield Read(kind, (length - wrong, length), lines, not wrong)


def _score(read: Sequence[Read]) -> Report:
    """The figures on prose."""
    prose = [one for one in read if one.kind == texts.PROSE]
    report = Report()
    report.share(ACCURACY, [one.characters for one in prose])
    report.share("exact_lines", [one.lines for one in prose])
    report.share("exact_chunks", [(float(one.exact), 1) for one in prose])
    return report
