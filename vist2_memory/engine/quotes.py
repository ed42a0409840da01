"""Quotes in an answer, held to words that stand in what the model reads.

A model that answers by quoting (``Vist2Config.quotes``) reads a word wrong now and then. The text
that its visual tokens stand for is known, so what it puts between quotation marks can be held to
it: at each token those are allowed that go on with some place of the text, and the model chooses
among the places, several of which may be weighed (``weighing``). A quote begins and ends between
words of one sentence, and says some word that the question did not; the first letter of a sentence
may be a small one. Knows token ids and their bytes, no model.

The places are found by the grammar library's automaton of substrings, which is made when a quote
opens: an answer that quotes nothing pays nothing.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher
from torch import Tensor

from vist2_memory.engine.closing import allowed
from vist2_memory.engine.looking import Seen, Span
from vist2_memory.engine.steering import Course, Pick
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.engine.weighing import Begin, weigh
from vist2_memory.text.transcript import END, MARKS, RESERVED
from vist2_memory.types import Chunk, Context

_MARKS = f"{RESERVED[0]}-{RESERVED[-2]}"
"""What no quote has: the marks of the transcript, all but that of an escape."""
_BETWEEN = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[A-Z][a-z]\.)(?<!\bMrs\.)\s+(?=[A-Z\"'(\d])|\n+"
)
"""What is between two sentences; "Mr. Bo" is in one."""
_MARK = re.compile(f"[{_MARKS}]")
_MESSAGE = re.compile(f"[{''.join(MARKS.values())}]")
_FIRST = re.compile(rf"(?:(?<=[{_MARKS}])|(?<=:\s))(?!I\b)[^\W\d_]")
"""The first letter of a sentence, also behind a colon; "I" is never small."""
_EMPTY = ("a", "an", "the", "that")
"""Words that say nothing beside those of the question."""
_EDGE = rf"[^\s{_MARKS}]"
MOST_CHARACTERS = 200_000
"""Of a longer text quotes are not held to anything: finding all its places would take seconds."""
MOST_WORDS = 100
"""Words of a question; those of a longer one may be quoted back."""


@dataclass(frozen=True, slots=True)
class Quotable:
    """What an answer may quote: the text of the memory, and the recent text beside the question."""

    sources: tuple[Chunk, ...]
    tail: str
    question: str = ""
    """The last message of the user, which is no answer to itself."""
    asked_at: int = 0
    """Where it stood in the recent text."""

    @classmethod
    def of(cls, context: Context) -> Quotable | None:
        """That of ``context``; None where it does not say what its visual tokens stand for."""
        if len(context.sources) != len(context.visual):
            return None
        tail, begins = context.tail, max(0, context.tail.rfind(MARKS["user"]))
        next_mark = _MESSAGE.search(tail, begins + 1)
        ends = next_mark.start() if next_mark else len(tail)
        return cls(context.sources, tail[:begins] + tail[ends:], tail[begins:ends], begins)

    @property
    def text(self) -> str:
        """All of it; where a text does not go on with the next chunk, a mark stands between."""
        return "".join([*(mark + chunk.text for mark, chunk in self._marked), self.tail])

    @property
    def _marked(self) -> Iterator[tuple[str, Chunk]]:
        """Each chunk, and the mark before it if one stands there."""
        end = None
        for chunk in self.sources:
            yield END if end is not None and chunk.start != end else "", chunk
            end = chunk.start + len(chunk.text)

    def spans(
        self, of_chunk: Callable[[Chunk], Sequence[Span]], of_text: Callable[[str], Sequence[Span]]
    ) -> list[Span]:
        """The characters of :attr:`text`, from and to, of all that a model reads of it, in order.

        Empty for what it reads of the question. ``of_chunk`` and ``of_text`` say the same of the
        visual tokens of a chunk and of the tokens of the recent text.
        """
        spans: list[Span] = []
        begins = 0
        for mark, chunk in self._marked:
            begins += len(mark)
            spans += [(begins + first, begins + end) for first, end in of_chunk(chunk)]
            begins += len(chunk.text)
        asked, after = self.asked_at, self.asked_at + len(self.question)
        recent = self.tail[:asked] + self.question + self.tail[asked:]
        for span in of_text(recent):
            first, end = (at - max(0, min(at, after) - asked) for at in span)
            spans.append((begins + first, begins + end))
        return spans


class Quoting:
    """The course of an answer whose quotes are exact."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        quotes: Iterable[Sequence[str]],
        quotable: Quotable,
        within: Course | None = None,
        ahead: bool = True,
        places: int = 1,
        spans: Callable[[], Sequence[Span]] | None = None,
    ) -> None:
        """``quotes``: how a quote opens and closes, in pairs. ``within``: what else holds the
        answer; where the two leave nothing, the quote gives way. ``ahead``: whether words that
        stand in one place only decide what follows, without asking the model. ``places``: how many
        are weighed before one is quoted, where nothing else holds the answer; 1: the likeliest
        word decides, each time. ``spans``: the characters of the text of ``quotable`` that each
        token which the model reads stands for, so that where it looks can be weighed too.
        """
        self._vocabulary, self._quotable, self._within = vocabulary, quotable, within
        self._ahead, self._places, self._spans = ahead, places, spans
        self._opened = False  # just now
        self._last = 0  # token
        self._quotes = [(opens.encode(), closes) for opens, closes in quotes]
        self._longest = max((len(opens) for opens, _ in self._quotes), default=0)
        self._special = sorted(vocabulary.special)
        self._said = b""
        self._quote: LLMatcher | None = None
        self._closes = ""
        self._decided: deque[int] = deque()

    @property
    def may_end(self) -> bool:
        """See :attr:`Course.may_end`."""
        return self._within is not None and self._within.may_end

    @property
    def decided(self) -> bool:
        """See :attr:`Course.decided`."""
        return bool(self._decided) or (self._within is not None and self._within.decided)

    def next(self, pick: Pick, room: int) -> int:
        """See :meth:`Course.next`."""
        if self._decided:
            token = self._decided.popleft()
        elif self._within is not None:
            token = self._within.next(lambda flags: self._pick(pick, flags), room)
        else:
            token = self._pick(pick, np.ones(len(self._vocabulary), dtype=np.bool_))
        self._take(token)
        return token

    def look_ahead(self, room: int) -> None:
        """See :meth:`Course.look_ahead`."""
        if self._within is not None:
            self._within.look_ahead(room)
        elif self._ahead and self._quote is not None and not self._decided:
            self._decided.extend(self._quote.compute_ff_tokens()[:room])

    def weigh(self, logits: Tensor, begin: Begin, room: int) -> None:
        """See :meth:`Course.weigh`: where a quote has opened, which one it is."""
        opened, self._opened = self._opened, False
        if not opened or self._quote is None or self._decided or self._within or self._places < 2:
            return
        branches = begin()
        given = self._quote, self._vocabulary, logits, branches, self._places, room
        looked = None if self._spans is None else branches.look(self._last)
        if looked is None or self._spans is None:
            found = weigh(*given)
        else:
            text = self._quotable.text
            seen = Seen(text, _sentence_ends(text), self._spans(), looked.tolist())
            found = weigh(*given, evidence=partial(self._evidence, seen))
        self._decided.extend(found)

    def _evidence(self, seen: Seen, said: bytes, whole: bool) -> float:
        """What speaks for a quote: that the model looks where it stands."""
        text = said.decode(errors="ignore")
        return seen.evidence(text.removesuffix(self._closes), whole)

    def _pick(self, pick: Pick, flags: npt.NDArray[np.bool_]) -> int:
        if self._quote is None:
            return pick(flags)
        both = flags & allowed(self._quote, len(self._vocabulary))
        both[self._special] = False  # where no place is left, the automaton says to end
        if both.any():
            return pick(both)
        self._quote = None
        return pick(flags)

    def _take(self, token: int) -> None:
        """Follow the answer by a token."""
        self._last = token
        if self._quote is not None:
            goes_on = self._quote.consume_token(token) and not self._quote.is_stopped()
            self._quote = self._quote if goes_on else None
            self._said, self._opened = b"", False
            return
        special = token in self._vocabulary.special
        self._said = b"" if special else (self._said + self._vocabulary.tokens[token])
        self._said = self._said[-self._longest :]
        for opens, closes in self._quotes:
            if self._said.endswith(opens):
                self._open(closes)

    def _open(self, closes: str) -> None:
        text, self._closes = self._quotable.text, closes
        if 0 < len(text) <= MOST_CHARACTERS:
            grammar = quote_grammar(text, self._quotable.question, closes)
            quote = LLMatcher(self._vocabulary.backend, grammar, log_level=0)
            self._quote = None if quote.is_error() else quote
            self._opened = self._quote is not None


def _sentence_ends(text: str) -> list[int]:
    """Where a quote of ``text`` ends at the latest, in order."""
    ends = [found.start() for found in _BETWEEN.finditer(text)]
    ends += [found.start() for found in _MARK.finditer(text)]
    return sorted(ends)


def quote_grammar(text: str, question: str, closes: str) -> str:
    """What may follow the opening of a quote of ``text``, in the grammar library's notation."""
    text = _BETWEEN.sub(lambda found: found[0] + END, text)
    places, lowered = (
        json.dumps({"substring_words": one}, ensure_ascii=False)
        for one in (text, _FIRST.sub(lambda found: found[0].lower(), text))
    )
    asked = set(re.findall(r"\w+", question.lower()))
    known = {*_EMPTY, *(asked if len(asked) <= MOST_WORDS else ())}
    word = f"(?i:{'|'.join(sorted(known))})"
    return (
        f"start: QUOTE\n"
        f"QUOTE: ((PLACES | LOWERED) & WORDS & ~ECHO) {json.dumps(closes, ensure_ascii=False)}\n"
        f"PLACES: %regex {places}\nLOWERED: %regex {lowered}\n"
        f"WORDS: /{_EDGE}([^{_MARKS}]*{_EDGE})?/\n"
        f"ECHO: /\\W*({word}(\\W+{word})*\\W*)?/\n"
    )
