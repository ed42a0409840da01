"""Which facts a conversation has, which of them change, and the questions about them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from vist2_memory.training.synthetic import frames, quoting
from vist2_memory.training.synthetic.attributes import Attribute
from vist2_memory.training.synthetic.cast import ME, Cast
from vist2_memory.training.synthetic.dialogue import Question, Split
from vist2_memory.training.synthetic.facts_assistant import TOLD
from vist2_memory.training.synthetic.facts_days import DAYS
from vist2_memory.training.synthetic.facts_dealings import DEALINGS
from vist2_memory.training.synthetic.facts_family import FAMILY
from vist2_memory.training.synthetic.facts_home import HOME
from vist2_memory.training.synthetic.facts_outings import OUTINGS
from vist2_memory.training.synthetic.facts_things import THINGS
from vist2_memory.training.synthetic.grammar import Subject, render, sentence
from vist2_memory.training.synthetic.makers import MAKERS
from vist2_memory.training.synthetic.values import Draw

PEOPLE = HOME + DAYS + FAMILY + DEALINGS
THINGS_AND_OUTINGS = THINGS + OUTINGS
ATTRIBUTES: tuple[Attribute, ...] = PEOPLE + THINGS_AND_OUTINGS + TOLD
_ALIKE = (
    frozenset(("my_name", "nickname", "user_name")),
    frozenset(("food", "eats")),
    frozenset(("room", "hotel")),
    frozenset(("boss", "employer")),
    frozenset(("lock", "order")),
    frozenset(("gift", "gift_idea")),
)
"""Attributes so near to each other that with one told, the other is not asked as unanswerable."""
_QUESTION_WORDS = (
    "wh",
    "how",
    "in wh",
    "on wh",
    "at wh",
    "by wh",
    "for wh",
    "after how",
    "under wh",
    "with wh",
    "to wh",
)


@dataclass
class Fact:
    """One attribute of one subject; `values` oldest first, `turns` where each was told."""

    attribute: Attribute
    subject: Subject
    values: list[str]
    turns: list[int] = field(default_factory=list)
    said: str = ""
    """The words in which the newest value was told."""


def choose_facts(rng: random.Random, draw: Draw, cast: Cast, count: int) -> list[Fact]:
    """So many facts on few attributes, so that several subjects share an attribute."""
    pool = rng.choices(
        (PEOPLE, THINGS_AND_OUTINGS, TOLD),
        (0.5, 0.27, 0.23),
        k=max(1, round(count * rng.uniform(0.3, 0.85))),
    )
    attributes = [rng.choice(table) for table in pool]
    facts: list[Fact] = []
    taken: set[tuple[str, Subject]] = set()
    crowd = rng.uniform(0.15, 0.6)
    while len(facts) < count:
        attribute = rng.choice(attributes)
        subject = _choose_subject(rng, cast, attribute, taken, crowd)
        if subject is None:
            attributes.append(rng.choice(ATTRIBUTES))
            continue
        taken.add((attribute.key, subject))
        values = [draw.fresh(MAKERS[attribute.maker])]
        if rng.random() < 0.15:
            for _ in range(1 if rng.random() < 0.8 else 2):
                value = draw.fresh(MAKERS[attribute.maker])
                if not any(_overlap(value, old) for old in values):
                    values.append(value)
        facts.append(Fact(attribute, subject, values))
    return facts


def _overlap(first: str, second: str) -> bool:
    return first.lower() in second.lower() or second.lower() in first.lower()


def _choose_subject(
    rng: random.Random,
    cast: Cast,
    attribute: Attribute,
    taken: set[tuple[str, Subject]],
    crowd: float,
) -> Subject | None:
    kind = rng.choice(attribute.subjects)
    known = [s for s in cast.known.get(kind, ()) if (attribute.key, s) not in taken]
    if kind == "me":
        return ME if known else None
    if known and rng.random() > crowd / (1 + 0.2 * len(known)):
        return rng.choice(known)
    return cast.new(kind) or (rng.choice(known) if known else None)


def ask_fact(rng: random.Random, cast: Cast, split: Split, fact: Fact) -> Question:
    """A question on the newest value; the answer quotes the words in which it was told."""
    attribute = fact.attribute
    phrase = rng.choice(cast.forms(fact.subject))
    value = fact.values[-1]
    text = question_text(rng, split, attribute, phrase)
    changed = len(fact.values) > 1
    role = "assistant" if attribute.by_assistant else "user"
    return Question(
        text,
        quoting.answer(role, fact.said, value, text),
        value,
        "changed" if changed else attribute.kind,
        True,
        fact.turns[-1],
        tuple(fact.values[:-1]),
    )


def ask_unknown(rng: random.Random, cast: Cast, split: Split, facts: list[Fact]) -> Question | None:
    """A question on something never said, mostly of an attribute or a subject that did occur."""
    told = {(fact.attribute.key, fact.subject) for fact in facts}
    for _ in range(8):
        attribute = (
            rng.choice(facts).attribute if rng.random() < 0.6 and facts else rng.choice(ATTRIBUTES)
        )
        kind = rng.choice(attribute.subjects)
        known = cast.known.get(kind, [])
        subject = rng.choice(known) if known and rng.random() < 0.75 else cast.new(kind)
        if subject is None or (attribute.key, subject) in told:
            continue
        near = {key for group in _ALIKE if attribute.key in group for key in group}
        if any((key, subject) in told for key in near):
            continue
        phrase = rng.choice(cast.forms(subject))
        about = render(attribute.about[0], phrase, "assistant", flip=True)
        answer = rng.choice(frames.UNKNOWN).format(b=about)
        text = question_text(rng, split, attribute, phrase, unknown=True)
        return Question(text, answer, "", "unanswerable", False, -1)
    return None


def question_text(
    rng: random.Random, split: Split, attribute: Attribute, phrase: str, *, unknown: bool = False
) -> str:
    """A wording of the question, as the user asks it."""
    held = split == "heldout"
    if rng.random() < 0.62:
        template = rng.choice(attribute.ask_held if held else attribute.ask)
        direct = render(template, phrase, "user")
        frame = rng.choice(frames.ASK[split])
        return frame.replace("{D}", sentence(direct)).replace("{d}", direct)
    template = rng.choice(attribute.about_held if held else attribute.about)
    about = render(template, phrase, "user")
    frame = rng.choice(frames.ASK_ABOUT[split])
    if unknown or attribute.by_assistant:
        while frame.startswith(frames.TOLD_ABOUT):
            frame = rng.choice(frames.ASK_ABOUT[split])
    if frame in frames.NOUN_REMIND and not template.startswith(_QUESTION_WORDS):
        about = "of " + about
    return frame.replace("{b}", about)
