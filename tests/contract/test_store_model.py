"""Every store against a plain model of it: whatever is done in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.backends import Backend, InMemory
from vist2_memory.errors import ConflictError
from vist2_memory.store import Deleted, Scope, Store
from vist2_memory.types import Message

IDS = st.sampled_from([f"m{n}" for n in range(7)])
TEXTS = st.sampled_from(["", "Miso.", "nul \0", "猫 \u2028"])
MESSAGES = st.lists(st.tuples(IDS, TEXTS), max_size=4, unique_by=lambda pair: pair[0])
NAMES = st.sampled_from(["a", "b {c}"])
CHUNKS = st.sampled_from(["x", "y", "z z"])
FINGERPRINTS = st.sampled_from(["f", "g:1"])


def made(pairs: list[tuple[str, str]]) -> list[Message]:
    return [Message("user", text, id=id, turn=id, time=2.5) for id, text in pairs]


@dataclass
class Model:
    """What one scope should hold."""

    log: list[Message] = field(default_factory=list)
    revision: int = 0
    tensors: dict[tuple[str, str], bytes] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """``backend`` is set by the test; each run has scopes of its own."""

    backend: Backend
    runs = 0

    @initialize()
    def begin(self) -> None:
        type(self).runs += 1
        self.store: Store = self.backend.open()
        self.models: dict[str, Model] = {}
        self.retry: tuple[str, dict[str, object], int] | None = None

    def at(self, name: str) -> tuple[Scope, Model]:
        scope = self.backend.scope(f"{name}{self.runs}")
        return scope, self.models.setdefault(name, Model())

    @rule(name=NAMES, pairs=MESSAGES, seen=st.sampled_from([None, 0, 0, 1]), old=st.booleans())
    def append(self, name: str, pairs: list[tuple[str, str]], seen: int | None, old: bool) -> None:
        """``seen``: by how much the count is wrong; ``old``: the revision is."""
        scope, model = self.at(name)
        messages, there = made(pairs), {m.id: m for m in model.log}
        fresh = [m for m in messages if m.id not in there]
        wrong = any(there.get(m.id, m) != m for m in messages)
        if seen is not None and (fresh or not messages):
            wrong = wrong or seen > 0 or old
        expected = None if seen is None else len(model.log) + seen
        revision = None if seen is None else model.revision + old
        try:
            count = self.store.append(scope, messages, expected=expected, revision=revision)
        except ConflictError:
            assert wrong
            return
        assert not wrong
        model.log += fresh
        assert count == len(model.log)
        assert self.store.append(scope, messages, expected=expected, revision=revision) == count

    @rule(
        name=NAMES, part=st.floats(0, 1), pairs=MESSAGES, wrong=st.sampled_from([0, 0, 0, 1, 2, 3])
    )
    def rewrite(self, name: str, part: float, pairs: list[tuple[str, str]], wrong: int) -> None:
        """``wrong``: nothing, the count, the last id, the revision."""
        scope, model = self.at(name)
        if not model.log:
            return
        keep = round(part * len(model.log))
        kept = {m.id for m in model.log[:keep]}
        messages = [m for m in made(pairs) if m.id not in kept]
        arguments = {
            "expected": len(model.log) + (wrong == 1),
            "last": model.log[-1].id + "x" * (wrong == 2),
            "revision": model.revision + (wrong == 3),
            "token": f"{name} {model.revision} {len(model.log)} {keep} {pairs}",
        }
        call = {"keep": keep, "messages": messages, **arguments}
        try:
            count = self.store.rewrite(scope, **call)  # type: ignore[arg-type]
        except ConflictError:
            assert wrong
            return
        assert not wrong
        model.log = model.log[:keep] + messages
        model.revision += 1
        assert count == len(model.log)
        self.retry = (name, call, model.revision)

    @rule()
    def rewrite_again(self) -> None:
        """As after a lost answer, with whatever was appended since."""
        if self.retry:
            name, call, revision = self.retry
            scope, model = self.at(name)
            if model.revision == revision:
                assert self.store.rewrite(scope, **call) == len(model.log)  # type: ignore[arg-type]

    @rule(name=NAMES, fingerprint=FINGERPRINTS, chunk=CHUNKS, data=st.binary(max_size=9))
    def put(self, name: str, fingerprint: str, chunk: str, data: bytes) -> None:
        scope, model = self.at(name)
        self.store.put_many(scope, fingerprint, {chunk: data})
        model.tensors[fingerprint, chunk] = data

    @rule(name=NAMES, fingerprint=FINGERPRINTS, chunks=st.lists(CHUNKS, unique=True))
    def drop(self, name: str, fingerprint: str, chunks: list[str]) -> None:
        scope, model = self.at(name)
        gone = [model.tensors.pop((fingerprint, chunk), None) for chunk in chunks]
        assert self.store.drop_many(scope, fingerprint, chunks) == len(gone) - gone.count(None)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        scope, model = self.at(name)
        chunks = len({chunk for _, chunk in model.tensors})
        assert self.store.delete(scope) == Deleted(len(model.log), chunks, len(model.tensors))
        self.models[name] = Model()
        self.retry = None

    @rule()
    def open_again(self) -> None:
        self.store = self.backend.open()

    @rule(name=NAMES, after=st.integers(0, 5))
    def read(self, name: str, after: int) -> None:
        scope, model = self.at(name)
        assert self.store.read(scope, after) == model.log[after:]

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        for name, model in getattr(self, "models", {}).items():
            scope, _ = self.at(name)
            log = self.store.snapshot(scope)
            assert (log.messages, log.revision) == (model.log, model.revision)
            assert self.store.count(scope) == len(model.log)
            for fingerprint in ("f", "g:1"):
                chunks = ["x", "y", "z z"]
                wanted = [model.tensors.get((fingerprint, chunk)) for chunk in chunks]
                assert self.store.get_many(scope, fingerprint, chunks) == wanted

    def teardown(self) -> None:
        scopes = {self.at(name)[0]: model for name, model in getattr(self, "models", {}).items()}
        if scopes:
            listed = {
                info.scope: info.messages
                for info in self.store.scopes(self.backend.namespace, "session")
            }
            assert listed == {scope: len(m.log) for scope, m in scopes.items() if m.log}
            for scope in scopes:
                self.store.delete(scope)
            assert self.backend.leftovers() == []


@pytest.mark.parametrize("backend", ["memory", "sqlite", "redis", "async redis"], indirect=True)
def test_a_store_does_what_its_model_does(backend: Backend) -> None:
    class Bound(Machine):
        pass

    Bound.backend = backend
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=60 if isinstance(backend, InMemory) else 12,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
