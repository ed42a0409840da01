"""Text that nobody could guess, so that it has to be read: words that are none, numbers, symbols.

A model that is taught to read on prose alone learns to guess: it then misreads names, amounts and
code, which are what is asked for most.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence

_VOWELS = "aeiou"
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "kn", "pl", "sh", "st", "th")
_ENDS = ("", "", "n", "r", "l", "s", "t", "ck", "nd", "rt", "m", "x")
_WORD = re.compile(r"[A-Za-z]{3,}")
_SIGNS = (*"=+-*/%<>&|!?:;,.#@~^", "==", "+=", "->", "<=", "&&", "::", "//", "...")
_BRACKETS = ("()", "[]", "{}", "<>", "''", '""', "``")

Rarely = Sequence[str]
"""Characters of the font that ordinary text hardly has."""


def pseudo_word(rng: random.Random) -> str:
    """A word that can be spoken and does not exist, of one to four syllables."""
    parts = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 4)))
    return "".join(parts) + rng.choice(_ENDS)


def number(rng: random.Random) -> str:
    """Digits, as amounts, dates, times and codes have them."""
    digits = "".join(rng.choices(string.digits, k=rng.randint(1, 8)))
    form = rng.randrange(8)
    if form < 4:
        return digits
    if form == 4:
        return f"{rng.choice(('$', '£', '€', '#', 'No. ', '~', 'x'))}{digits}"
    if form == 5:
        return f"{digits}{rng.choice(('%', 'th', ' am', ' km', 'kg', 'px', '/7', ',000'))}"
    sign = rng.choice((".", ":", "-", "/", ",", "e"))
    return sign.join(str(rng.randrange(100)) for _ in range(rng.randint(2, 3)))


def garble(rng: random.Random, text: str) -> str:
    """``text`` with some to most of its words replaced by pseudo-words, numbers and each other."""
    share = rng.choice((0.15, 0.3, 0.6, 0.9))
    words = _WORD.findall(text)

    def replace(match: re.Match[str]) -> str:
        if rng.random() > share:
            return match[0]
        form = rng.randrange(10)
        if form < 2:
            return number(rng)
        word = rng.choice(words) if form < 4 else pseudo_word(rng)
        return word.capitalize() if match[0][0].isupper() else word

    return _WORD.sub(replace, text)


def listing(rng: random.Random, characters: int) -> str:
    """Lines of nonsense in the shape of code, tables and settings."""
    lines: list[str] = []
    length = 0
    while length < characters:
        indent = " " * rng.choice((0, 0, 0, 2, 4, 4, 8))
        line = indent + " ".join(_item(rng, 2) for _ in range(rng.randint(1, 6)))
        lines.append(line + rng.choice(("", "", ";", ":", ",")))
        length += len(lines[-1]) + 1
    return rng.choice(("\n", "\n", "\n\n")).join(lines)


def _item(rng: random.Random, depth: int) -> str:
    form = rng.randrange(10)
    if depth and form < 3:
        inside = ", ".join(_item(rng, depth - 1) for _ in range(rng.randint(0, 3)))
        opening, closing = rng.choice(_BRACKETS)
        return rng.choice(("", _name(rng))) + opening + inside + closing
    if form < 5:
        return number(rng)
    return rng.choice(_SIGNS) if form == 5 else _name(rng)


def _name(rng: random.Random) -> str:
    """A word or several, joined as identifiers are."""
    words = [pseudo_word(rng) for _ in range(rng.randint(1, 3))]
    form = rng.randrange(6)
    if form == 0:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if form == 1:
        return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(2, 12)))
    if form == 2:
        return "_".join(words).upper()
    return rng.choice(("_", ".", "-", "/", " ", "_")).join(words)


def scramble(rng: random.Random, characters: int, rare: Rarely) -> str:
    """Words of letters drawn one by one, from alphabets that change from word to word."""
    kinds = (
        string.ascii_lowercase,
        string.digits,
        string.ascii_letters + string.digits,
        string.punctuation + "\n\t",
        "".join(rare),
    )
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append("".join(rng.choices(rng.choice(kinds), k=rng.randint(1, 10))))
    return " ".join(words)


KINDS: tuple[Callable[[random.Random, str, Rarely], str], ...] = (
    lambda rng, prose, rare: garble(rng, prose),
    lambda rng, prose, rare: garble(rng, prose),
    lambda rng, prose, rare: listing(rng, len(prose)),
    lambda rng, prose, rare: scramble(rng, len(prose), rare),
)
"""Each makes a text about as long as a passage of prose, from it or from nothing."""


def unfamiliar(rng: random.Random, prose: str, rare: Rarely) -> str:
    """A text of one of the ``KINDS``; garbled prose twice as often as each of the others."""
    return rng.choice(KINDS)(rng, prose, rare)
