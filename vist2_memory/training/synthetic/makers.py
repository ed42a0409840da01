"""The value makers that attributes name: what a street, a price or a title looks like."""

from __future__ import annotations

from collections.abc import Callable

from vist2_memory.training.synthetic.values import WEEKDAYS, Draw


def _street(draw: Draw) -> str:
    kind = draw.rng.choice(("Street", "Street", "Road", "Lane", "Avenue", "Square"))
    return f"{draw.surname()} {kind}"


def _firm(draw: Draw) -> str:
    form = draw.rng.randrange(5)
    first = draw.surname()
    if form == 0:
        return f"{first} and Sons"
    if form == 1:
        return f"{first} and {draw.surname()}"
    if form == 2:
        return f"{first} Brothers"
    return first


def _inn(draw: Draw) -> str:
    form = draw.rng.randrange(5)
    if form == 0:
        return f"the {draw.pick('colours').capitalize()} {draw.pick('animals')}"
    if form == 1:
        return f"the {draw.pick('colours').capitalize()} {draw.pick('nouns').capitalize()}"
    if form == 2:
        return f"Cafe {draw.proper()}"
    if form == 3:
        return f"the {draw.proper()}"
    return draw.proper()


def _hotel(draw: Draw) -> str:
    form = draw.rng.randrange(3)
    return (f"Hotel {draw.proper()}", f"the {draw.proper()} Inn", draw.proper())[form]


def _title(draw: Draw) -> str:
    form = draw.rng.randrange(4)
    if form == 0:
        return f"The {draw.pick('colours').capitalize()} {draw.pick('nouns').capitalize()}"
    if form == 1:
        return f"The {draw.pick('nouns').capitalize()} of {draw.proper()}"
    return draw.proper() if form == 2 else f"{draw.proper()} and {draw.name()}"


def _school(draw: Draw) -> str:
    return f"{draw.surname()} {draw.rng.choice(('School', 'College'))}"


def _team(draw: Draw) -> str:
    form = draw.rng.randrange(3)
    ending = draw.rng.choice(("United", "Rovers", "City"))
    return draw.proper() if form else f"{draw.town()} {ending}"


def _price(draw: Draw) -> str:
    form = draw.rng.randrange(3)
    if form == 0:
        return f"{draw.digits(2, 4)} euros"
    if form == 1:
        return f"{draw.digits(2, 4)} dollars"
    return draw._fit(lambda: f"${draw.rng.randint(3, 99)}.{draw.rng.randrange(5, 100, 5):02d}")


def _spot(draw: Draw) -> str:
    form = draw.rng.randrange(5)
    if form < 2:
        return f"{('drawer', 'box')[form]} {draw.digits(1 if form else 2, 3)}"
    return f"the {draw.pick('places')}" if form < 4 else f"room {draw.digits(2, 3)}"


def _day_time(draw: Draw) -> str:
    def make() -> str:
        hour, minute = draw.rng.randint(7, 20), draw.rng.randrange(0, 60, 15)
        return f"{draw.rng.choice(WEEKDAYS)} at {hour}:{minute:02d}"

    return draw._fit(make)


def _dish(draw: Draw) -> str:
    if draw.coin(0.5):
        return draw.pick("foods")
    return f"{draw.word()} {draw.rng.choice(('soup', 'pie', 'stew', 'cake', 'salad'))}"


def _password(draw: Draw) -> str:
    return draw._fit(lambda: f"{draw._pseudo()}{draw.rng.randint(10, 9999)}")


def _thing(draw: Draw) -> str:
    if draw.coin(0.6):
        return f"{draw.pick('colours')} {draw.pick('nouns')}"
    return draw.pick("nouns")


MAKERS: dict[str, Callable[[Draw], str]] = {
    "name": Draw.name,
    "full_name": lambda d: d.full_name() if d.coin(0.5) else d.name(),
    "doctor": lambda d: f"Dr {d.surname()}" if d.coin(0.5) else d.full_name(),
    "proper": Draw.proper,
    "word": Draw.word,
    "town": Draw.town,
    "street": _street,
    "firm": _firm,
    "inn": _inn,
    "hotel": _hotel,
    "title": _title,
    "school": _school,
    "team": _team,
    "price": _price,
    "spot": _spot,
    "spot_in": lambda d: f"the {d.pick('places')}",
    "day_time": _day_time,
    "time": Draw.time,
    "date": Draw.date,
    "code": Draw.code,
    "dish": _dish,
    "password": _password,
    "thing": _thing,
    "two_digits": lambda d: d.digits(2, 2),
    "number": lambda d: d.digits(1, 3),
    "long_number": lambda d: d.digits(2, 5),
    "phone": lambda d: d.digits(6, 7),
    "pin": lambda d: d.digits(4, 6),
    "age": lambda d: d.between(18, 92),
    "few": lambda d: d.between(2, 60),
    "size": lambda d: d.between(30, 58),
    "minutes": lambda d: d.between(10, 99),
    "seat": lambda d: d._fit(lambda: f"{d.rng.randint(1, 60)}{d.rng.choice('ABCDEF')}"),
    "flight": lambda d: d._fit(
        lambda: f"{''.join(d.rng.choices('ABEFKLNSTUX', k=2))}{d.rng.randint(100, 9999)}"
    ),
    "colour": lambda d: d.mixed("colours", 0.2),
    "drink": lambda d: d.mixed("drinks", 0.5),
    "ingredient": lambda d: d.mixed("ingredients", 0.2),
    "job": lambda d: d.pick("jobs"),
    "instrument": lambda d: d.mixed("instruments", 0.4),
    "language": lambda d: d.proper() if d.coin(0.4) else d.pick("languages"),
    "hobby": lambda d: d.pick("hobbies"),
    "car": lambda d: d.proper() if d.coin(0.5) else d.pick("cars"),
    "plurals": lambda d: d.pick("plurals"),
    "user_name": lambda d: d._fit(lambda: f"{d._pseudo()}{d.rng.randint(1, 999)}"),
}
