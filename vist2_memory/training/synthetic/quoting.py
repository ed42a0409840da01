"""Answers that quote: what was said, from a word that the question names through the value.

A model that quotes reads on where the words of the question stand in memory, which is how it reads
anything; and a person can look the words up.
"""

from __future__ import annotations

import re

OPENINGS = {"user": 'You said: "', "assistant": 'I said: "'}
"""How an answer begins that quotes what was said in this role."""
CLOSING = '."'
QUOTES = [[opening, CLOSING] for opening in OPENINGS.values()]
"""What a model that learned to answer so says of itself (``Vist2Config.quotes``)."""
WORDS_BEFORE, WORDS_AFTER = 10, 6
"""Most words of a quote before and after the value."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be by can did do does for from had has have he her his how i if in is "
        "it its me my of on or our she should so that the their them then there they this to was "
        "we were what when where which who whose will with would you your"
    )
)
_OPENING = frozenset(_WORD.findall("a an her his i my our she he the their they we you your"))


def quote(said: str, value: str, question: str) -> str:
    """The part of the sentence `said` that answers `question` with `value`, which it contains.

    It begins at the first word shared with the question, with its article or pronoun; where no word
    before the value is shared, some words before the value. A common word before the value, with
    which it begins, is written small: whether a sentence began there is not to be guessed.
    """
    whole = list(re.finditer(rf"(?<![\w$.]){re.escape(value)}(?!\w)", said, re.IGNORECASE))
    at = whole[-1].start() if whole else said.lower().rindex(value.lower())
    end = at + len(value)
    asked = {_stem(word) for word in _WORD.findall(question)} - _COMMON
    before = list(_WORD.finditer(said, 0, at))[-WORDS_BEFORE:]
    shared = [i for i, word in enumerate(before) if _stem(word[0]) in asked]
    first = shared[0] if shared else 0
    if shared and first and before[first - 1][0].lower() in _OPENING:
        first -= 1
    start = before[first].start() if before else at
    after = list(_WORD.finditer(said, end))
    if len(after) <= WORDS_AFTER:
        end = len(said)
    quoted = said[start:end].strip(' \n.,;:!?"')
    begins = _WORD.match(quoted)
    if start < at and begins and begins[0] != "I" and begins[0].lower() in _COMMON:
        return quoted[0].lower() + quoted[1:]
    return quoted


def _stem(word: str) -> str:
    """`word` without capitals and without the ending of a possessor."""
    return word.lower().replace("\u2019", "'").removesuffix("'s")


def answer(role: str, said: str, value: str, question: str) -> str:
    """The whole answer: who said it, and the words."""
    return OPENINGS[role] + quote(said, value, question) + CLOSING
