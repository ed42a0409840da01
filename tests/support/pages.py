"""The memory page for tests: who looks at it, and what is on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser

import httpx

from tests.support.plain import PlainEngine
from tests.support.serving import Served
from vist2_memory.memory import VisualMemory
from vist2_memory.serving.page.cookies import NAME

OWN = {"Origin": "http://server"}
"""What a browser says of a form that the page itself sent."""
VOID = {"input", "img", "link", "meta", "rect", "path", "br"}


class ReadingEngine(PlainEngine):
    """No model either, but readings of it: the next of its answers."""

    reads_back = True


@asynccontextmanager
async def looking(served: Served, key: str = "acme") -> AsyncIterator[httpx.AsyncClient]:
    """A browser of who signed in with ``key``."""
    async with served.client(None) as browser:
        form = {"key": served.told[key]}
        reply = await browser.post("/page/sign-in", data=form, headers=OWN)
        assert reply.status_code == 303, reply.text
        assert NAME in browser.cookies
        yield browser


def memory_of(served: Served, namespace: str = "acme") -> VisualMemory:
    """What the server remembers of a namespace."""
    return served.tenants.tenant(namespace).memory


class Tag:
    """An element with its attributes, what is in it, and its text."""

    def __init__(self, name: str, attributes: dict[str, str], above: Tag | None) -> None:
        self.name, self.attributes, self.above = name, attributes, above
        self.parts: list[Tag | str] = []

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, called: str, /, **attributes: str) -> list[Tag]:
        """The elements below that are so called and have these attributes, in order."""
        return [
            tag
            for tag in self._below()
            if tag.name == called
            and all(tag.attributes.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]

    def of_class(self, name: str) -> list[Tag]:
        """The elements below that are of a class, in order."""
        return [t for t in self._below() if name in t.attributes.get("class", "").split()]

    def _below(self) -> Iterator[Tag]:
        for part in self.parts:
            if isinstance(part, Tag):
                yield part
                yield from part._below()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.here = Tag("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Tag(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.parts.append(found)
        if tag not in VOID:
            self.here = found

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.here.name == tag, f"</{tag}> ends <{self.here.name}>"
        assert self.here.above is not None
        self.here = self.here.above

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.parts.append(Tag(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_data(self, data: str) -> None:
        self.here.parts.append(data)


def read(reply: httpx.Response) -> Tag:
    """The page in ``reply``, in which every element ends where it should."""
    reader = _Reader()
    reader.feed(reply.text)
    reader.close()
    assert reader.here is reader.root, f"<{reader.here.name}> is not ended"
    return reader.root
