"""Several generations side by side, in one thread: each goes on until it waits for its logits.

Knows nothing of models. A generation is an iterator of events that gives out ``WAITING`` where it
needs what one step for all will bring. Those that never wait run one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from vist2_memory.engine.generation import Waiting
from vist2_memory.types import GenerationEvent

BatchEvent: TypeAlias = GenerationEvent | Exception
"""What a row of a batch tells; an error is the last thing it tells."""


class Batch(Iterator[tuple[int, BatchEvent]]):
    """The events of several generations as they come, each with the number of its row.

    A row whose generation raises gives out the error in place of an event, and the others go on.
    What the common step raises is raised, and ends them all.
    """

    def __init__(
        self,
        rows: Sequence[Iterator[GenerationEvent | Waiting]],
        step: Callable[[], None] | None = None,
    ) -> None:
        """``step`` brings what all that wait are waiting for; it is called when none can go on."""
        self._rows = dict(enumerate(rows))
        self._step = step
        self._turns = deque(self._rows)  # rows that can go on

    def __next__(self) -> tuple[int, BatchEvent]:
        while self._rows:
            while self._turns:
                number = self._turns[0]
                event = self._advance(number)
                if event is not None and not isinstance(event, Waiting):
                    return number, event
                self._turns.popleft()
            if self._rows:
                self._step_all()
        raise StopIteration

    def cancel(self, row: int) -> None:
        """End the generation of ``row``, if it goes on still, and free what it held."""
        generation = self._rows.pop(row, None)
        if generation is not None:
            _close(generation)
        if row in self._turns:
            self._turns.remove(row)

    def close(self) -> None:
        """End all generations."""
        for row in list(self._rows):
            self.cancel(row)

    def __del__(self) -> None:
        self.close()

    def _advance(self, number: int) -> BatchEvent | Waiting | None:
        """What ``number`` tells next; None where it has ended."""
        if number not in self._rows:
            return None
        try:
            return next(self._rows[number])
        except StopIteration:
            del self._rows[number]
            return None
        except Exception as error:
            del self._rows[number]
            return error

    def _step_all(self) -> None:
        try:
            assert self._step is not None, "a generation waits, and there is no step"
            self._step()
        except BaseException:
            self.close()
            raise
        self._turns.extend(self._rows)


def _close(generation: Iterator[GenerationEvent | Waiting]) -> None:
    close = getattr(generation, "close", None)
    if close is not None:
        close()
