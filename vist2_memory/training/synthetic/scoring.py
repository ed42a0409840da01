"""The strict scorer: does a reply hold the value, the whole value, and nothing stale?"""

from __future__ import annotations

import re

from vist2_memory.training.synthetic.dialogue import Question

MOST_WORDS = 30
_UNKNOWN = re.compile(
    r"\b(?:do not know|don't know|dont know|not know|no idea|not sure|never (?:told|said|mentioned)"
    r"|not (?:been )?(?:mentioned|told|said)|didn't (?:tell|say|mention)"
    r"|haven't (?:told|said|mentioned)|did not (?:tell|say|mention)"
    r"|have not (?:told|said|mentioned))\b"
)


def normalise(text: str) -> str:
    """Lower case, plain apostrophes, single spaces, no punctuation around the whole."""
    text = " ".join(text.replace("\u2019", "'").lower().split())
    return text.strip(" .,;:!?\"'()")


def occurs(value: str, reply: str) -> bool:
    """Whether `value` stands in `reply` as a whole word or number (both normalised here)."""
    wanted = re.escape(normalise(value))
    pattern = rf"(?<![\w\-])(?<!\d[.,:]){wanted}(?![\w\-])(?![.,:]\d)"
    return re.search(pattern, normalise(reply)) is not None


def says_unknown(reply: str) -> bool:
    """Whether the reply says that the answer is not known."""
    return _UNKNOWN.search(normalise(reply)) is not None


def is_right(question: Question, reply: str) -> bool:
    """Strict: the newest value as whole words, no older one, at most 30 words, no "don't know".

    An unanswerable question is right iff the reply says that it is not known.
    """
    if len(reply.split()) > MOST_WORDS:
        return False
    if not question.answerable:
        return says_unknown(reply)
    if says_unknown(reply) or not occurs(question.value, reply):
        return False
    return not any(occurs(old, reply) for old in question.stale)
