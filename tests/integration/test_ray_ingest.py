"""Documents read in bulk with real Ray, while workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import ray

from ray_vist2 import ingest
from tests.support.ray_cluster import pids
from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError
from vist2_memory.memory.shelf import Document
from vist2_memory.types import VisualTokens

pytest_plugins = ("tests.support.fixtures", "tests.support.ray_fixtures")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.usefixtures("ray_cluster")]

BFLOAT16 = 2**-7
"""Between two neighbouring numbers of that format, relative to them."""
TEXTS = [
    f"Document {number}. " + "The blue valve is behind the boiler. " * 3 for number in range(60)
]


def kept(memory: VisualMemory, collection: str) -> tuple[list[Document], list[VisualTokens]]:
    """The documents of a collection, and its visual tokens."""
    found = memory.collection(collection)
    tokens = found.recollect(found.chunks())
    assert tokens.cached_visual_tokens == sum(map(len, tokens.visual))  # none was encoded now
    return found.documents(), list(tokens.visual)


def test_the_collection_is_what_one_process_would_have_made(
    redis_url: str, checkpoint: Path
) -> None:
    """Also when a first run came to an end before all was done."""
    rows = [{"text": text, "page": number} for number, text in enumerate(TEXTS)]
    where = {"store": redis_url, "model": str(checkpoint), "namespace": "bulk"}
    first = ingest(ray.data.from_items(rows[:25]), collection="bulk", **where)
    done = ingest(ray.data.from_items(rows), collection="bulk", workers=2, batch=8, **where)
    with VisualMemory.open(redis_url, model=checkpoint, namespace="bulk") as memory:
        alone = memory.collection("alone")
        for number, text in enumerate(TEXTS):
            alone.add_documents([Document(text, {"page": number})])
        memory.flush()
        (documents, tokens), (as_one, expected) = kept(memory, "bulk"), kept(memory, "alone")
        assert documents == as_one
        for one, other in zip(tokens, expected, strict=True):
            assert (one.chunk_id, one.fingerprint) == (other.chunk_id, other.fingerprint)
            # Encoded with other chunks, a value may fall to the other side of a rounding.
            np.testing.assert_allclose(one.values, other.values, rtol=BFLOAT16, atol=1e-6)
        chunks = len(alone.chunks())
    assert (first.documents, first.added, first.uncached) == (25, 25, 0)
    assert (done.documents, done.added, done.chunks, done.uncached) == (60, 35, chunks, 0)
    assert done.failures == ()


def test_a_document_that_cannot_be_read_is_told_and_the_others_are_there(
    redis_url: str, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("The ferry leaves at nine.")
    (tmp_path / "in" / "b.txt").write_bytes(b"\xff\xfe no text")
    (tmp_path / "in" / "deeper" / "c.txt").write_text("Bees sleep in winter.")
    gone = tmp_path / "gone.txt"
    done = ingest(
        [tmp_path / "in", gone],
        collection="files",
        store=redis_url,
        model=str(checkpoint),
        namespace="bulk",
    )
    assert (done.documents, done.added) == (4, 2)
    told = {Path(one.source).name: one.reason for one in done.failures}
    assert set(told) == {"b.txt", "gone.txt"}
    assert "UnicodeDecodeError" in told["b.txt"]
    assert "FileNotFoundError" in told["gone.txt"]
    with VisualMemory.open(redis_url, model=checkpoint, namespace="bulk") as memory:
        documents = memory.collection("files").documents()
    assert [one.text for one in documents] == ["The ferry leaves at nine.", "Bees sleep in winter."]
    assert documents[1].metadata == {"source": str(tmp_path / "in" / "deeper" / "c.txt")}


def test_a_worker_that_is_killed_costs_nothing(redis_url: str, checkpoint: Path) -> None:
    texts = [f"{number}: {text}" for number, text in enumerate(TEXTS * 10)]
    where = {"store": redis_url, "model": str(checkpoint), "namespace": "bulk"}
    killed: list[int] = []
    with VisualMemory.open(redis_url, model=checkpoint, namespace="bulk") as memory:

        def kill_one() -> None:
            """As soon as something was written down, but not all."""
            before = set(pids(kind="MapWorker"))
            deadline = time.monotonic() + 120
            while not killed and time.monotonic() < deadline:
                workers = [pid for pid in pids(kind="MapWorker") if pid not in before]
                if workers and memory.collection("killed").documents():
                    os.kill(workers[0], signal.SIGKILL)
                    killed.append(len(memory.collection("killed").documents()))
                time.sleep(0.02)

        killing = threading.Thread(target=kill_one)
        killing.start()
        given = ray.data.from_items([{"text": text} for text in texts])
        done = ingest(given, collection="killed", workers=2, batch=8, **where)
        killing.join()
        assert 0 < killed[0] < len(texts)
        assert (done.documents, done.added, done.failures) == (len(texts), len(texts), ())
        assert [one.text for one in memory.collection("killed").documents()] == texts
        kept(memory, "killed")


def test_what_cannot_be_right_is_told_at_once(redis_url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no column 'body', only text"):
        ingest(ray.data.from_items([{"text": "a"}]), collection="c", store=redis_url, text="body")
    with pytest.raises(InvalidInputError, match="no documents"):
        ingest(tmp_path, collection="c", store=redis_url)
    with pytest.raises(InvalidInputError, match="each process's own"):
        ingest(tmp_path, collection="c", store="memory://")
