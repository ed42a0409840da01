"""Keys and values kept between turns: the same answers as a fresh engine's, and less to run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import Tensor

from tests.support.engines import Script
from tests.support.memories import tell
from tests.support.tokenizers import token_ids
from vist2_memory import Session, VisualMemory
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Chunk, Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

SHORT = GenerationParams(max_tokens=20)
LONGER = GenerationParams(max_tokens=40)
PINNED = f"{MARKS['system']}Be kind."


def engine_of(checkpoint: Path, keep: int = 1, budget: int = 2**30) -> TorchEngine:
    options = EngineOptions(device="cpu", kv_cache_bytes=budget)
    return TorchEngine(checkpoint, keep_recent_chunks=keep, options=options)


def opened(engine: TorchEngine, namespace: str = "default") -> VisualMemory:
    return VisualMemory.open("memory://", model=engine, namespace=namespace)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that each run of the language model had."""
    counts: list[int] = []
    run = KVCache._run

    def counted(cache: KVCache, embeds: Tensor) -> Tensor:
        counts.append(len(embeds))
        return run(cache, embeds)

    monkeypatch.setattr(KVCache, "_run", counted)
    return counts


def turns(memory: VisualMemory) -> Iterator[Finished]:
    """A life of a session: turns, edits, an undo, branches, other answers, a closed stream."""
    session = memory.session("a")
    session.add("system", "Be kind.")
    tell(session)
    yield session.ask("What is my cat called?", params=SHORT)
    yield session.ask("Who keeps bees?", params=GenerationParams(max_tokens=70))
    yield session.regenerate(params=GenerationParams(max_tokens=30, temperature=1.0, seed=1))
    yield session.ask("And when do we leave?", params=SHORT)
    branch = session.branch("b", at=session.messages()[4].id)
    yield branch.ask("Where to?", params=SHORT)
    yield session.ask("From which platform? I have forgotten it, tell me again.", params=SHORT)
    session.undo()
    stream = session.stream("Where to?", params=SHORT)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    yield session.ask("And where to?", params=SHORT)
    session.edit(session.messages()[1].id, "My cat is called Tom, and Anna's sister keeps bees.")
    yield session.ask("What is my cat called?", params=SHORT)
    yield branch.ask("And when?", params=SHORT)


@pytest.mark.parametrize("keep", [0, 1])
def test_over_many_turns_answers_are_those_of_an_engine_that_keeps_nothing(
    checkpoint: Path, script: Script, keep: int
) -> None:
    answers, logits = [], []
    for budget in (2**30, 0):
        script.logits = []
        memory = opened(engine_of(checkpoint, keep, budget))
        answers.append(list(turns(memory)))
        logits.append(script.logits)
    for ours, fresh in zip(*answers, strict=True):
        assert ours.text == fresh.text
        assert fresh.usage.reused_tokens == 0
    assert sum(answer.usage.folds for answer in answers[0]) > 5
    assert sum(answer.usage.reused_tokens > 0 for answer in answers[0]) == len(answers[0]) - 1
    for ours, fresh in zip(*logits, strict=True):
        assert (ours - fresh).abs().max() < 1e-3 * fresh.abs().max()


def test_a_turn_reads_only_what_is_new_and_copies_nothing(
    checkpoint: Path, script: Script, ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(engine_of(checkpoint, 20))
    session = tell(memory.session("a"))
    script.say("It is Miso.", "Anna's brother.")
    session.ask("What is my cat called?")
    monkeypatch.setattr(KVCache, "fork", None)  # nothing may be copied
    ran.clear()
    end = session.ask("Who keeps bees?")
    new = token_ids(f"{MARKS['user']}Who keeps bees?{MARKS['assistant']}")
    assert ran[0] <= len(new) + 1  # and the token that ended the answer, which was never run
    read = end.usage.visual_tokens + end.usage.prompt_text_tokens
    assert end.usage.reused_tokens == read - ran[0]


def test_a_turn_that_folds_first_goes_on_in_place(
    checkpoint: Path, script: Script, ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = opened(engine_of(checkpoint, 1))
    session = tell(memory.session("a"))
    script.say("Miso.", "Yes.")
    session.ask("What is my cat called?")
    before = session.chunks()
    monkeypatch.setattr(KVCache, "fork", None)
    ran.clear()
    end = session.ask("Is it?")
    assert len(session.chunks()) == len(before) + 1
    assert ran[0] < 30 < end.usage.reused_tokens


def test_a_branch_and_another_answer_leave_what_they_begin_with(
    checkpoint: Path, script: Script, ran: list[int]
) -> None:
    memory = opened(engine_of(checkpoint, 20))
    session = tell(memory.session("a"))
    script.say("It is Miso, as you told me.", "Tom, as far as I know.", "Yes.", "No.")
    session.ask("What is my cat called?")
    asked = session.messages()[-2]
    branch = session.branch("b", at=asked.id)
    assert branch.resume(turn=asked.turn).usage.reused_tokens > 40
    for one in (session, branch):
        ran.clear()
        one.ask("Is it?")
        assert ran[0] <= len(token_ids(f"{MARKS['user']}Is it?{MARKS['assistant']}")) + 1


def shared(engine: TorchEngine, tail: str, **more: str) -> Context:
    texts = ["Bees sleep in winter. ", "The ferry leaves at nine, ", "from the old harbour. "]
    visual = engine.encode([Chunk(chunk_id(t), t, len(token_ids(t))) for t in texts])
    return Context(PINNED, tuple(visual), MARKS["user"] + tail + MARKS["assistant"], **more)  # type: ignore[arg-type]


def test_a_prompt_and_documents_are_read_once_by_all_also_while_one_is_answering(
    checkpoint: Path, script: Script, ran: list[int]
) -> None:
    engine = engine_of(checkpoint, 20)
    script.say(*["Bees like winter, and the ferry leaves in winter."] * 3)
    first = engine.generate(shared(engine, "Who sleeps in the winter of the harbour?"), LONGER)
    next(first)  # is answering from here on
    both = len(token_ids(PINNED)) + sum(map(len, shared(engine, "").visual))
    for tail in ("When does the ferry leave, and from where?", "Where is it?"):
        ran.clear()
        *_, end = engine.generate(shared(engine, tail), SHORT)
        assert isinstance(end, Finished)
        assert end.usage.reused_tokens >= both
        assert ran[0] <= len(token_ids(MARKS["user"] + tail + MARKS["assistant"]))
    *_, end = first
    assert isinstance(end, Finished)
    assert end.text == "Bees like winter, and the ferry leaves in winter."


def test_salts_are_apart(checkpoint: Path) -> None:
    engine = engine_of(checkpoint)
    reused = []
    for salt in ("acme", "other", "acme"):
        *_, end = engine.generate(shared(engine, "Who?", cache_salt=salt), SHORT)
        assert isinstance(end, Finished)
        reused.append(end.usage.reused_tokens > 0)
    assert reused == [False, False, True]


def test_memories_of_two_namespaces_share_nothing_those_of_one_do(checkpoint: Path) -> None:
    engine = engine_of(checkpoint)
    for namespace, session, shares in (("x", "a", False), ("y", "a", False), ("x", "b", True)):
        end = tell(opened(engine, namespace).session(session)).ask("Who?", params=SHORT)
        assert (end.usage.reused_tokens > 0) == shares


def test_what_is_kept_stays_within_the_budget_and_goes_when_the_engine_is_closed(
    checkpoint: Path,
) -> None:
    engine = engine_of(checkpoint)
    context = shared(engine, "Who?")
    list(engine.generate(context, SHORT))
    one = engine._prefixes.nbytes
    engine = engine_of(checkpoint, budget=2 * one)
    for number in range(4):
        list(engine.generate(Context(f"{number} {PINNED}", context.visual, context.tail), SHORT))
        assert 0 < engine._prefixes.nbytes <= 2 * one
    engine.close()
    assert engine._prefixes.nbytes == 0


DELETES: dict[str, Callable[[Session], object]] = {
    "delete": lambda session: session.delete(),
    "asynchronously": lambda session: __import__("asyncio").run(session.adelete()),
}


@pytest.mark.parametrize("way", DELETES)
def test_with_a_session_goes_what_was_kept_of_it(checkpoint: Path, way: str) -> None:
    engine = engine_of(checkpoint)
    memory = opened(engine)
    gone, stays = tell(memory.session("a")), memory.session("b")
    gone.ask("Who?", params=SHORT)
    with_one = engine._prefixes.nbytes
    stays.ask("Where does the ferry leave?", params=SHORT)
    assert engine._prefixes.nbytes > with_one
    DELETES[way](gone)
    assert len(engine._prefixes) == 1
    assert stays.ask("And when?", params=SHORT).usage.reused_tokens > 0


def test_threads_answer_as_one_after_the_other(checkpoint: Path) -> None:
    engine, fresh = engine_of(checkpoint, 0), engine_of(checkpoint, 0, budget=0)
    tails = [f"{name}, who keeps bees in winter?" for name in ("Anna", "Tom", "Miso", "Otto")]
    expected = [list(fresh.generate(shared(fresh, tail), LONGER))[-1] for tail in tails]
    assert any(end.usage.folds for end in expected if isinstance(end, Finished))
    found: dict[int, Finished] = {}

    def answer(place: int) -> None:
        for _ in range(3):
            events = list(engine.generate(shared(engine, tails[place]), LONGER))
            assert isinstance(events[-1], Finished)
            found[place] = events[-1]

    threads = [threading.Thread(target=answer, args=(place,)) for place in range(len(tails))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, wanted in enumerate(expected):
        assert isinstance(wanted, Finished)
        assert found[place].text == wanted.text
        assert found[place].usage.reused_tokens > 0
