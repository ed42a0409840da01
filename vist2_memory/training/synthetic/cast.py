"""The people and things of one conversation, and how each may be mentioned."""

from __future__ import annotations

from collections import Counter

from vist2_memory.training.synthetic import lists
from vist2_memory.training.synthetic.grammar import Subject
from vist2_memory.training.synthetic.values import WEEKDAYS, Draw

ME = Subject("me", "me")
_KIN = lists.words(
    "sister brother uncle aunt niece nephew grandmother grandfather godmother mother father"
)
"""Relations with a gender; their names are pseudo-words, which have none."""
_RELATIONS = _KIN + lists.commas(
    """cousin, colleague, neighbour, friend, teacher, roommate, landlord, classmate, old friend,
    flatmate, gardener, cleaner, trainer, tenant, lawyer, accountant, plumber, student, cook,
    coach, cousin, colleague, neighbour, friend"""
)
_PETS = lists.words("""
rabbit parrot hamster pony goat horse turtle canary ferret donkey lizard snake mouse
""")
_ADJECTIVES = lists.words("""
blue red green yellow old new small big black white brown grey round heavy wooden spare
broken silver long short flat striped cheap leather thick
""")
_THINGS = lists.words("""
folder key suitcase umbrella notebook camera lamp box clock blanket kettle bag coat tent
ladder hammer mirror carpet guitar radio jacket map vase chair knife passport ticket
charger torch toolbox basket scarf hat pump saw drill bottle envelope file album tray
helmet rope cable printer tablet
""")
_EVENTS = tuple(
    part.strip()
    for part in lists.commas("""
the wedding,  the concert,  the team meeting,  the farewell party,  the birthday party,
the dinner,  the picnic,      the conference,  the school play,  the book club,  the
summer party,  the barbecue,  the garden party,  the reunion,  the lecture,      the
christening,  the opening night,  the office lunch,  the wine tasting,  the board meeting,
the charity run,  the flea market,      the cooking class,  the game night,  the
housewarming,  the anniversary,  the workshop,  the choir practice,  the street fair,
the award night,  the tea party,  the family lunch,  the chess evening,  the harvest
festival,  the autumn fair
""")
)
_SHOPS = lists.words("""
bakery bookshop butcher florist pharmacy tailor cafe grocery cinema bank library gym
""")
_DISHES = tuple(
    part.strip()
    for part in lists.commas("""
the goulash,  the tomato soup,  the apple pie,  the roast chicken,  the curry,  the stew,
the bread,  the risotto,      the pancakes,  the fish pie,  the salad,  the cheesecake,
the lentil soup,  the pasta sauce,  the meatballs,  the dumplings,      the potato salad,
the chocolate cake,  the omelette,  the paella,  the rice pudding,  the onion soup,  the
lasagne
""")
    if not part.strip().endswith(("cakes", "balls", "lings"))
)
_TRIPS = (
    "the trip to {}",
    "the journey to {}",
    "the tour of {}",
    "the holiday in {}",
    "the visit to {}",
)


class Cast:
    """Makes subjects, each with words that nothing else in the conversation has."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._phrases: set[str] = set()
        self._relations: Counter[str] = Counter()
        self.known: dict[str, list[Subject]] = {"me": [ME]}

    def new(self, kind: str) -> Subject | None:
        """A subject of a kind, or none when the fixed ones of this kind are used up."""
        for _ in range(12):
            subject = self._make(kind)
            if subject.phrase not in self._phrases:
                self._phrases.add(subject.phrase)
                self._relations[subject.relation] += 1
                self.known.setdefault(kind, []).append(subject)
                return subject
        return None

    def forms(self, subject: Subject) -> tuple[str, ...]:
        """The phrases that mean this subject and no other, once it was introduced."""
        if not subject.name:
            return (subject.phrase,)
        both = (subject.name, subject.phrase)
        if subject.relation and self._relations[subject.relation] == 1:
            return (*both, subject.name, subject.relation)
        return both

    def _make(self, kind: str) -> Subject:
        draw, choice = self._draw, self._draw.rng.choice
        if kind == "person":
            relation = f"my {choice(_RELATIONS)}"
            name = draw.fresh(Draw.proper if relation[3:] in _KIN else Draw.name)
            if draw.coin(0.05) and relation[3:] not in _KIN:
                name = draw.fresh(Draw.full_name)
            if draw.coin(0.2):
                return Subject(kind, name, name)
            return Subject(kind, f"{relation} {name}", name, relation)
        if kind == "pet":
            name, relation = draw.fresh(Draw.name), f"my {choice(_PETS)}"
            return Subject(kind, f"{relation} {name}", name, relation)
        if kind == "thing":
            article = "my" if draw.coin(0.25) else "the"
            return Subject(kind, f"{article} {choice(_ADJECTIVES)} {choice(_THINGS)}")
        if kind == "event":
            return Subject(kind, choice(_EVENTS))
        if kind == "dish":
            return Subject(kind, choice(_DISHES))
        if kind == "weekday":
            return Subject(kind, choice(WEEKDAYS[:5]))
        name = draw.fresh(Draw.town)
        if kind == "project":
            return Subject(kind, f"project {name}", f"project {name}")
        if kind == "shop":
            return Subject(kind, f"the {choice(_SHOPS)} {name}", name)
        if kind == "trip":
            return Subject(kind, choice(_TRIPS).format(name))
        return Subject(kind, name)
