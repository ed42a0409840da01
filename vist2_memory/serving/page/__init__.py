"""The memory page at ``/``: what a server remembers, for people to look at.

Plain HTML from templates, one style sheet, and a few lines of script for what lives: all of it
works without script, but for figures that refresh themselves. It shows what the API gives, by the
same rights, to whoever signed in with a key; the cookie of that opens the page alone, never the
API.
"""

from __future__ import annotations

from fastapi import FastAPI

from vist2_memory.serving.page import collections, documents, server, sessions, signing_in
from vist2_memory.serving.page.state import PageState


def add_to(app: FastAPI) -> None:
    """Have ``app`` answer ``/`` and what begins with ``/page/``."""
    app.state.vist2_page = PageState.of(app.state.vist2)
    for part in (signing_in, sessions, collections, documents, server):
        app.include_router(part.router, include_in_schema=False)
