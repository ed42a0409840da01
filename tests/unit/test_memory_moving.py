"""Sessions from one store to another: whole, and safe to be killed in between."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.memories import DOCUMENTS, TALK, engine_of, plain, said, tell
from tests.support.plain import PlainEngine
from vist2_memory import Quota, QuotaExceededError, Session, VisualMemory
from vist2_memory.errors import ConflictError, InvalidInputError, SealedError
from vist2_memory.memory.moving import Moved
from vist2_memory.store import InMemoryStore, Store
from vist2_memory.store.formats import DType, TensorFormat

pytest_plugins = ("tests.support.fixtures",)


KEYS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]


class Killed(BaseException):
    """As when the process ends."""


def long(session: Session) -> Session:
    session.add("system", "Be kind.", payload={"who": ["me"]})
    return tell(session, TALK * 2)


def tensors(memory: VisualMemory, session: Session) -> dict[str, list[str]]:
    return memory.store.tensor_ids(session.scope)


@pytest.mark.parametrize("namespace", ["default", "another"])
def test_a_moved_session_is_the_same_and_gone_from_where_it_was(
    url: str, namespace: str, tmp_path: Path
) -> None:
    with plain(store=url) as memory, plain(store=f"sqlite:///{tmp_path}/to.db") as other:
        other.namespace = namespace
        session = long(memory.session("a"))
        memory.session("b").add("user", "I stay.")
        messages, chunks, before = session.messages(), session.chunks(), tensors(memory, session)
        moved = memory.move_session("a", other)
        assert moved == Moved(1, 0, 7, len(before["plain-1"]))
        there = other.session("a")
        assert (there.messages(), there.chunks()) == (messages, chunks)
        assert tensors(other, there) == before
        assert memory.session("a").messages() == []
        assert tensors(memory, session) == {}
        assert said(memory.session("b")) == [("user", "I stay.")]
        there.ask("Who?")
        assert len(engine_of(other).contexts) == 1
        assert not set(engine_of(other).encoded) & {chunk.text for chunk in chunks}
        assert memory.move_session("a", other) == Moved()  # again: it is there


def test_a_namespace_is_moved_with_its_collections(url: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/to.db"
    with plain(store=url) as memory:
        for name in "ab":
            tell(memory.session(name))
        memory.collection("books").add_documents(DOCUMENTS)
        seen: list[tuple[int, int]] = []
        moved = memory.move_all(target, progress=lambda done, of: seen.append((done, of)))
        assert (moved.sessions, moved.collections, moved.messages) == (2, 1, 8)
        assert seen == [(1, 3), (2, 3), (3, 3)]
        assert memory.sessions() == memory.collections() == []
    with plain(store=target) as other:
        assert [said(other.session(name)) for name in "ab"] == [TALK, TALK]
        assert [d.text for d in other.collection("books").documents()] == DOCUMENTS


STEPS: dict[str, tuple[str, str]] = {
    "before the log is written": ("target", "append"),
    "before the tensors are": ("target", "tensor_ids"),
    "between the tensors": ("target", "put_many"),
    "before the source is deleted": ("source", "delete"),
}


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_between_nothing_is_lost_and_the_same_call_does_the_rest(
    step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = InMemoryStore(), InMemoryStore()
    memory, other = plain(store=source), plain(store=target)
    messages = long(memory.session("a")).messages()
    store, method = {"source": source, "target": target}[STEPS[step][0]], STEPS[step][1]
    real: Callable[..., Any] = getattr(store, method)

    def fails(*given: Any, **options: Any) -> Any:
        if after:
            real(*given, **options)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(store, method, fails)
        with pytest.raises(Killed):
            memory.move_session("a", other)
    held = [store.read(memory.session("a").scope) for store in (source, target)]
    assert messages in held
    memory.move_session("a", other)
    assert (source.count(memory.session("a").scope), other.session("a").messages()) == (0, messages)


def test_what_is_said_meanwhile_is_moved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = InMemoryStore(), plain(store=InMemoryStore())
    memory = plain(store=source)
    session = tell(memory.session("a"))
    real, left = source.delete, [0, 1]

    def delete(*given: Any, **options: Any) -> Any:
        if left:
            session.add("user", f"One more, {left.pop()}.")
        return real(*given, **options)

    monkeypatch.setattr(source, "delete", delete)
    assert memory.move_session("a", other).messages == 5
    assert said(other.session("a"))[3:] == [("user", "One more, 1."), ("user", "One more, 0.")]


def test_another_session_of_that_name_is_refused_and_both_stay() -> None:
    memory, other = plain(), plain()
    tell(memory.session("a"))
    other.session("a").add("user", "I was here first.")
    with pytest.raises(ConflictError, match="'a' exists already in memory:// with other messages"):
        memory.move_session("a", other)
    assert said(memory.session("a")) == TALK
    assert said(other.session("a")) == [("user", "I was here first.")]
    with pytest.raises(InvalidInputError, match="no session 'none'"):
        memory.move_session("none", other)


def test_one_place_under_two_urls_is_never_moved_onto_itself(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "memory.db")
    with plain(store=f"sqlite:///{tmp_path}/memory.db") as memory:
        session = tell(memory.session("a"))
        memory.flush()
        before = tensors(memory, session)
        for url in (f"sqlite:///{tmp_path}/memory.db", f"sqlite:///{tmp_path}/link.db"):
            with pytest.raises(InvalidInputError, match="one place"):
                memory.move_session("a", url)
        with pytest.raises(InvalidInputError, match="one place"):
            memory.move_session("a", memory)
        assert said(session) == TALK
        assert tensors(memory, session) == before


def test_a_target_without_room_takes_nothing_and_the_source_stays() -> None:
    store: Store = InMemoryStore()
    memory = plain()
    tell(memory.session("a"))
    small = VisualMemory.open(store, model=engine_of(memory), quota=Quota(messages=2))
    with pytest.raises(QuotaExceededError):
        memory.move_session("a", small)
    assert said(memory.session("a")) == TALK
    assert small.sessions() == []


def test_a_damaged_tensor_is_left_behind() -> None:
    memory, other = plain(), plain()
    session = long(memory.session("a"))
    [(fingerprint, ids)] = tensors(memory, session).items()
    [good] = memory.store.get_many(session.scope, fingerprint, ids[:1])
    assert good is not None
    memory.store.put_many(session.scope, fingerprint, {ids[0]: good[:-1] + b"\x07"})
    memory.move_session("a", other)
    assert tensors(other, session) == {fingerprint: ids[1:]}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8"])
@pytest.mark.parametrize("kind", ["key", "encryption_keys"])
def test_a_sealed_session_is_moved_under_its_keys_and_kept_tidy(
    kind: str, dtype: DType, tmp_path: Path
) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("from", "to")]

    def opened(url: str, *keys: str) -> VisualMemory:
        engine = PlainEngine()
        engine.spec = replace(engine.spec, tensors=TensorFormat(dtype))
        return VisualMemory.open(url, model=engine, **{kind: list(keys)})  # type: ignore[arg-type]

    with opened(urls[0], KEYS[0]) as memory:
        session = long(memory.session("a"))
        messages, texts = session.messages(), {chunk.text for chunk in session.chunks()}
        ids = {chunk.id for chunk in session.chunks()}
        assert memory.collect_garbage().kept == len(ids) > 0
        assert memory.reencode().encoded == 0
        newer = opened(urls[0], KEYS[1], KEYS[0])
        with newer, pytest.raises(InvalidInputError, match="one place"):
            memory.move_session("a", newer)
        assert session.messages() == messages
        assert memory.move_session("a", urls[1]).tensors == len(ids)
    with opened(urls[1], KEYS[0]) as there:
        assert there.session("a").messages() == messages
        there.session("a").ask("Who?")
        assert not set(engine_of(there).encoded) & texts
        there.store.put_many(session.scope, "plain-1", {"gone": b"1"})
        assert there.collect_garbage().unused == 1
    with plain(store=urls[1]) as without, pytest.raises(SealedError):
        without.session("a").messages()


def test_what_is_edited_meanwhile_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = InMemoryStore(), plain(store=InMemoryStore())
    session = tell(plain(store=source).session("a"))
    real = source.delete

    def delete(*given: Any, **options: Any) -> Any:
        session.edit(session.messages()[0].id, "Something else.")
        return real(*given, **options)

    monkeypatch.setattr(source, "delete", delete)
    with pytest.raises(ConflictError, match="exists already"):
        session._memory.move_session("a", other)
    assert session.messages()[0].text == "Something else."
