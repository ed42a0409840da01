"""What a middleware tells ``ChatVIST2`` of a memory that goes before the messages of a call.

It is the call option ``visual_context``, as in ``llm.invoke(messages, visual_context=context)``:
the first ``upto`` messages of a session, and the documents of ``include``, are read as visual
tokens, and the messages of the call after them as text. Nothing is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vist2_memory.memory import Collection, Session

OPTION = "visual_context"
"""The name of the call option."""


@dataclass(frozen=True, slots=True)
class VisualContext:
    """The memory of one call. Shows and copies as little as a name: traces hold no words of it."""

    session: Session
    upto: int
    """How many of the session's messages are read, from the first on."""
    include: tuple[Collection, ...] = ()
    """Documents, read before the conversation."""
    budget: int | None = None
    """Tokens that may be read in all, visual ones and text together; None: the model's own."""
    digest: str = ""
    """Names what is read: contexts of the same digest and budget are read alike."""

    def __post_init__(self) -> None:
        for name in ("upto", "budget"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value!r} is not allowed: it must be 0 or more")

    def __repr__(self) -> str:
        books = ", ".join(repr(collection.name) for collection in self.include)
        return (
            f"VisualContext(session={self.session.id!r}, upto={self.upto}, include=({books}), "
            f"budget={self.budget}, digest={self.digest!r})"
        )

    def __deepcopy__(self, memo: Mapping[int, Any]) -> VisualContext:
        return self  # a session is shared, not copied
