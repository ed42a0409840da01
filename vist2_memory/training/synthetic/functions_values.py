"""Values of arguments and how people say them: words of any script, numbers, choices, lists."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from vist2_memory.training.synthetic.functions import Kind, Value
from vist2_memory.training.synthetic.values import Draw

FOREIGN_SHARE = 0.22
"""Of the names, the share in letters that English lacks."""
QUOTED_SHARE = 0.25
_SCRIPTS: tuple[tuple[int, int], ...] = (
    (0x4E00, 0x9F00),  # Chinese characters
    (0x4E00, 0x9F00),
    (0x4E00, 0x9F00),
    (0x4E00, 0x9F00),
    (0x3041, 0x3094),  # Hiragana
    (0x30A1, 0x30F5),  # Katakana
    (0xAC00, 0xD7A0),  # Hangul
    (0x0430, 0x0450),  # Cyrillic
    (0x03B1, 0x03CA),  # Greek
    (0x05D0, 0x05EA),  # Hebrew
    (0x0904, 0x0930),  # Devanagari
)
_LATIN = "àáâãäåæçèéêëìíîïñòóôõöøùúûüýčďěňřšťžłńśźżąęğışőű"
_NOTES = (
    "bring the {n}", "the {n} is {c}", "wait for {p}", "ask {p} about the {n}", "a {c} {n}",
    "{p} will be late", "no {n} today", "call back at {t}", "a {c} {n} from {w}",
    "two {s} for {p}", "meet at {w}", "{p} likes {s}", "mind the {n}", "a maker of {s}",
)  # fmt: skip


def foreign(rng: random.Random) -> str:
    """A word in letters that English lacks."""
    if rng.random() < 0.25:
        stem = list("".join(rng.choices("abdeiklmnorstuvz", k=rng.randint(3, 8))))
        for _ in range(rng.randint(1, 3)):
            stem[rng.randrange(len(stem))] = rng.choice(_LATIN)
        word = "".join(stem)
        return word.capitalize() if rng.random() < 0.5 else word
    first, end = rng.choice(_SCRIPTS)
    return "".join(chr(rng.randrange(first, end)) for _ in range(rng.randint(2, 6)))


def _said(draw: Draw, value: str, quoted: float = QUOTED_SHARE) -> Value:
    """``value`` as it is, or in quotes."""
    if draw.coin(quoted):
        mark = draw.rng.choice("'\"")
        return Value(value, f"{mark}{value}{mark}")
    return Value(value, value)


def _open(make: Callable[[Draw], str], foreign_share: float = FOREIGN_SHARE) -> Kind:
    """A kind of string that ``make`` draws, in other scripts now and then."""

    def drawn(draw: Draw) -> Value:
        if draw.coin(foreign_share):
            value = foreign(draw.rng)
            if draw.coin(0.3):
                value += " " + foreign(draw.rng)
            said = _said(draw, value, 0.6)
            gloss = f" ({draw.proper()} {draw.proper()})" if draw.coin(0.3) else ""
            return Value(value, said.said + gloss)
        return _said(draw, make(draw))

    return Kind({"type": "string"}, drawn)


def _plain(make: Callable[[Draw], str]) -> Kind:
    return _open(make, 0.0)


def _person(draw: Draw) -> str:
    return draw.full_name() if draw.coin(0.5) else draw.name()


def _place(draw: Draw) -> str:
    town = draw.town()
    form = draw.rng.random()
    if form < 0.6:
        return town
    if form < 0.75:
        return f"{draw.rng.choice(('San', 'Port', 'New', 'Saint', 'East', 'Lake', 'El'))} {town}"
    if form < 0.9:
        letters = "".join(draw.rng.choices("ABCDEGIKLMNOPRSTVWY", k=2))
        return f"{town}, {letters if draw.coin(0.5) else draw.proper()}"
    return f"{draw.digits(1, 3)} {draw.proper()} {draw.rng.choice(('Street', 'Road', 'Lane'))}"


def _word(draw: Draw) -> str:
    lists = ("nouns", "foods", "animals", "drinks", "plurals", "instruments", "jobs")
    return draw.mixed(draw.rng.choice(lists), 0.5)


def _title(draw: Draw) -> str:
    words = [draw.word() if draw.coin(0.5) else _word(draw) for _ in range(draw.rng.randint(1, 3))]
    form = draw.rng.random()
    if form < 0.5:
        return " ".join(words).title()
    return " ".join(words).capitalize() if form < 0.75 else " ".join(words)


def _note(draw: Draw) -> str:
    slots = {"n": "nouns", "c": "colours", "s": "plurals"}
    text = draw.rng.choice(_NOTES)
    for slot, name in slots.items():
        text = text.replace("{" + slot + "}", draw.mixed(name, 0.3))
    return text.replace("{p}", draw.name()).replace("{w}", draw.town()).replace("{t}", draw.time())


def _style(draw: Draw) -> str:
    name = draw.rng.choice(("colours", "animals", "languages", "jobs", "instruments"))
    word = draw.mixed(name, 0.4)
    return word.capitalize() if draw.coin(0.4) else word


def _integer(draw: Draw) -> Value:
    number = draw.digits(1, 2) if draw.coin(0.5) else draw.digits(1, 6)
    if draw.coin(0.3):
        number = str(draw.rng.randint(0, 9))
    if draw.coin(0.06):
        number = f"-{number}"
    return Value(int(number), number)


def _number(draw: Draw) -> Value:
    if draw.coin(0.25):
        return _integer(draw)
    number = f"{draw.rng.randint(0, 400)}.{draw.rng.choice(('', '', '0'))}{draw.rng.randint(1, 9)}"
    return Value(float(number), number)


_YES_NO = ((True, "yes"), (False, "no"), (True, "true"), (False, "false"))
PERSON, PLACE, TITLE = _open(_person), _open(_place), _open(_title, 0.3)
WORD, NOTE, STYLE = _open(_word, 0.05), _open(_note, 0.03), _open(_style, 0.02)
CODE, DATE, TIME = _plain(Draw.code), _plain(Draw.date), _plain(Draw.time)
INTEGER = Kind({"type": "integer"}, _integer)
NUMBER = Kind({"type": "number"}, _number)
BOOLEAN = Kind({"type": "boolean"}, lambda draw: Value(*draw.rng.choice(_YES_NO)))


def choice(options: Sequence[str]) -> Kind:
    """One of ``options``."""
    return Kind({"enum": list(options)}, lambda draw: Value(*[draw.rng.choice(options)] * 2))


def several(kind: Kind) -> Kind:
    """One to four values of a kind."""

    def drawn(draw: Draw) -> Value:
        values = [kind.draw(draw) for _ in range(draw.rng.randint(1, 4))]
        *first, last = [value.said for value in values]
        said = f"{', '.join(first)} and {last}" if first else last
        return Value([value.json for value in values], said)

    return Kind({"type": "array", "items": dict(kind.schema)}, drawn)


def unknown(schema: object) -> object:
    """What stands for an argument that must be given and that nobody named."""
    if not isinstance(schema, dict):
        return None
    if schema.get("enum"):
        return schema["enum"][0]
    blanks = {"string": "unknown", "integer": 0, "number": 0, "boolean": False, "array": []}
    return blanks.get(str(schema.get("type")))
