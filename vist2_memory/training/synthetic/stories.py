"""Little narratives from a grammar: a hero, a wish, a journey, a meeting, an ending."""

from __future__ import annotations

import random
import re

from vist2_memory.training.synthetic.smalltalk import fill

_HEROES = tuple(
    """a miller's boy
    a young sailor
    an old queen
    a poor tailor
    a girl with red hair
    a lazy cat
    a clever fox
    a tired king
    a small dragon
    a lonely ghost
    a travelling singer
    a blind fiddler
    a shepherd
    a thief with good manners
    a retired captain
    a clockmaker
    a hungry bear
    a young witch
    a widow with seven goats
    a forgetful wizard
    a soldier on his way home
    a snail with great plans
    a goose that could count
    a beggar
    a fisherman's daughter
    a giant who was afraid of mice""".replace("\n", "|").split("|")
)
_LANDS = tuple(
    """by the sea
    at the edge of a dark wood
    in a valley full of fog
    on top of a steep hill
    in a house without windows
    behind the seventh mountain
    on an island that nobody had drawn on a map
    under an old bridge
    in a town of a hundred towers
    near a lake that never froze
    at the end of a long road
    in a mill that had stood still for years""".replace("\n", "|").split("|")
)
_WISHES = tuple(
    """to see the end of the world
    to find a lost ring
    to learn the language of the birds
    to sleep for a whole year
    to taste the best soup in the land
    to hear the truth for once
    to cross the great river
    to win a race against the wind
    to build a ship from a single tree
    to catch the moon in a bucket
    to be left in peace
    to own a pair of good boots
    to make the silent princess laugh
    to carry a letter to the north""".replace("\n", "|").split("|")
)
_ACTS = (
    "So {hero} packed some bread and a knife and set off before it was light.",
    "Everybody laughed, but {hero} only smiled and closed the door.",
    "For three days there was nothing but <sky>, and the road grew worse and worse.",
    "On the second evening a <animal> sat by the way and asked where the journey went.",
    "In a <bad> inn, the landlord took the last coins and gave a bowl of cold soup for them.",
    "There was a bridge, and on the bridge stood a guard who wanted a song for every step.",
    "The forest was so thick that one could not see one's own hand, "
    "and something was <doing> behind the trees.",
    "A stranger in a long coat offered <thing> in return for a promise.",
    "At the <place>, a <person> told a story that had no end, and nobody dared to leave.",
    "The <animal> knew a shorter way, but it wanted to be carried.",
    "Then came <season>, and with it the <sky>, and the wheels stuck in the mud.",
    "By the fire that night, an old woman said that some doors open only when nobody knocks.",
    "A key hung on a nail, and it fitted no lock in the house.",
    "They shared the bread, and for <long> neither of them spoke.",
    "The water rose until only the chimney could be seen.",
    "Far away a bell was ringing, though there was no church for many miles.",
    "When the lamp went out, the voice was still there.",
    "The horse would not go on, and so they waited for the morning.",
    "It was a <good> morning, and the birds made a great noise.",
    "Nobody had told the <person>, and so the gate stayed shut.",
)
_ENDS = (
    "And so {hero} came home with empty hands and a light heart.",
    "In the end it was the <animal> that laughed last.",
    "What became of the treasure, nobody can say.",
    "From that day on there was always a light in the window.",
    "They say that on nights of <sky> one can still hear the steps.",
    "And if the soup has not gone cold, they are still eating it.",
    "The promise was kept, though it took <long>.",
    "After that, nobody in the village spoke of it again.",
)
_ASK = (
    "Tell me a story.",
    "Can you tell me a little story?",
    "I would like to hear a story now.",
    "Do you know a tale?",
    "Please tell me something to fall asleep to.",
    "Go on with a story, please.",
    "I am bored, tell me a tale.",
)
_READ = (
    "I have been writing something. Listen:",
    "Here is what I wrote last night.",
    "Let me read you a piece:",
    "This is from the book on my table:",
    "I found this page in an old box:",
    "My story goes on like this.",
    "What do you think of this?",
)
_THANKS = (
    "I liked that.",
    "Thank you, that was good.",
    "What a strange tale!",
    "And then?",
    "That made me smile.",
    "I have heard that one before, I think.",
    "Well told.",
    "Not bad at all.",
    "That is rather sad.",
)


def story(rng: random.Random, acts: int) -> str:
    """A narrative of so many acts, about 90 characters each."""
    hero = rng.choice(_HEROES).strip()
    again = "the " + re.sub(r"^(an?) ", "", hero)
    parts = [
        f"Once there was {hero} who lived "
        f"{rng.choice(_LANDS).strip()} and wanted {rng.choice(_WISHES).strip()}."
    ]
    lines = [*rng.sample(_ACTS, min(acts, len(_ACTS))), rng.choice(_ENDS)]
    parts += [fill(rng, line.replace("{hero}", again)) for line in lines]
    return " ".join(parts)


def wish_for_story(rng: random.Random) -> str:
    return rng.choice(_ASK)


def reading_aloud(rng: random.Random) -> str:
    return rng.choice(_READ)


def thanks(rng: random.Random) -> str:
    return rng.choice(_THANKS)
