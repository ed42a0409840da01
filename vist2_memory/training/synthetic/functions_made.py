"""Makes functions: look something up, do something, compute something, read something."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from vist2_memory.training.synthetic import functions_values as kinds
from vist2_memory.training.synthetic.functions import Function, Kind, Parameter, allowed, may_name
from vist2_memory.training.synthetic.lists import commas, words
from vist2_memory.training.synthetic.values import Draw, is_heldout

_LOOK = words("get find fetch look_up check read query show search retrieve lookup")
_DO = words("""
book order reserve create open close start stop send cancel register update rename move schedule
remove delete play print record track pay invite ship install write make save paint plan buy rent
share publish assign archive draft design build generate announce deliver repair
""")
_COMPUTE = words("compute calculate apply evaluate estimate run measure")
_MODIFIERS = words("""
ticket parking water fuel room train bus member parcel delivery bread school book team market
harbour garden machine battery library concert hotel house road tea engine ship museum phone
""")
_HEADS = words("""
price status level rate schedule rating owner address number size length age colour score limit
index code count balance menu fee height speed weight name rank history
""")
_ALONE = commas("""
population, traffic, altitude, timetable, nightlife, address, phone number, opening hours,
currency, mayor, language, noise level, food, time zone, distance, capital, rent, elevation,
area code, next departure, water quality, air traffic, parking, best restaurant, latest news
""")
_THINGS = words("""
meeting order ticket reminder invoice table room parcel letter project task event account report
poster playlist song poem sign label recipe story list trip appointment message note folder lamp
robot contract form supplier employee student team channel page photo logo badge speech
""")
_MATHS = words("""
index score factor ratio power root sum_of_squares code level hash checksum product distance rank
rate area volume norm total mean offset signal
""")
_PLACES = ("city", "town", "place", "area", "region", "station", "venue", "destination", "site")

_ROLES: tuple[tuple[Kind, Sequence[str], Sequence[str]], ...] = (
    # (kind, names of parameters, how a request says the value)
    (kinds.TITLE, words("name title label subject"),
     ("called {v}", "named {v}", "with the {w} {v}", "by the {w} of {v}", "{v}")),
    (kinds.PERSON, words("person recipient guest owner author member assignee contact"),
     ("for {v}", "to {v}", "for {v}", "with {v} as the {w}", "from {v}")),
    (kinds.PLACE, _PLACES, ("in {v}", "at {v}", "near {v}", "in {v}", "with the {w} {v}")),
    (kinds.DATE, words("date day due_date start_date deadline"), ("on {v}", "for {v}", "by {v}")),
    (kinds.TIME, words("time start_time hour departure_time"), ("at {v}", "at {v}", "for {v}")),
    (kinds.INTEGER, words("people guests seats copies rooms nights pages units hours"),
     ("for {v} {w}", "with {v} {w}", "{v} {w}")),
    (kinds.INTEGER, words("count amount quantity size limit number priority max_results"),
     ("with a {w} of {v}", "{w} {v}", "with {w} {v}", "{w}: {v}")),
    (kinds.NUMBER, words("price budget weight rate factor length"),
     ("for {v} euros", "with a {w} of {v}", "{w} {v}")),
    (kinds.CODE, words("code reference order_id item_id user_id serial"),
     ("with the {w} {v}", "number {v}", "{w} {v}", "{v}")),
    (kinds.NOTE, words("note details text comment message content body"),
     ("saying {v}", "- {v}", "with the {w} {v}", "that says: {v}", "({w}: {v})")),
    (kinds.WORD, words("item topic product category keyword theme subject_matter"),
     ("about {v}", "with {v}", "on {v}", "{w} {v}")),
    (kinds.several(kinds.WORD), words("items tags keywords ingredients topics"),
     ("with {v}", "with the {w} {v}", "{w}: {v}", "about {v}")),
    (kinds.several(kinds.PERSON), words("participants members recipients guests_list players"),
     ("with {v}", "for {v}", "{w}: {v}")),
    (kinds.several(kinds.INTEGER), words("numbers values sizes pages_list"),
     ("with the {w} {v}", "for {v}", "{w}: {v}")),
)  # fmt: skip
_ADJECTIVES = words("style kind type colour theme mood sort flavour genre tone")
_FLAGS = words(
    "breakfast parking music reminder insurance printing express gift_wrap balcony lunch"
)
_SETTINGS = words("mode priority size format unit level class category speed")
_OPTIONS: tuple[tuple[str, ...], ...] = tuple(
    words(line)
    for line in """
low medium high
small large
small medium large
fast slow
economy business first
celsius kelvin
metres feet
pdf html csv
short long
open closed pending
red green blue
daily weekly monthly
one_way return
draft final
km miles
public private
""".strip().splitlines()
)


def make(draw: Draw) -> Function:
    """A function whose name is of the split of ``draw``; nothing in it is left out."""
    rng = draw.rng
    [family] = rng.choices(list(_FAMILIES), [0.36, 0.34, 0.2, 0.1])
    while True:
        function = _FAMILIES[family](draw)
        tool = function.tool
        fits = is_heldout(function.name) == (draw.split == "heldout")
        named = all(may_name(parameter.name) for parameter in function.parameters)
        if fits and named and allowed(function.name, function.noun, str(tool)):
            return _documented(rng, function) if rng.random() < 0.1 else function


def _documented(rng: random.Random, function: Function) -> Function:
    """``function`` described as the comment of a program would."""
    lines = [function.described or f"{_verb(function.verb).capitalize()} the {function.noun}."]
    if function.parameters:
        lines += ["", "Args:"]
        lines += [f"    {own.name}: The {own.words} {_ending(rng)}" for own in function.parameters]
    if rng.random() < 0.5:
        lines += ["", "Returns:", f"    The {function.noun} {_ending(rng)}"]
    return replace(function, described="\n".join(lines))


def _ending(rng: random.Random) -> str:
    return rng.choice(("to use.", "that is meant.", "as text.", "in full.", "if known.", "."))


def _join(rng: random.Random, parts: Sequence[str]) -> str:
    """``parts``, words or several with spaces or underscores, as a name."""
    flat = [word for part in parts for word in part.replace("_", " ").split()]
    form = rng.random()
    if form < 0.72:
        return "_".join(flat)
    camel = "".join(word.capitalize() for word in flat)
    return camel[0].lower() + camel[1:] if form < 0.95 else camel


def _noun(draw: Draw) -> str:
    rng, form = draw.rng, draw.rng.random()
    if form < 0.3:
        return rng.choice(_ALONE)
    if form < 0.6:
        return f"{rng.choice(_MODIFIERS)} {rng.choice(_HEADS)}"
    return f"{draw.word()} {rng.choice(_HEADS)}" if form < 0.85 else draw.word()


def _lookup(draw: Draw) -> Function:
    rng, noun = draw.rng, _noun(draw)
    verb = rng.choice(_LOOK)
    parts = [noun] if rng.random() < 0.2 else [verb, noun]
    form = rng.random()
    if form < 0.5:
        name = rng.choice(_PLACES)
        key, joint = Parameter(name, kinds.PLACE, name), rng.choice(("in", "in", "at", "of", "for"))
    elif form < 0.68:
        name = rng.choice(("person", "name", "member", "user", "owner", "author"))
        key, joint = Parameter(name, kinds.PERSON, name), rng.choice(("of", "for"))
    elif form < 0.84:
        name = rng.choice(("code", "order_id", "number", "reference", "item_id", "id"))
        kind = rng.choice((kinds.CODE, kinds.INTEGER))
        key, joint = Parameter(name, kind, name.replace("_", " ")), rng.choice(("of", "for"))
    else:
        name = rng.choice(("item", "product", "topic", "word", "title", "query"))
        key = Parameter(name, rng.choice((kinds.WORD, kinds.TITLE)), name)
        joint = rng.choice(("of", "for"))
    if rng.random() < 0.12:
        parts.append("by " + key.words)
    more = _others(draw, {key.name}, rng.choices((0, 1, 2), (0.68, 0.24, 0.08))[0])
    said = _described(rng, [
        f"{_verb(verb).capitalize()} the {noun} {joint} a {key.words}.",
        f"The {noun} {joint} a {key.words}.",
        f"Gives the {noun}.",
        f"Returns the {noun} for the given {key.words}",
        f"Use this to find out the {noun} {joint} any {key.words}.",
    ])  # fmt: skip
    name = _join(rng, parts)
    return Function(name, "lookup", verb, noun, (_told(rng, key), *more), said, joint)


def _action(draw: Draw) -> Function:
    rng = draw.rng
    verb = rng.choice(_DO)
    noun = rng.choice(_THINGS) if rng.random() < 0.7 else draw.word()
    if rng.random() < 0.2:
        noun = f"{rng.choice(_MODIFIERS)} {noun}"
    parts = [verb, noun] if rng.random() < 0.85 else [noun, f"{verb}er"]
    first: tuple[Parameter, ...] = ()
    if rng.random() < 0.22:
        name = rng.choice(_ADJECTIVES)
        first = (Parameter(name, kinds.STYLE, name, ("<{v}>",)),)
    count = rng.choices((0, 1, 2, 3), (0.25, 0.3, 0.27, 0.18))[0] if first else None
    count = rng.choices((1, 2, 3, 4), (0.38, 0.34, 0.2, 0.08))[0] if count is None else count
    rest = _others(draw, {parameter.name for parameter in first}, count, first_required=not first)
    said = _described(rng, [
        f"{_verb(verb).capitalize()} a {noun}.",
        f"Tool to {_verb(verb)} a {noun}.",
        f"{_verb(verb).capitalize()}s a {noun} with the given details",
        f"Use it when somebody wants to {_verb(verb)} a {noun}.",
    ])  # fmt: skip
    name = _join(rng, parts)
    return Function(name, "action", verb, noun, (*first, *rest), said)


def _computation(draw: Draw) -> Function:
    rng = draw.rng
    noun = rng.choice(_MATHS).replace("_", " ")
    if rng.random() < 0.75:
        noun = f"{draw.word()} {noun}" if rng.random() < 0.7 else f"{draw.word()} function"
    verb = rng.choice(_COMPUTE)
    parts = [noun] if rng.random() < 0.6 else [verb, noun]
    kind = kinds.INTEGER if rng.random() < 0.7 else kinds.NUMBER
    sets = (("x",), ("n",), ("value",), ("number",), ("x", "y"), ("left", "right"), ("n", "k"),
            ("first", "second"), ("x", "y", "z"), ("base", "exponent"), ("numbers",))  # fmt: skip
    names = rng.choice(sets)
    parameters = tuple(Parameter(name, kind, name) for name in names)
    if names == ("numbers",):
        parameters = (Parameter("numbers", kinds.several(kind), "numbers"),)
    said = _described(rng, [
        f"{verb.capitalize()} the {noun}.", f"The {noun} of {' and '.join(names)}.",
        f"A {noun} of numbers",
    ])  # fmt: skip
    told = tuple(_told(rng, parameter, 0.1) for parameter in parameters)
    return Function(_join(rng, parts), "computation", verb, noun, told, said)


def _reading(draw: Draw) -> Function:
    rng, noun = draw.rng, _noun(draw)
    verb = rng.choice(_LOOK)
    parts = [noun] if rng.random() < 0.3 else [verb, noun]
    if rng.random() < 0.1:
        parts.append(rng.choice(("now", "here", "all", "today")))
    said = _described(rng, [f"Gives the {noun}.", f"{_verb(verb).capitalize()} the {noun}"])
    return Function(_join(rng, parts), "reading", verb, noun, (), said)


_FAMILIES: dict[str, Callable[[Draw], Function]] = {
    "lookup": _lookup,
    "action": _action,
    "computation": _computation,
    "reading": _reading,
}


def _others(
    draw: Draw, taken: set[str], count: int, first_required: bool = False
) -> tuple[Parameter, ...]:
    """``count`` parameters of requests, none of a role or name that was there before."""
    rng, found = draw.rng, []
    roles = rng.sample(range(len(_ROLES) + 3), count)
    for place, role in enumerate(roles):
        required = (first_required and place == 0) or rng.random() < 0.65
        parameter = _parameter(draw, role, required)
        if parameter.name not in taken:
            taken.add(parameter.name)
            found.append(_told(rng, parameter))
    return tuple(sorted(found, key=lambda parameter: not parameter.required))


def _parameter(draw: Draw, role: int, required: bool) -> Parameter:
    rng = draw.rng
    if role < len(_ROLES):
        kind, names, phrases = _ROLES[role]
        name = rng.choice(names)
        if rng.random() < 0.08:
            name = draw.word()
            phrases = ("with the {w} {v}", "{w} {v}", "{w}: {v}")
        return Parameter(name, kind, name.replace("_", " "), tuple(phrases), required)
    if role == len(_ROLES):
        name = rng.choice(_FLAGS)
        shown = name if rng.random() < 0.5 else f"with_{name}"
        return Parameter(shown, kinds.BOOLEAN, name.replace("_", " "), ("<flag>",), required)
    name = rng.choice(_SETTINGS)
    if rng.random() < 0.3:
        options: Sequence[str] = [draw.word() for _ in range(rng.randint(2, 4))]
    else:
        options = rng.choice(_OPTIONS)
    phrases = ("with {w} {v}", "{w} {v}", "in {v}", "as {v}", "({v})", "{w}: {v}")
    return Parameter(name, kinds.choice(options), name, phrases, required)


def _verb(verb: str) -> str:
    return verb.replace("_", " ")


def _described(rng: random.Random, ways: Sequence[str]) -> str:
    return rng.choice(ways) if rng.random() < 0.65 else ""


def _told(rng: random.Random, parameter: Parameter, share: float = 0.18) -> Parameter:
    """``parameter``, at times with a description."""
    if rng.random() >= share:
        return parameter
    ways = (f"The {parameter.words}.", f"{parameter.words} to use", f"Which {parameter.words}")
    return Parameter(
        parameter.name,
        parameter.kind,
        parameter.words,
        parameter.phrases,
        parameter.required,
        rng.choice(ways),
    )
