"""Stored bytes are data: nothing that is read back can run code."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import vist2_memory
from tests.support.memories import engine_of, plain, tell

PACKAGE = Path(vist2_memory.__file__).parent
ROOTS = [PACKAGE, PACKAGE.parent / "integrations"]
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TRAINING = "vist2_memory/training/"
"""Checkpoints of a training run are its own files; no store is read there."""


class _Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def calls_that_unpickle(source: str) -> Iterator[str]:
    """Names in ``source`` by which pickled code could run."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.partition(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            if module in UNPICKLERS:
                yield module
            yield from (a.name for a in node.names if (module, a.name) == ("torch", "load"))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            allowed = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
            if called in ("eval", "exec", "compile", "torch.load"):
                yield called
            if called in ("np.load", "numpy.load") and allowed.get("allow_pickle") != "False":
                yield called


def test_the_search_finds_what_it_is_for() -> None:
    for source in (
        "import pickle",
        "from _pickle import loads",
        "def f():\n    import dill.source",
        "from torch import load",
        "x = torch.load(f, weights_only=True)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "eval(text)",
    ):
        assert list(calls_that_unpickle(source)), source
    assert not list(calls_that_unpickle("np.load(f, allow_pickle=False); re.compile('pickle')"))


def test_no_module_can_unpickle_what_a_store_holds() -> None:
    found = {
        str(path.relative_to(PACKAGE.parent)): names
        for root in ROOTS
        for path in root.rglob("*.py")
        if (names := list(calls_that_unpickle(path.read_text(encoding="utf-8"))))
    }
    assert {path: names for path, names in found.items() if not path.startswith(TRAINING)} == {}


def _planted(kind: str, bomb: _Bomb) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("archive/data.pkl", pickle.dumps(bomb))
    saved, numbers = io.BytesIO(), io.BytesIO()
    torch.save({"values": torch.zeros(2)}, saved)
    np.save(numbers, np.array([bomb], dtype=object), allow_pickle=True)
    return {
        "pickle": pickle.dumps(bomb),
        "old pickle": pickle.dumps(bomb, protocol=0),
        "zip": archive.getvalue(),
        "torch.save": saved.getvalue(),
        "numpy": numbers.getvalue(),
    }[kind]


@pytest.mark.parametrize("kind", ["pickle", "old pickle", "zip", "torch.save", "numpy"])
def test_planted_code_is_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    data = _planted(kind, _Bomb(trace))
    memory = plain("Yes.", "Yes.", cache_bytes=0)
    session = tell(memory.session("a"))
    chunk = session.chunks()[0]
    memory.flush()
    memory.store.put_many(session.scope, memory.engine.spec.fingerprint, {chunk.id: data})
    [note] = session.ask("Who?").degraded
    assert "a stored tensor was refused" in note
    assert engine_of(memory).encoded.count(chunk.text) == 2
    memory.flush()
    assert session.ask("Who?").degraded == ()
    assert not trace.exists()
    if kind.endswith("pickle"):
        pickle.loads(data)
        assert trace.exists()  # the trap was a real one
