"""Templates and subjects: "{who} [live|lives] in {v}" said by either side about anybody.

`[a|b]` agrees with the subject (a for I and you, b for a third person); [am] and [was] are the
forms of "be", and [ending] the verb ending. Slots: {who}, {whose}, {whom}, {v}, {av} (with a/an).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Speaker = Literal["user", "assistant"]
_CHOICE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
_ME = {"user": ("I", "my", "me"), "assistant": ("you", "your", "you")}


@dataclass(frozen=True)
class Subject:
    """Who or what a fact is about, with the ways to mention it."""

    kind: str
    """me, person, pet, thing, project, shop, trip, event, town, dish"""
    phrase: str
    """As the user first says it, e.g. "my sister Runa" or "the blue folder"; "me" for the user."""
    name: str = ""
    """The bare name used later on, e.g. "Runa"; empty if there is none."""
    relation: str = ""
    """The phrase without the name, e.g. "my sister"."""


def mention(phrase: str, speaker: Speaker) -> str:
    """A mention turned to the speaker: the assistant says "your" where the user says "my"."""
    if speaker == "assistant" and phrase.startswith("my "):
        return "your " + phrase[3:]
    return phrase


@lru_cache(maxsize=16384)
def _agree(template: str, person: str) -> str:
    be = {"I": ("am", "was"), "you": ("are", "were")}.get(person, ("is", "was"))
    text = template.replace("[am]", be[0]).replace("[was]", be[1])
    first = person in ("I", "you")
    return _CHOICE.sub(lambda match: match[1] if first else match[2], text)


def an(value: str) -> str:
    """The value with its article."""
    return f"{'an' if value[0].lower() in 'aeiou' else 'a'} {value}"


_FLIP = re.compile(r"\b(?:I|me|my|you|your)\b")
_FLIPPED = {"I": "you", "me": "you", "my": "your", "you": "I", "your": "my"}


@lru_cache(maxsize=4096)
def flipped(template: str) -> str:
    """A template written for the user, turned for the assistant: "where I put {who}"."""
    return _FLIP.sub(lambda match: _FLIPPED[match[0]], template)


def render(
    template: str, phrase: str, speaker: Speaker, value: str = "", *, flip: bool = False
) -> str:
    """A clause in the words of `speaker` about the subject mentioned as `phrase`.

    With `flip`, the template was written for the other speaker: its own "I" becomes "you".
    """
    if flip:
        template = flipped(template)
    if phrase == "me":
        who, whose, whom = _ME[speaker]
        text = _agree(template, who)
    else:
        who = whom = mention(phrase, speaker)
        whose = who + "'s"
        text = _agree(template, "third")
    text = text.replace("{who}", who).replace("{whose}", whose).replace("{whom}", whom)
    if "{av}" in text:
        text = text.replace("{av}", an(value))
    return text.replace("{v}", value)


def sentence(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
