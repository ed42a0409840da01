"""Conversations that go from topic to topic, and questions on which came first, last, and between.

Where a topic is taken up the user says so; what follows on it is talk and prose, of which nothing
is asked. Names are put together from parts, whose words are split as all values are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from vist2_memory.training.synthetic import smalltalk, stories
from vist2_memory.training.synthetic.conversation import Filler, clip
from vist2_memory.training.synthetic.dialogue import Conversation, Question, Split
from vist2_memory.training.synthetic.grammar import sentence
from vist2_memory.training.synthetic.lists import commas
from vist2_memory.training.synthetic.quoting import answer
from vist2_memory.training.synthetic.values import fits

_ASPECTS = commas(
    "history, future, science, art, cost, origins, psychology, ethics, dangers, benefits, "
    "beauty, rules, economics, philosophy, decline, growth, teaching, limits, meaning, sound, "
    "craft, joys, politics, language, geography, influence, secrets, traditions"
)
_THINGS = commas(
    "trains, coffee, glass, dreams, bridges, volcanoes, football, lighthouses, whales, medicine, "
    "theatre, gardens, taxes, poetry, robots, friendship, money, ballet, maps, honey, clocks, "
    "deserts, marriage, chess, photography, cities, justice, tides, furniture, comets, migration, "
    "cinema, wolves, cheese, satellites, sleep, folk music, paper, castles, vaccines, silk, "
    "architecture, insects, humour, pottery, electricity, old age, islands, journalism, tea, "
    "mathematics, festivals, shipbuilding, radio, mushrooms, advertising, rivers, knitting, "
    "democracy, dinosaurs, perfume, cycling, libraries, winter sports, childhood, salt, opera, "
    "earthquakes, tourism, puppets, batteries, forests, fashion, street food, recycling, memory"
)
_DOING = commas(
    "growing, collecting, teaching children about, painting, understanding, saving money on, "
    "repairing, writing about, choosing, preserving, selling, drawing, studying, travelling for"
)
_WHERE = commas(
    "in schools, in the city, in ancient Rome, at sea, in the north, around the world, at home, "
    "in wartime, in Japan, on a small budget, in the countryside, in the last century, in Africa"
)
_TURN_TO: dict[Split, tuple[str, ...]] = {
    "train": (
        "Let's talk about {t}.",
        "I want to talk about {t} now.",
        "Can we talk about {t}?",
        "Could you tell me something about {t}?",
        "Next, I would like to hear about {t}.",
        "Our next topic should be {t}.",
        "Something else now: {t}.",
        "Let us turn to {t}.",
        "I have been wondering about {t}. Shall we talk about that?",
        "What are your thoughts on {t}?",
        "I'd love to discuss {t} with you.",
        "Now for another subject, {t}.",
        "Shall we discuss {t}?",
        "I am interested in the topic of {t}.",
        "Please explain {t} to me.",
    ),
    "heldout": (
        "I would like us to speak about {t}.",
        "May we move on to the subject of {t}?",
        "How about a chat on {t}?",
        "Let's get into {t} for a while.",
    ),
}
_ORDER: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "first": (
            "What was the first topic we talked about?",
            "What did we talk about first?",
            "Which topic did we begin with?",
            "What was the very first thing we discussed?",
            "What subject did our conversation start with?",
            "Name the first topic of our talk.",
        ),
        "second": (
            "What was the second topic we talked about?",
            "What did we discuss second?",
            "Which topic came second?",
        ),
        "last": (
            "What was the last topic we talked about?",
            "What did we discuss most recently?",
            "Which topic came last?",
            "What have we just been talking about?",
        ),
        "after": (
            "What did we talk about after {t}?",
            "Which topic came after {t}?",
            "What did we discuss right after {t}?",
        ),
        "before": (
            "What did we talk about before {t}?",
            "Which topic came before {t}?",
            "What did we discuss just before {t}?",
        ),
    },
    "heldout": {
        "first": ("With what topic did this chat open?", "Tell me which subject we took up first."),
        "second": ("What was subject number two?",),
        "last": ("What subject did we take up last?",),
        "after": ("Once we were done with {t}, what came next?",),
        "before": ("What had we been on when I brought up {t}?",),
    },
}
ROOM = (150, 1200)
"""Characters of talk on a topic, fewest and most."""


def discuss(
    rng: random.Random, *, characters: int, split: Split, filler: Filler | None = None
) -> Conversation:
    """A conversation of about ``characters`` characters on two topics or more, and questions.

    ``filler`` returns a passage of outside prose for some of what is said. The same state of
    ``rng`` gives the same conversation.
    """
    messages: list[tuple[str, str]] = []
    topics: list[tuple[str, str, int]] = []  # the name, the sentence that says it, the turn
    words: set[str] = set()
    while len(topics) < 2 or sum(len(said) for _, said in messages) < characters:
        topic = _name(rng, split, words)
        said = rng.choice(_TURN_TO[split]).replace("{t}", topic)
        topics.append((topic, said, len(messages)))
        messages += _talk(rng, said, filler)
    return Conversation(tuple(messages), tuple(_questions(rng, split, topics)))


def _name(rng: random.Random, split: Split, used: set[str]) -> str:
    """A topic of words of ``split``, none of which is in ``used`` if it can be; they are added."""
    for attempt in range(1000):
        thing, other = rng.sample(_THINGS, 2)
        name = rng.choice(
            (
                f"the {rng.choice(_ASPECTS)} of {thing}",
                f"{thing} and {other}",
                f"{rng.choice(_DOING)} {thing}",
                f"{thing} {rng.choice(_WHERE)}",
                f"the {rng.choice(_ASPECTS)} and {rng.choice(_ASPECTS)} of {thing}",
            )
        )
        if fits(thing, split) and (thing not in used or attempt > 200):
            break
    used.add(thing)
    return name


def _talk(rng: random.Random, opening: str, filler: Filler | None) -> list[tuple[str, str]]:
    """What is said on a topic, ``opening`` first."""
    room, kind = rng.randint(*ROOM), smalltalk.any_topic(rng)
    before = f"{smalltalk.user_lines(rng, kind, 1)} " if rng.random() < 0.15 else ""
    after = f" {smalltalk.user_lines(rng, kind, 1)}" if rng.random() < 0.2 else ""
    messages = [("user", f"{before}{opening}{after}"), ("assistant", _reply(rng, room, filler))]
    while sum(len(said) for _, said in messages) < room:
        messages.append(("user", smalltalk.user_lines(rng, kind, rng.randint(1, 2))))
        messages.append(("assistant", _reply(rng, room, filler)))
    return messages


def _reply(rng: random.Random, room: int, filler: Filler | None) -> str:
    draw = rng.random()
    if draw < 0.4:
        return smalltalk.assistant_lines(rng, smalltalk.any_topic(rng), rng.randint(1, 3))
    if draw < 0.8 and filler is not None:
        return clip(filler(rng), max(120, room))
    return clip(stories.story(rng, rng.randint(1, 6)), max(120, room))


def _questions(
    rng: random.Random, split: Split, topics: Sequence[tuple[str, str, int]]
) -> list[Question]:
    """One question on each topic at the most, and always on the first and the last."""
    wanted = {"first": 0, "last": len(topics) - 1} | ({"second": 1} if len(topics) > 2 else {})
    asked = [(order, place, "") for order, place in wanted.items()]
    between = rng.sample(range(1, len(topics)), min(4, len(topics) - 1))
    for place in between:
        if rng.random() < 0.5:
            asked.append(("after", place, topics[place - 1][0]))
        else:
            asked.append(("before", place - 1, topics[place][0]))
    questions = []
    for order, place, named in asked:
        topic, said, turn = topics[place]
        text = rng.choice(_ORDER[split][order]).replace("{t}", named)
        questions.append(
            Question(
                text=sentence(text),
                answer=answer("user", said, topic, text),
                value=topic,
                kind="topic",
                answerable=True,
                turn=turn,
                stale=tuple(other for other, _, _ in topics if other != topic),
            )
        )
    return questions
