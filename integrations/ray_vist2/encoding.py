"""What each worker of a bulk ingestion does: read documents, cut, draw and encode them.

Nothing is logged here. A worker that dies costs its batch, which another one does again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyarrow import fs

from vist2_memory.errors import InvalidMessageError, Vist2Error
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.recollection import Tensors
from vist2_memory.memory.shelf import Document, cut, entry_of
from vist2_memory.store.base import Scope
from vist2_memory.types import Chunk

Rows = dict[str, "np.ndarray[Any, Any]"]
"""A batch as Ray Data gives it: columns by name."""

PATH = "path"
"""The column with the place of a document whose text is still to be read."""
_AT_ONCE = 64  # chunks whose visual tokens are held


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that was not taken in: where it is from, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where the documents go, and how they are encoded. ``options`` are ``VisualMemory.open``'s."""

    store: str
    namespace: str
    collection: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        """The collection."""
        return Scope(self.namespace, "collection", self.collection)

    def open(self) -> VisualMemory:
        """The memory that has it; the engine is not loaded yet."""
        return VisualMemory.open(self.store, namespace=self.namespace, **self.options)


class Encoder:
    """One engine, to which Ray Data gives batches of documents."""

    def __init__(self, target: Target, text: str) -> None:
        """``text``: the column that has the text, where there is no ``PATH``."""
        self._scope, self._text = target.scope, text
        self._memory = target.open()
        self._engine = self._memory.engine
        self._tensors = Tensors(self._memory.store)

    def __call__(self, batch: Rows) -> Rows:
        """The documents of ``batch`` in order, with metadata as JSON, or what went wrong."""
        names, size = list(batch), len(next(iter(batch.values())))
        rows = [{name: batch[name][row] for name in names} for row in range(size)]
        done = [self._taken(row) for row in rows]
        self._encode(done)
        return {
            "source": np.array([one.source for one in done], dtype=object),
            "text": np.array([one.text for one in done], dtype=object),
            "metadata": np.array([one.metadata for one in done], dtype=object),
            "chunks": np.array([len(one.chunks) for one in done], dtype=np.int64),
            "failure": np.array([one.failure for one in done], dtype=object),
            "uncached": np.array([one.uncached for one in done], dtype=bool),
        }

    def _taken(self, row: Mapping[str, Any]) -> _Taken:
        source = str(row.get(PATH) or row.get("source") or "")
        try:
            text = read_text(source) if PATH in row else str(row[self._text])
            known = {k: _plain(v) for k, v in row.items() if k not in (PATH, self._text)}
            if PATH in row:
                known["source"] = source
            entry = entry_of(Document(text, known))
            return _Taken(
                source or entry.id, text, json.dumps(known), list(cut(self._engine, entry))
            )
        except (OSError, UnicodeDecodeError, TypeError, InvalidMessageError) as error:
            return _Taken(source or "(no source)", failure=f"{type(error).__name__}: {error}")

    def _encode(self, done: list[_Taken]) -> None:
        """Encode all at once; where that fails one by one, to know which one it is."""
        try:
            self._store(done)
        except Vist2Error:
            for one in done:
                try:
                    self._store([one])
                except Vist2Error as error:
                    one.failure = f"{type(error).__name__}: {error}"

    def _store(self, documents: list[_Taken]) -> None:
        chunks = [chunk for one in documents for chunk in one.chunks]
        for start in range(0, len(chunks), _AT_ONCE):
            part = chunks[start : start + _AT_ONCE]
            if self._tensors.recollect(self._engine, self._scope, part).degraded:
                kept = {chunk.id for chunk in part}
                for one in documents:
                    one.uncached |= any(chunk.id in kept for chunk in one.chunks)


@dataclass(slots=True)
class _Taken:
    source: str
    text: str = ""
    metadata: str = "{}"
    chunks: list[Chunk] = field(default_factory=list)
    failure: str = ""
    uncached: bool = False


def read_text(place: str) -> str:
    """The text at a path or URL that Arrow can open; raises ``OSError``, ``UnicodeDecodeError``."""
    system, path = fs.FileSystem.from_uri(place)
    with system.open_input_stream(path) as stream:
        return bytes(stream.read()).decode("utf-8")


def _plain(value: Any) -> Any:
    """``value`` of a column without numpy's types, as metadata have it."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
