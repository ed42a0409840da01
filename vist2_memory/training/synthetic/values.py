"""Values from a huge open set, split in two by the checksum of every word.

A word or number is held out iff crc32 of its lower-case form is divisible by eight. The closed
words of `CLOSED` carry no value and are free; a date is taken as one word. Knows no templates.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from zlib import crc32

from vist2_memory.training.synthetic import lists
from vist2_memory.training.synthetic.dialogue import Split

MONTHS = lists.words("""
January February March April May June July August September October November December
""")
WEEKDAYS = lists.words("""
Monday Tuesday Wednesday Thursday Friday Saturday Sunday
""")
CLOSED = frozenset(
    lists.words("""
the a and of in at on by to for with euros dollars drawer box shelf room street road lane
square avenue inn house hotel cafe sons brothers company school college club united rovers
city doctor dr mr mrs soup pie stew cake tart salad roast baked fried years minutes row am
pm o'clock degrees
""")
)
_CALENDAR = frozenset(word.lower() for word in MONTHS + WEEKDAYS)
_STYLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    # (first syllables), (middle syllables), (last syllables), each style with its own sounds
    (
        "english",
        lists.words("""
bar bren cal car cor dal den dun el fen fal gar glen gran hal har hol ken kel lan lin mal
mar mel mor nor pel pen pres ral ren ros sel shel stan sut tal thorn tren wal wes wil wick
win brad chal crow dray fro hex jas lud mun ped quar rud sco tad whit yar
"""),
        lists.words("""
a e en er in ing le o ri ber der ling min ner per ster ter ver wen
"""),
        lists.words("""
bury by combe dale den field ford ham ley low mere more ridge shaw stead ston ton well
wick wood worth nell ler ris rick mond bert win let vin dock gate
"""),
    ),
    (
        "slavic",
        lists.words("""
bla bog bor bra dob dra dor gor gra jar kaz kol kra kru lub lad mil mir mla nov ol rad
rost sla sta sve tom vel vla voj vra zbi zdo zla zor yev pav pod pro bel cher dan
"""),
        lists.words("""
a e i o im iv o sla mi du zi vo ro ni da ko li
"""),
        lists.words("""
mir slav ska sky vich nik nov na ka ko vec grad din tin ta va zan jek mila lava dar var
mil gor lin zhin chek
"""),
    ),
    (
        "italian",
        lists.words("""
al be bel bo ca car ce chi co di do fe fi fio ga gi gra la lo lu ma mar mo na ni or pa pe
pi po ra ri ro sa sal san se so ta te ti to va ve vi vol za bri cre dra fra tre
"""),
        lists.words("""
be ca de li lo ma me mi na ne ni no ra re ri ro sa si ta ti va ve vi
"""),
        lists.words("""
na no la lo lli tta tto ria rio ssa sso nza nzo ra ro ni zzo zza sco sca gna gno ndo nda
re le co ca do da
"""),
    ),
    (
        "japanese",
        lists.words("""
a aki chi da e fu ha haru hi ho i ka ke ki ko ku ma mi mo mu na ni no o ra re ri ru sa shi
so su ta te to tsu u wa ya yo yu za
"""),
        lists.words("""
ka ki ko ma mi mo na ne no ra ri ru sa shi su ta te to wa ya yu do ga gi zu
"""),
        lists.words("""
ka ki ko ma mi mo na ne no ra ri ro sa shi su ta to wa ya yo da go mura ken
"""),
    ),
    (
        "nordic",
        lists.words("""
arn as bjor bran dag ein ei fin fjal frey gud gun hal har hed hjal ing kal kjel kris leif
lind mag nil nor od ol rag run sig sk sno sol stein sver thor tor tro ulf val vig vid yng
ost
"""),
        lists.words("""
a e i o ar en er in ol un al de ne va ge
"""),
        lists.words("""
a ar berg bjorn borg by dal din dis fast finn fjord grim heim hild holm ina lund mund rid
rik rud sen sson stad stein sund var vard vik ya
"""),
    ),
)
_BAD = re.compile(r"(.)\1\1|[^aeiouy]{5}|[aeiou]{4}")


def is_heldout(word: str) -> bool:
    """Whether this one word or number belongs to the held-out split."""
    return crc32(word.lower().encode()) % 8 == 0


def units(value: str) -> tuple[str, ...]:
    """The words and numbers of a value that the split is decided on, in lower case."""
    words = [word.strip(".,'") for word in value.lower().split()]
    if any(word in _CALENDAR for word in words):
        return (value.lower(),)
    return tuple(word for word in words if word not in CLOSED)


def fits(value: str, split: Split) -> bool:
    """Whether every unit of the value lies in the split."""
    held = split == "heldout"
    return all(is_heldout(unit) == held for unit in units(value))


def _by_split(words: Sequence[str]) -> dict[Split, tuple[str, ...]]:
    both: tuple[Split, Split] = ("train", "heldout")
    return {split: tuple(word for word in words if fits(word, split)) for split in both}


_LISTS: dict[str, dict[Split, tuple[str, ...]]] = {
    name.lower(): _by_split(getattr(lists, name)) for name in dir(lists) if name.isupper()
}


class Draw:
    """Draws values of one conversation; no value is drawn twice, nor a word of another value."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng = rng
        self.split: Split = split
        self._held = split == "heldout"
        self._used: set[str] = set()

    def fresh(self, make: Callable[[Draw], str]) -> str:
        """A value whose words no earlier value of this conversation has (as far as possible)."""
        value = make(self)
        for _ in range(60):
            if self._used.isdisjoint(units(value)):
                break
            value = make(self)
        self._used.update(units(value))
        return value

    def _fit(self, make: Callable[[], str]) -> str:
        while True:
            word = make()
            if is_heldout(word) == self._held:
                return word

    def pick(self, name: str) -> str:
        """A word of one of the lists."""
        return self.rng.choice(_LISTS[name][self.split])

    def coin(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _pseudo(self) -> str:
        choice, chance = self.rng.choice, self.rng.random
        while True:
            _, first, middle, last = choice(_STYLES)
            draw = chance()
            word = choice(first)
            if draw > 0.5:
                word += choice(middle)
                if draw > 0.9:
                    word += choice(middle)
            word += choice(last)
            if 4 <= len(word) <= 12 and not _BAD.search(word):
                return word

    def word(self) -> str:
        """A pseudo-word in lower case."""
        return self._fit(self._pseudo)

    def proper(self) -> str:
        """A pseudo-word with a capital."""
        return self.word().capitalize()

    def digits(self, fewest: int, most: int) -> str:
        """A number of so many digits, without a leading zero."""

        def make() -> str:
            length = self.rng.randint(fewest, most)
            return str(self.rng.randrange(10 ** (length - 1), 10**length))

        return self._fit(make)

    def between(self, low: int, high: int) -> str:
        """A number of a range, which must be wide enough to hold one of this split."""
        return self._fit(lambda: str(self.rng.randint(low, high)))

    def code(self) -> str:
        def make() -> str:
            letters = "".join(
                self.rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=self.rng.choice((1, 2, 2, 3)))
            )
            joint = self.rng.choice(("-", "-", ""))
            return f"{letters}{joint}{self.rng.randrange(10, 10 ** self.rng.randint(2, 4))}"

        return self._fit(make)

    def time(self) -> str:
        def make() -> str:
            return f"{self.rng.randint(6, 22)}:{self.rng.randrange(0, 60, 5):02d}"

        return self._fit(make)

    def date(self) -> str:
        def make() -> str:
            day = self.rng.randint(1, 28)
            return (
                f"{day} {self.rng.choice(MONTHS)}"
                if self.coin(0.5)
                else (f"{self.rng.choice(MONTHS)} {day}")
            )

        return self._fit(make)

    def name(self) -> str:
        """A first name: a pseudo-word or an ordinary one."""
        return self.proper() if self.coin(0.6) else self.pick("first_names")

    def full_name(self) -> str:
        second = self.proper() if self.coin(0.6) else self.pick("surnames")
        return f"{self.name()} {second}"

    def surname(self) -> str:
        return self.proper() if self.coin(0.6) else self.pick("surnames")

    def town(self) -> str:
        return self.proper() if self.coin(0.65) else self.pick("towns")

    def mixed(self, name: str, pseudo: float = 0.4) -> str:
        """A word of a list, or a pseudo-word in its place."""
        return self.word() if self.coin(pseudo) else self.pick(name)
