"""Compiled decode steps: the same answers as plain ones, and nothing compiled after the opening.

The compiler's back end runs what was captured as it stands, so that tests are quick; what is
captured, guarded and compiled anew is what it is with the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from tests.support.checkpoints import small_model
from tests.support.tokenizers import small_tokenizer
from vist2_memory import Session, VisualMemory
from vist2_memory.engine import compiled
from vist2_memory.engine.compiled import MOST, CompiledSteps
from vist2_memory.engine.graphs import GraphedSteps, Replay
from vist2_memory.engine.kv import BLOCK, KVCache
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)
pytestmark = [
    pytest.mark.filterwarnings("default"),  # the compiler warns of its own parts
    pytest.mark.timeout(300),  # and takes its time on a busy machine
]

TAIL = f"{MARKS['user']}Who?{MARKS['assistant']}"
LONG = GenerationParams(max_tokens=60)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def engines(checkpoint: Path, **options: Any) -> list[TorchEngine]:
    """A plain one and one that compiles, whose answers go on until ``max_tokens``."""
    found = []
    for compile in (False, True):
        asked = EngineOptions(device="cpu", compile=compile, **options)
        engine = TorchEngine(checkpoint, keep_recent_chunks=1, options=asked)
        engine._never |= engine.stop_ids
        found.append(engine)
    return found


def graphs() -> int:
    """Graphs that were compiled so far."""
    return int(counters["stats"]["unique_graphs"])


def lived(session: Session) -> Iterator[Finished]:
    """Turns with folds, another answer, a stream that is closed, and an undo."""
    session.add("system", "Be kind.")
    session.add("user", "My cat is called Miso. " * 6)
    yield session.ask("What is my cat called?", params=LONG)
    yield session.ask("Who keeps bees?", params=LONG)
    yield session.regenerate(params=GenerationParams(max_tokens=30, temperature=1.0, seed=1))
    stream = session.stream("And now?", params=LONG)
    for _ in range(5):
        next(stream)
    stream.close()
    yield session.ask("And then?", params=LONG)


def test_a_session_says_the_same_and_compiles_nothing_as_it_grows(checkpoint: Path) -> None:
    said, seen = [], []
    for engine in engines(checkpoint):
        opened = graphs()
        with VisualMemory.open("memory://", model=engine) as memory:
            ends = list(lived(memory.session("a")))
        said.append([end.text for end in ends])
        seen.append((graphs() - opened, [end.usage for end in ends]))
    assert said[0] == said[1]
    assert seen[0] == seen[1]
    assert graphs() == 2
    assert sum(end.folds for end in seen[1][1]) > 10
    assert seen[1][1][1].reused_tokens > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"kv_dtype": "int8", "weights": "int8", "dtype": "bfloat16"}, 3),
        ({"weights": "int4", "kv_cache_bytes": 0}, 2),
    ],
)
def test_answers_are_the_same_in_other_formats(
    checkpoint: Path, options: dict[str, Any], kinds: int
) -> None:
    """Some tokens have a product of their own with weights in int8."""
    texts = []
    for engine in engines(checkpoint, **options):
        visual = tuple(engine.encode(engine.chunker.cut_all("My cat is called Miso. " * 4)))
        texts += [list(engine.generate(Context("", visual, TAIL), LONG))[-1].text]  # type: ignore[union-attr]
    assert texts[0] == texts[1]
    assert graphs() == kinds


def test_forks_of_one_memory_in_two_threads_go_their_own_ways(checkpoint: Path) -> None:
    plain, fast = engines(checkpoint)
    visual = tuple(plain.encode(plain.chunker.cut_all("My cat is called Miso. " * 4)))
    tails = [MARKS["user"] + said + MARKS["assistant"] for said in ("Who?", "And how old is she?")]
    contexts = [Context("", visual, tail) for tail in tails]
    memories = {engine: engine.prefill("", visual) for engine in (plain, fast)}

    def say(engine: TorchEngine, context: Context) -> str:
        return list(engine.generate(context, LONG, memories[engine]))[-1].text  # type: ignore[union-attr]

    found: dict[int, str] = {}

    def ask(n: int) -> Callable[[], None]:
        return lambda: found.update({n: say(fast, contexts[n])})

    threads = [threading.Thread(target=ask(n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(2)] == [say(plain, context) for context in contexts]
    assert graphs() == 2


@pytest.mark.slow
def test_models_do_not_use_up_each_others_compilations() -> None:
    with torch._dynamo.config.patch(recompile_limit=3):
        for seed in range(2):
            model = small_model(seed=seed).language_model
            steps = CompiledSteps(model)
            steps.warm_up()
            caches = KVCache(model), KVCache(model, steps=steps)
            torch.manual_seed(seed)
            for tokens in (5, 1, 7, MOST + 1, 1):
                embeds = torch.randn(tokens, 32)
                one, other = (cache.append(embeds) for cache in caches)
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert graphs() == 4


def test_recorded_steps_are_replayed_over_the_buffers_they_are_of() -> None:
    """Two sequences in turns, whose buffers grow; what stands for a CUDA graph runs as told."""
    recorded: list[int] = []

    def record(run: Callable[..., Tensor], given: Sequence[Tensor]) -> Replay:
        held = [tensor.clone() for tensor in given]
        recorded.append(len(held[0][0]))

        def replay(now: Sequence[Tensor]) -> Tensor:
            for own, new in zip(held, now, strict=True):
                own.copy_(new)
            return run(*held)

        return replay

    model = small_model().language_model
    steps = GraphedSteps(model, record=record)
    steps.warm_up()
    pairs = [(KVCache(model), KVCache(model, steps=steps)) for _ in range(2)]
    for turn in range(BLOCK):  # beyond the first buffers
        for number, pair in enumerate(pairs):
            torch.manual_seed(turn + 1000 * number)
            embeds = torch.randn(1 if turn % 40 else 30, 32)
            one, other = (cache.append(embeds) for cache in pair)
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert set(recorded) == {1, 30}
    assert 4 <= len(recorded) <= 10  # of 250 steps
    assert graphs() == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.timeout(600)
def test_on_a_gpu_answers_are_those_of_plain_steps(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    said = []
    for compile in (False, True):
        options = EngineOptions(device="cuda", dtype="float32", compile=compile)
        engine = TorchEngine(checkpoint, keep_recent_chunks=1, options=options)
        with VisualMemory.open("memory://", model=engine) as memory:
            said.append([end.text for end in lived(memory.session("a"))])
    assert said[0] == said[1]


def test_keys_and_values_in_fp8_are_refused(checkpoint: Path) -> None:
    options = EngineOptions(device="cpu", compile=True, kv_dtype="fp8")
    with pytest.raises(InvalidInputError, match=r"kv_dtype='fp8'.*leave one of them out"):
        TorchEngine(checkpoint, options=options)


def test_what_cannot_be_compiled_is_told_at_the_opening(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    with pytest.raises(ModelError, match=r"no C\+\+ compiler was found.*or leave compile out"):
        TorchEngine(checkpoint, options=EngineOptions(device="cpu", compile=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_real_compiler_computes_the_same(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    plain, fast = engines(checkpoint)
    ids = small_tokenizer().encode("They don't like rain, and it rained for 23 days. " * 2)
    caches = [engine.prefill("", ()) for engine in (plain, fast)]
    for part in (ids[:9], ids[9:10], ids[10:14], ids[14:15]):
        one, other = (cache.append(plain.encoder.embed(part).detach()) for cache in caches)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    said = []
    for engine in (plain, fast):
        *_, end = engine.generate(Context("", (), TAIL), LONG)
        assert isinstance(end, Finished)
        said.append((end.text, end.usage))
    assert said[0] == said[1]
    assert said[0][1].folds > 4
    assert graphs() == 2
