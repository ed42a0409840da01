"""Spans: the stages of an answer that take time, told to whoever watches.

A stage says ``with span("encode", chunks=3) as outcome:`` and may note in ``outcome`` what came of
it. Who wants to know sets an observer with :func:`watching`. Knows nothing of the stages, nor of
who watches; where nobody does, a span does nothing.

Names in use: ``draw`` (sketches), ``encode`` (vision tower and aligner), ``store`` (log and cached
tensors, read or written), ``prefill`` and ``generate`` (the language model).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Ended: TypeAlias = Callable[[BaseException | None, Mapping[str, Any]], None]
"""Told when a span ends: how, and what came of it."""
Observer: TypeAlias = Callable[[str, Mapping[str, Any]], Ended]
"""Told when a span begins: its name and attributes; called in the thread that it begins in."""

_observer: ContextVar[Observer | None] = ContextVar("vist2_observer", default=None)


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[dict[str, Any]]:
    """The stage ``name`` of an answer; what is put into the value is told at its end."""
    observer, outcome = _observer.get(), dict[str, Any]()
    if observer is None:
        yield outcome
        return
    ended = observer(name, attributes)
    try:
        yield outcome
    except BaseException as error:
        ended(error, outcome)
        raise
    ended(None, outcome)


@contextmanager
def watching(observer: Observer | None) -> Iterator[None]:
    """Tell ``observer`` of the spans that begin inside, in this context and copies of it."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def together(*observers: Observer) -> Observer:
    """One observer that tells all of ``observers``."""

    def observe(name: str, attributes: Mapping[str, Any]) -> Ended:
        all_ended = [observer(name, attributes) for observer in observers]

        def ended(error: BaseException | None, outcome: Mapping[str, Any]) -> None:
            for one in all_ended:
                one(error, outcome)

        return ended

    return observe


def watched(steps: Iterator[T], observer: Observer | None) -> Iterator[T]:
    """``steps``, with ``observer`` told of the spans in each, and not of those in between."""
    try:
        while True:
            with watching(observer):
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            close()
