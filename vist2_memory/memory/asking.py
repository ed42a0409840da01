"""Many questions answered side by side, each in a session of its own, in one thread.

Each question is the stream that ``Session.stream`` would give. Where it would generate it waits,
until all of them do; then one batch of the engine generates for all.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from vist2_memory.engine.base import Engine
from vist2_memory.engine.batch import Batch, BatchEvent
from vist2_memory.engine.generation import WAITING
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.reading import ReadingOptions
from vist2_memory.memory.streams import from_thread
from vist2_memory.types import Context, Finished, GenerationEvent, GenerationParams

if TYPE_CHECKING:
    from vist2_memory.memory.session import Session

Params: TypeAlias = GenerationParams | Sequence[GenerationParams] | None
"""Those of all questions, or of each."""


class Asking:
    """The part of :class:`VisualMemory` that asks many sessions at once."""

    engine: Any
    session: Callable[[str], Session]

    def ask_many(
        self,
        questions: Sequence[tuple[Session | str, str]],
        *,
        params: Params = None,
        turns: Sequence[str] | None = None,
        return_exceptions: bool = False,
        **options: Unpack[ReadingOptions],
    ) -> list[Any]:
        """Answer each of ``questions``, a session (or its id) and what to ask it, in their order.

        Each is logged and answered as by ``Session.ask``, and gives a ``Finished``; an engine that
        can decodes all answers together. Questions to the same session are answered one after the
        other, so that the later ones know of the earlier. ``params``: those of all, or of each.
        ``turns``: of each question, which makes a retry idempotent. ``options``: as for ``ask``.

        An error of one question does not touch the others. With ``return_exceptions`` it is in the
        place of the answer; else the first is raised when all others are answered and logged (asked
        again under the same turns, these are given out as they were stored).
        """
        steps = self._asked(questions, params, turns, options)
        ended: dict[int, Finished | Exception] = {}
        with closing(steps):
            for place, event in steps:
                if isinstance(event, (Finished, Exception)):
                    ended[place] = event
        return _in_order(ended, return_exceptions)

    async def aask_many(
        self,
        questions: Sequence[tuple[Session | str, str]],
        *,
        params: Params = None,
        turns: Sequence[str] | None = None,
        return_exceptions: bool = False,
        **options: Unpack[ReadingOptions],
    ) -> list[Any]:
        """:meth:`ask_many`, without blocking the event loop; cancelling stops all generations."""
        ended: dict[int, Finished | Exception] = {}
        steps: AsyncGenerator[tuple[int, BatchEvent], None]
        steps = from_thread(lambda: self._asked(questions, params, turns, options))
        async with aclosing(steps):
            async for place, event in steps:
                if isinstance(event, (Finished, Exception)):
                    ended[place] = event
        return _in_order(ended, return_exceptions)

    def _asked(
        self,
        questions: Sequence[tuple[Session | str, str]],
        params: Params,
        turns: Sequence[str] | None,
        options: ReadingOptions,
    ) -> Generator[tuple[int, BatchEvent], None, None]:
        count = len(questions)
        alike = params is None or isinstance(params, GenerationParams)
        each = [params] * count if alike else list(params)  # type: ignore[arg-type]
        named = [uuid.uuid4().hex for _ in questions] if turns is None else list(turns)
        for name, given in (("params", each), ("turns", named)):
            if len(given) != count:
                raise InvalidInputError(
                    f"there are {count} questions, and {len(given)} {name}: give one for each"
                )
        sessions = [s if not isinstance(s, str) else self.session(s) for s, _ in questions]
        return self._in_rounds(sessions, [text for _, text in questions], each, named, options)

    def _in_rounds(
        self,
        sessions: Sequence[Session],
        texts: Sequence[str],
        params: Sequence[Any],
        turns: Sequence[str],
        options: ReadingOptions,
    ) -> Generator[tuple[int, BatchEvent], None, None]:
        for places in _rounds(sessions):
            table = _Table(self.engine)
            rows = [
                _row(sessions[i], texts[i], params[i], turns[i], options, table.seat())
                for i in places
            ]
            batch = Batch(rows, table.step)
            with closing(table), closing(batch):
                for row, event in batch:
                    yield places[row], event


def _row(
    session: Session,
    question: str,
    params: GenerationParams | None,
    turn: str,
    options: ReadingOptions,
    seat: _Seat,
) -> Iterator[GenerationEvent]:
    """One question; what is wrong with it is told when it is its turn."""
    yield from session.stream_by(seat.generate, question, params=params, turn=turn, **options)


class _Seat:
    """The place of one question at the table: what it wants generated, and what came of it."""

    def __init__(self) -> None:
        self.wanted: tuple[Context, GenerationParams] | None = None
        self.events: deque[BatchEvent] = deque()
        self.left = False

    def generate(self, context: Context, params: GenerationParams) -> Iterator[Any]:
        """As :meth:`Engine.generate`, with ``WAITING`` in between."""
        self.wanted = (context, params)
        try:
            while True:
                while not self.events:
                    yield WAITING
                event = self.events.popleft()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.left = True


class _Table:
    """Where questions wait for each other, and are then generated in one batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seats: list[_Seat] = []
        self._batch: Batch | None = None
        self._next: tuple[int, BatchEvent] | None = None

    def seat(self) -> _Seat:
        """A place for one question more."""
        self._seats.append(_Seat())
        return self._seats[-1]

    def step(self) -> None:
        """Hand out the next events of the batch, at most one a seat."""
        if self._batch is None:
            self._seats = [seat for seat in self._seats if seat.wanted and not seat.left]
            wanted = [seat.wanted for seat in self._seats if seat.wanted]
            contexts, params = zip(*wanted, strict=True)
            self._batch = self._engine.generate_batch(contexts, params)
        self._cancel_left()
        told: set[int] = set()
        while (found := self._next or next(self._batch, None)) is not None:
            row, event = found
            if row in told:
                self._next = found
                return
            self._next = None
            told.add(row)
            self._seats[row].events.append(event)
        assert told, "the batch ended before the questions that wait for it"

    def close(self) -> None:
        """Stop what is still generated."""
        if self._batch is not None:
            self._batch.close()

    def _cancel_left(self) -> None:
        assert self._batch is not None
        for row, seat in enumerate(self._seats):
            if seat.left:
                self._batch.cancel(row)


def _rounds(sessions: Sequence[Session]) -> list[list[int]]:
    """Places of questions that can be answered together: no two of one session."""
    rounds: list[list[int]] = []
    met: dict[str, int] = {}
    for place, session in enumerate(sessions):
        number = met.get(session.id, 0)
        met[session.id] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds


def _in_order(ended: dict[int, Finished | Exception], return_exceptions: bool) -> list[Any]:
    found = [ended[place] for place in sorted(ended)]
    errors = [one for one in found if isinstance(one, Exception)]
    if errors and not return_exceptions:
        raise errors[0]
    return found
