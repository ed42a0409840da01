"""Large sets of documents into a collection, encoded by many workers.

Workers cut, draw and encode, and store visual tokens. This process alone writes the log of the
collection, in the order of the documents, each when its visual tokens are there. So the collection
is what ``Collection.add_documents`` would have made of them, however many workers there were; and
if anything dies on the way, a second run finds what is done and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ray
from pyarrow import fs
from ray.data import ActorPoolStrategy, Dataset

from ray_vist2.encoding import PATH, Encoder, Failure, Target
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.shelf import Document

Source: TypeAlias = Dataset | str | Path | Sequence[str | Path]

_LOGGED = 256  # documents that are written down at once


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a set of documents; ``chunks``: of all that did not fail."""

    documents: int = 0
    """All that were given."""
    added: int = 0
    """Those that were not there yet."""
    chunks: int = 0
    uncached: int = 0
    """Those with visual tokens that the store did not take, or that it held damaged: they are
    encoded again when they are read."""
    failures: tuple[Failure, ...] = ()


def ingest(
    source: Source,
    *,
    collection: str,
    store: str,
    model: str | None = None,
    namespace: str = "default",
    text: str = "text",
    workers: int | tuple[int, int] = 1,
    batch: int = 32,
    cpus: float = 1.0,
    gpus: float = 0.0,
    **options: Any,
) -> Ingested:
    """Take all documents of ``source`` into ``collection``, and tell what became of them.

    ``source``: a Ray dataset whose column ``text`` has the texts, and whose other columns become
    metadata (one called ``source`` names a document in failures too); or paths and URLs of UTF-8
    files, each a document, and of folders of them. ``workers``: how many engines, or the least and
    the most; each takes ``batch`` documents at a time and has ``cpus`` and ``gpus`` of its
    machine. ``options`` go to ``VisualMemory.open``, on the workers.

    A document that cannot be read, stored or encoded is told in ``Ingested.failures``; the others
    are taken in. Idempotent by content. Raises ``InvalidInputError`` for a source with nothing in
    it, and ``StoreError`` where the log cannot be written; run it again then.
    """
    target = Target(store, namespace, collection, {"model": model, **options})
    if store.startswith("memory:"):
        raise InvalidInputError(
            f"store={store!r} is each process's own: give one that all share, as redis://..."
        )
    documents = _dataset(source, text)
    pool = (
        ActorPoolStrategy(size=workers)
        if isinstance(workers, int)
        else ActorPoolStrategy(min_size=workers[0], max_size=workers[1])
    )
    encoded = documents.map_batches(
        Encoder,
        fn_constructor_args=(target, text),
        compute=pool,
        batch_size=batch,
        num_cpus=cpus,
        num_gpus=gpus,
    )
    encoded.context.execution_options.preserve_order = True
    return _logged(target, encoded.iter_rows())


def _logged(target: Target, rows: Iterable[dict[str, Any]]) -> Ingested:
    """Write down what was encoded, in order; raises ``StoreError``."""
    given = added = chunks = uncached = 0
    failures: list[Failure] = []
    with target.open() as memory:
        collection = memory.collection(target.collection)
        for part in _in_parts(rows):
            good = [row for row in part if not row["failure"]]
            failures += [Failure(row["source"], row["failure"]) for row in part if row["failure"]]
            given += len(part)
            chunks += sum(row["chunks"] for row in good)
            uncached += sum(row["uncached"] for row in good)
            added += collection.log_documents(
                Document(row["text"], json.loads(row["metadata"])) for row in good
            )
    return Ingested(given, added, int(chunks), int(uncached), tuple(failures))


def _in_parts(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _LOGGED:
            yield part
            part = []
    if part:
        yield part


def _dataset(source: Source, text: str) -> Dataset:
    if isinstance(source, Dataset):
        names = source.columns() or []
        if text not in names:
            raise InvalidInputError(
                f"the dataset has no column {text!r}, only {', '.join(names)}: give text="
            )
        return source
    given = [source] if isinstance(source, str | Path) else source
    places = [place for one in given for place in _places(str(one))]
    if not places:
        raise InvalidInputError("the source has no documents: give files, or folders with files")
    return ray.data.from_items([{PATH: place} for place in places])


def _places(place: str) -> list[str]:
    """The files at ``place``, a file or a folder; one that is not there is told as a failure."""
    whole = place if "://" in place else str(Path(place).absolute())
    system, path = fs.FileSystem.from_uri(whole)
    if system.get_file_info(path).type != fs.FileType.Directory:
        return [whole]
    root = whole.removesuffix("/")
    below = system.get_file_info(fs.FileSelector(path, recursive=True))
    files = sorted(info.path for info in below if info.type == fs.FileType.File)
    return [root + file.removeprefix(path.removesuffix("/")) for file in files]
