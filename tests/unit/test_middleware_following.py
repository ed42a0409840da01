"""A session follows a graph's state: append-only, a session for each branch, nothing leaks."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vist2.agents.following import common, follow, session_name, sessions_of, step
from langchain_vist2.agents.mirrored import Mark, as_message, held_mark, mark
from tests.support.memories import plain
from vist2_memory import ConflictError, InvalidMessageError, Message, Session, VisualMemory
from vist2_memory.store import InMemoryStore


def talk(*texts: str, first: int = 0) -> list[BaseMessage]:
    """Messages of human and assistant in turn, with ids."""
    kinds: tuple[type[BaseMessage], ...] = (HumanMessage, AIMessage)
    return [kinds[n % 2](text, id=f"m{first + n}") for n, text in enumerate(texts)]


def followed(memory: VisualMemory, messages: Sequence[BaseMessage], thread: str = "t") -> Session:
    return follow(memory, thread, messages, [mark(m) for m in messages], as_message)


def texts(session: Session) -> list[str]:
    return [message.text for message in session.messages()]


marks = st.lists(
    st.builds(Mark, st.sampled_from([None, "1", "2"]), st.sampled_from("ab")), max_size=5
)


@given(marks, marks)
def test_a_step_reads_appends_or_branches(held: list[Mark], state: list[Mark]) -> None:
    then = step(held, state)
    assert all(one.matches(other) for one, other in zip(held[: then.at], state, strict=False))
    assert then.do == (
        "read" if then.at == len(state) else "append" if then.at == len(held) else "branch"
    )
    if then.do == "branch":
        assert not state[then.at].matches(held[then.at])


def test_what_is_new_is_appended_and_an_earlier_state_reads_a_part() -> None:
    memory = plain()
    state = talk("a", "b", "c", "d")
    session = followed(memory, state[:2])
    assert followed(memory, state) is session
    assert texts(session) == ["a", "b", "c", "d"]
    assert followed(memory, state[:1]) is session
    assert followed(memory, []) is session
    assert texts(session) == ["a", "b", "c", "d"]
    assert sessions_of(memory, "t") == ["t"]


def test_a_branch_has_a_session_of_its_own_and_so_has_a_branch_of_it() -> None:
    memory = plain()
    state = talk("a", "b", "c", "d")
    main = followed(memory, state)
    fork = [*state[:2], *talk("C", "D", first=10)]
    branch = followed(memory, fork)
    inner = followed(memory, [*fork[:3], *talk("x", first=20)])
    assert [texts(s) for s in (main, branch, inner)] == [list("abcd"), list("abCD"), list("abCx")]
    assert followed(memory, fork) is branch
    assert followed(memory, [*fork, *talk("e", first=30)]) is branch
    assert texts(main) == list("abcd")
    assert len(sessions_of(memory, "t")) == 3


def test_the_same_id_with_other_words_is_another_message() -> None:
    memory = plain()
    state = talk("a", "b")
    followed(memory, state)
    edited = followed(memory, [state[0], AIMessage("B", id="m1")])
    assert texts(edited) == ["a", "B"]
    called = AIMessage("b", id="m1", tool_calls=[{"id": "1", "name": "f", "args": {}}])
    assert texts(followed(memory, [state[0], called])) == ["a", "b"]
    assert len(sessions_of(memory, "t")) == 3


def test_what_was_removed_from_the_state_is_not_read_any_more() -> None:
    memory = plain()
    state = talk("secret", "b", "c")
    followed(memory, state)
    assert texts(followed(memory, state[1:])) == ["b", "c"]


def test_messages_without_ids_are_known_by_what_they_say() -> None:
    memory = plain()
    nameless = [HumanMessage("a"), AIMessage("b"), HumanMessage("a")]
    session = followed(memory, nameless)
    assert texts(session) == ["a", "b", "a"]
    named = [HumanMessage("a", id="1"), AIMessage("b", id="2"), HumanMessage("a", id="3")]
    assert followed(memory, [*named, AIMessage("d", id="4")]) is session
    assert texts(session) == ["a", "b", "a", "d"]


def test_a_session_of_that_name_that_mirrors_nothing_is_left_alone() -> None:
    memory = plain()
    own = memory.session("t")
    own.add("user", "a")
    session = followed(memory, talk("a", "b"))
    assert session is not own
    assert texts(own) == ["a"]
    assert texts(session) == ["a", "b"]


def test_another_writer_that_comes_first_is_seen() -> None:
    """Between looking and writing, another process appends: its words never get among ours."""
    store = InMemoryStore()
    here, there = plain(store=store), plain(store=store)
    common_part = talk("a", "b")
    ours, theirs = [*common_part, *talk("c", first=2)], [*common_part, *talk("C", first=12)]
    followed(here, common_part)
    session = here.session("t")
    extend = session.extend

    def late(messages: Sequence[Message], *, after: int) -> None:
        session.extend = extend  # type: ignore[method-assign]
        followed(there, theirs)
        extend(messages, after=after)

    session.extend = late  # type: ignore[method-assign]
    branch = followed(here, ours)
    assert texts(branch) == ["a", "b", "c"]
    assert texts(session) == ["a", "b", "C"]


def test_a_branch_that_another_process_begins_at_the_same_time_is_shared() -> None:
    store = InMemoryStore()
    here, there = plain(store=store), plain(store=store)
    state = talk("a", "b", "c")
    fork = [*state[:2], *talk("x", "y", first=10)]
    main = followed(here, state)
    branch_off = main.branch

    def late(name: str, at: str | None = None) -> Session:
        followed(there, fork)
        return branch_off(name, at)

    main.branch = late  # type: ignore[method-assign]
    assert texts(followed(here, fork)) == ["a", "b", "x", "y"]
    assert len(sessions_of(here, "t")) == 2


def test_a_writer_that_always_comes_first_is_told() -> None:
    memory = plain()
    session = memory.session("t")

    def never(messages: Sequence[Message], *, after: int) -> None:
        raise ConflictError("another writer")

    session.extend = never  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match="thread 't': other writers"):
        followed(memory, talk("a"))


def test_a_message_that_cannot_be_written_is_no_conflict() -> None:
    def write(message: BaseMessage) -> Message:
        return Message("user", "")

    with pytest.raises(InvalidMessageError):
        follow(plain(), "t", talk("a"), [mark(m) for m in talk("a")], write)


def test_threads_keep_apart_whatever_their_names() -> None:
    memory = plain()
    for thread in ("t", "t~", "t" * 3000, "\0", "ü", "t/results", "t~0123"):
        followed(memory, talk(f"of {thread[:9]}"), thread)
    for thread in ("t", "t~", "t" * 3000, "ü"):
        [name] = sessions_of(memory, thread)
        assert texts(memory.session(name)) == [f"of {thread[:9]}"]
        assert name == session_name(thread)


class Tree:
    """A state that grows, is edited, cut, forked and gone back in; some messages have no ids."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seen: list[list[BaseMessage]] = [[]]
        self.made = 0

    def message(self) -> BaseMessage:
        self.made += 1
        text = f"{self.random.choice(['one', 'two', 'three'])} {self.random.randrange(3)}"
        id = self.random.choice([None, f"id{self.made}", f"id{self.made}"])
        kind = self.random.choice(["human", "ai", "tool"])
        if kind == "tool":
            return ToolMessage(text, tool_call_id=str(self.random.randrange(3)), id=id)
        return HumanMessage(text, id=id) if kind == "human" else AIMessage(text, id=id)

    def next(self) -> list[BaseMessage]:
        state = list(self.random.choice([self.seen[-1], *self.seen[-8:]]))
        move = self.random.choice(["grow", "grow", "grow", "cut", "edit", "remove", "again"])
        place = self.random.randrange(len(state)) if state else 0
        if move == "cut":
            state = state[:place]
        elif move == "edit" and state:
            state[place] = state[place].model_copy(update={"content": f"edited {self.made}"})
        elif move == "remove" and state:
            del state[place]
        if move in ("grow", "cut", "remove"):
            state += [self.message() for _ in range(self.random.randrange(1, 4))]
        self.seen.append(state)
        return state


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_whatever_becomes_of_a_state_what_is_read_is_its_own(seed: int) -> None:
    """Two processes follow states of one thread; every session is the beginning of one of them."""
    store = InMemoryStore()
    memories = [plain(store=store, chunk_tokens=64) for _ in range(2)]
    tree = Tree(seed)
    for _ in range(15):
        state = tree.next()
        session = followed(tree.random.choice(memories), state)
        held = session.messages()
        read = [(m.role, m.text) for m in held[: len(state)]]
        assert read == [(as_message(m).role, as_message(m).text) for m in state]
    for name in sessions_of(memories[0], "t"):
        held_marks = [held_mark(message) for message in memories[0].session(name).messages()]
        states = [[mark(message) for message in state] for state in tree.seen]
        assert any(common(held_marks, s) == len(held_marks) for s in states), name


def test_threads_of_one_process_that_write_at_once_never_mix() -> None:
    memory = plain(chunk_tokens=64)
    base = talk("a", "b")
    errors: list[BaseException] = []

    def run(number: int) -> None:
        state = [*base, *talk("x", "y", "z", first=10 * number)]
        try:
            for end in range(1, len(state) + 1):
                session = followed(memory, state[:end])
                held = [held_mark(m) for m in session.messages()]
                assert common(held, [mark(m) for m in state[:end]]) == end
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
