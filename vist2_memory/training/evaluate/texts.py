"""Texts of several kinds to be read back: prose, dialogue, code, numbers and identifiers.

None of them is trained on. Knows no model beyond where its chunks end.
"""

from __future__ import annotations

import random
import string
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from vist2_memory.errors import InvalidInputError
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.transcript import escape
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.training.synthetic import generate
from vist2_memory.training.synthetic.lists import words
from vist2_memory.types import Chunk

Draw: TypeAlias = Callable[[random.Random, int], str]
"""A passage of about so many characters."""

PROSE, DIALOGUE, CODE, NUMBERS = "prose", "dialogue", "code", "numbers and identifiers"
CHARACTERS_PER_TOKEN = 8
"""More characters than a token has on average; a passage drawn so long fills its chunks."""
_MODULES = 60
"""Modules of the standard library that code is drawn from."""
_PARTS = words("user get max index cache row http size old total path id")


def prose(data: Path) -> Draw:
    """Passages of the texts at ``data``; raises ``InvalidInputError`` where there are none."""
    return Passages(text for file in find_files(data) for text in read_texts(file)).draw


def dialogue(rng: random.Random, characters: int) -> str:
    """Turns of a held-out synthetic conversation, one a line, from somewhere in it."""
    conversation = generate(rng, characters=characters + 400, split="heldout")
    text = "\n".join(said for _, said in conversation.messages)
    start = rng.randrange(max(1, len(text) - characters + 1))
    return text[start : start + characters]


def code() -> Draw | None:
    """Passages of the source files of this Python's standard library; None where it has none."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(folder.glob("*.py"))[:_MODULES]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return Passages(texts).draw if any(text.strip() for text in texts) else None


def numbers(rng: random.Random, characters: int) -> str:
    """Numbers, amounts, dates, times, codes, paths and identifiers, some on lines of their own."""
    parts: list[str] = []
    length = 0
    while length < characters:
        parts.append(rng.choice(_MAKERS)(rng) + rng.choice((" ", " ", ", ", "\n")))
        length += len(parts[-1])
    return "".join(parts)[:characters]


def _identifier(rng: random.Random) -> str:
    parts = rng.sample(_PARTS, rng.randint(2, 3))
    if rng.random() < 0.5:
        return "_".join(parts) + rng.choice(("", f"_{rng.randrange(100)}"))
    return parts[0] + "".join(part.capitalize() for part in parts[1:])


def _code(rng: random.Random) -> str:
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 4)))
    return f"{letters}-{rng.randrange(10, 100_000)}"


_MAKERS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: str(rng.randrange(10 ** rng.randint(1, 9))),
    lambda rng: f"{rng.randrange(100_000) / 100:,.2f}",
    lambda rng: f"{rng.randint(1990, 2035)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
    lambda rng: f"{rng.randrange(24)}:{rng.randrange(60):02}",
    lambda rng: f"{rng.getrandbits(32):08x}",
    lambda rng: f"v{rng.randrange(10)}.{rng.randrange(30)}.{rng.randrange(30)}",
    lambda rng: f"/{rng.choice(_PARTS)}/{_identifier(rng)}.{rng.choice(('py', 'json', 'csv'))}",
    _identifier,
    _code,
)


def draw_chunks(
    chunker: Chunker, draw: Draw, rng: random.Random, count: int, *, each: int = 1, name: str
) -> list[list[Chunk]]:
    """``count`` runs of ``each`` full consecutive chunks.

    Raises ``InvalidInputError`` when the texts, called ``name``, are too short for that.
    """
    runs: list[list[Chunk]] = []
    for _ in range(20 * count):
        if len(runs) == count:
            break
        text = escape(draw(rng, each * chunker.chunk_tokens * CHARACTERS_PER_TOKEN))
        run: list[Chunk] = []
        for chunk in chunker.cut(text):
            run.append(chunk)
            if len(run) == each:
                runs.append(run)
                break
    if len(runs) < count:
        raise InvalidInputError(
            f"{name} is too short: {each} chunks of {chunker.chunk_tokens} tokens are needed"
        )
    return runs
