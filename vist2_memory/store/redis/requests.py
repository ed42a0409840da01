"""What the logic of the store asks of whoever does its input and output.

`link`, `servers`, `index` and `store` wait for nothing and touch no socket: their methods are
generators that yield a request, are sent the reply, and return the result. `wire.Wire` does what
is asked in the calling thread, `async_wire.AsyncWire` on an event loop; the logic is one for both.
An error of the wire is raised inside the generator, where the request was yielded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from vist2_memory.store.redis.places import Place

T = TypeVar("T")
Command: TypeAlias = tuple[Any, ...]


class Exchange(NamedTuple):
    """Send ``commands`` in one round trip; a list of the replies, errors of the server included."""

    place: Place
    commands: Sequence[Command]


class Sleep(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class DropIdle(NamedTuple):
    """Close the connections that nobody uses now: they may lead to a server that is gone."""


class Compute(NamedTuple):
    """Call ``function``, which goes through ``items`` things and touches nothing of the store's."""

    function: Callable[[], Any]
    items: int


Request: TypeAlias = Exchange | Sleep | DropIdle | Compute
Steps: TypeAlias = Generator[Request, Any, T]
