"""What every request of the page finds, beside what every request of the server finds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from fastapi import Request

from vist2_memory.serving.page.cookies import Seal, find_secret
from vist2_memory.serving.state import ServerState
from vist2_memory.types import Chunk

PICTURES = 512
"""That are held; a sketch takes a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a model is shown of a chunk, as a PNG; width and height in pixels."""

    png: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PageState:
    """Made when a server starts."""

    seal: Seal
    picture: Callable[[Chunk], Picture | None]
    """The picture of a chunk, drawn from its text; None where the model is shown none."""

    @classmethod
    def of(cls, server: ServerState) -> PageState:
        """For ``server``."""

        @lru_cache(PICTURES)
        def picture(chunk: Chunk) -> Picture | None:
            png = server.tenants.engine.picture(chunk)
            return None if png is None else Picture(png, *struct.unpack(">II", png[16:24]))

        return cls(Seal(find_secret()), picture)


def page_state(request: Request) -> PageState:
    """The page's state."""
    state: PageState = request.app.state.vist2_page
    return state
