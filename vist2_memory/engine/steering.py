"""Generating by a grammar: which tokens may come next, and how the answer is ended in time.

Knows token ids and their bytes, no model. An answer that must match a grammar is of no use when it
is cut off. So a way to its end is known at each step, and where a token would leave too little room
for any, the way that is known is gone instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher
from torch import Tensor

from vist2_memory.engine.closing import Closing, JsonPlace, allowed, place_after
from vist2_memory.engine.grammar import CallForm, Grammar, grammar_of
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.engine.weighing import Begin
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.types import GenerationParams

REMEMBERED = 16
"""Grammars that are kept made: an agent offers the same tools at each of its steps."""
FAR = 4
"""With this many times the room that it takes to end, one may lose sight of the end for a while."""


class Grammars:
    """The grammars of answers in the tokens of one model. Safe to use from several threads."""

    def __init__(self, vocabulary: Callable[[], Vocabulary], form: CallForm) -> None:
        """``vocabulary``: makes it, at the first answer that is held to anything; that of a large
        model takes seconds."""
        self._make, self.form = vocabulary, form
        self._begin = lru_cache(maxsize=REMEMBERED)(self._begun)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens."""
        return self._make()

    def steer(self, params: GenerationParams) -> Steering | None:
        """What holds an answer to ``params``; None where anything may be said.

        Raises ``InvalidInputError`` for tools or a schema that no answer can be held to, and for a
        ``max_tokens`` within which none can be whole.
        """
        grammar = grammar_of(params, self.form)
        if grammar is None:
            return None
        steering = self._begin(grammar).copy()
        shortest = steering.shortest
        if shortest is not None and shortest > params.max_tokens:
            raise InvalidInputError(
                f"max_tokens={params.max_tokens} is too few: the shortest answer that was found to "
                f"match the tools or the schema takes {shortest}"
            )
        return steering

    def _begun(self, grammar: Grammar) -> Steering:
        return Steering(self.vocabulary, grammar)


Pick = Callable[[npt.NDArray[np.bool_]], int]
"""Takes a token of those that the flags of shape (vocabulary,) allow."""


class Course(Protocol):
    """The course of one answer within what it is held to; it knows what may come next."""

    @property
    def may_end(self) -> bool:
        """Whether it has all that it must have."""

    @property
    def decided(self) -> bool:
        """Whether the next token is known without asking the model."""

    def next(self, pick: Pick, room: int) -> int:
        """The next token: one that is decided, or what ``pick`` takes of those that may come."""

    def look_ahead(self, room: int) -> None:
        """Decide what can only come next, if anything."""

    def weigh(self, logits: Tensor, begin: Begin, room: int) -> None:
        """Decide what comes next by reading several ways on, where that is worth it.

        ``logits``: of the next token, shape (vocabulary,), of no meaning where it is decided.
        ``begin``: makes what reads on. ``room``: as for :meth:`next`.
        """


class Steering:
    """The course of one answer through its grammar."""

    def __init__(self, vocabulary: Vocabulary, grammar: Grammar) -> None:
        """Raises ``InvalidInputError`` for a grammar that cannot be used."""
        self._vocabulary, self._opens = vocabulary, grammar.form.opens
        self._matcher = LLMatcher(vocabulary.backend, grammar.text, log_level=0)
        if self._matcher.is_error():
            said = self._matcher.get_error().splitlines()[0]
            raise InvalidInputError(f"the tools and the schema cannot be kept to together: {said}")
        self._closing = Closing(vocabulary, self._opens)
        self._place = JsonPlace() if grammar.in_json else None
        self._way = self._first_way(grammar)
        self._decided: deque[int] = deque()

    def copy(self) -> Steering:
        """Another course, which begins where this one is."""
        other = copy(self)
        other._matcher, other._decided = self._matcher.deep_copy(), deque(self._decided)
        return other

    def _first_way(self, grammar: Grammar) -> tuple[int, ...] | None:
        """The shortest way from the beginning: by the tool with the least to say, if by any."""
        opened = [] if self._opens is None else [self._opens]
        begins = [[*opened, *self._vocabulary.encode(head)] for head in grammar.heads] or [[]]
        ways = [self._closing.find(self._matcher, self._place, begin) for begin in begins]
        return min((way for way in ways if way is not None), key=len, default=None)

    @property
    def shortest(self) -> int | None:
        """Tokens to the end by the shortest way that was found; None where none was."""
        return None if self._way is None else len(self._decided) + len(self._way)

    @property
    def may_end(self) -> bool:
        """Whether the answer may end here."""
        return not self._decided and self._matcher.is_accepting()

    @property
    def decided(self) -> bool:
        """Whether the next token is known without asking the model."""
        return bool(self._decided)

    def next(self, pick: Pick, room: int) -> int:
        """The next token: one that is decided, or what ``pick`` takes of those that may come.

        ``pick`` is given flags of shape (vocabulary,). ``room``: tokens that the answer may still
        have, with this one.
        """
        if not self._decided:
            token = pick(allowed(self._matcher, len(self._vocabulary)))
            if token in self._vocabulary.stops:
                return token
            if self._takes([token], room):
                self._decided.append(token)
            else:
                self._end()
        return self._decided.popleft()

    def look_ahead(self, room: int) -> None:
        """Decide what can only come next, if anything; ``room`` as for :meth:`next`."""
        if not self._decided:
            forced = self._matcher.compute_ff_tokens()
            if forced and self._takes(forced, room):
                self._decided.extend(forced)

    def weigh(self, logits: Tensor, begin: Begin, room: int) -> None:
        """See :meth:`Course.weigh`; a grammar is followed word by word."""

    def _takes(self, ids: Sequence[int], room: int) -> bool:
        """Go on with ``ids``, unless that would leave too little room for the end."""
        if not self._matcher.consume_tokens(list(ids)):
            raise ModelError(
                f"the answer cannot be held to its grammar: {self._matcher.get_error()}"
            )
        place = place_after(self._place, ids, self._vocabulary, self._opens)
        way = self._way_from(place, ids)
        if way is None:
            fits = self._way is None or room > FAR * (1 + len(self._way))
        else:
            fits = len(ids) + len(way) <= room
        if not fits and self._way is not None:
            self._matcher.rollback(len(ids))
            return False
        self._place, self._way = place, way
        return True

    def _way_from(self, place: JsonPlace | None, came: Sequence[int]) -> tuple[int, ...] | None:
        """The way to the end from here; the last one, where it still leads there."""
        if self._matcher.is_accepting():
            return ()
        stop = [self._vocabulary.stop]
        if self._way is not None:
            rest = self._way[len(came) :] if self._way[: len(came)] == tuple(came) else self._way
            ids = [*rest, *stop]
            if self._matcher.validate_tokens(ids) == len(ids):
                return rest
        return self._closing.find(self._matcher, place)

    def _end(self) -> None:
        """Go the way that is known to the end."""
        way = self._way or ()
        self._matcher.consume_tokens(list(way))
        self._place = place_after(self._place, way, self._vocabulary, self._opens)
        self._way = ()
        self._decided.extend(way or [self._vocabulary.stop])
