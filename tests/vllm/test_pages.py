"""Stock vision-language families: what vLLM says of encoded pages, and what this process says.

Each family takes half a minute to start. VIST2_VLLM_FAMILIES="qwen2_vl qwen2_5_vl" tries others;
Qwen2.5-VL is on the server of test_pages_server.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.on_vllm import Recording, Said, said
from tests.support.vlm_families import SAMPLES, save_family
from tests.vllm.stories import STORY, context_of, endless_pages
from vist2_memory import InvalidInputError, VisualMemory
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.vllm.pages import VLLMPagesEngine
from vist2_memory.engine.vllm.requests import Paged
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.text.transcript import write_message
from vist2_memory.types import ChunkFolded, Context, GenerationParams, TextDelta

pytestmark = pytest.mark.timeout(300)
FAMILIES = os.environ.get("VIST2_VLLM_FAMILIES", "qwen3_vl glm4v internvl").split()


@dataclass(frozen=True)
class Pair:
    """One model, in vLLM and in this process."""

    vllm: VLLMPagesEngine
    torch: VLMEngine


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """One family runs at a time, since each has processes of its own."""
    running: dict[str, Pair] = {}

    def pair(kind: str) -> Pair:
        if kind not in running:
            for old in running.values():
                old.vllm.close()
            running.clear()
            folder = save_family(tmp_path_factory.mktemp(kind), kind)
            settings: dict[str, Any] = {"page": SAMPLES[kind].page, "chunk_tokens": 24}
            settings |= {"keep_recent": 16}
            options = EngineOptions(kv_cache_bytes=2**26)
            running[kind] = Pair(
                VLLMPagesEngine(folder, options=options, **settings),
                VLMEngine(folder, device="cpu", **settings),
            )
        return running[kind]

    yield pair
    for old in running.values():
        old.vllm.close()


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request: pytest.FixtureRequest, start: Callable[[str], Pair]) -> Pair:
    """Nothing ends an answer before its last token."""
    found = start(request.param)
    endless_pages(found.vllm, found.torch)
    return found


def test_the_spec_is_that_of_the_in_process_engine(pair: Pair) -> None:
    assert pair.vllm.spec == pair.torch.spec
    one, other = (context_of(engine).visual for engine in (pair.vllm, pair.torch))
    assert [page.values.tobytes() for page in one] == [page.values.tobytes() for page in other]


def test_greedy_tokens_and_logprobs_over_folds(pair: Pair) -> None:
    context, params = context_of(pair.torch), GenerationParams(max_tokens=90, logprobs=3)
    ours, theirs = said(pair.vllm, context, params), said(pair.torch, context, params)
    assert ours.text == theirs.text
    assert ours.folded == theirs.folded
    assert len(ours.folded) >= 2
    assert len(ours.logprobs) == len(theirs.logprobs) > 60
    for one, other in zip(ours.logprobs, theirs.logprobs, strict=True):
        assert one.bytes == other.bytes
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
        assert [top.logprob for top in one.top] == pytest.approx(
            [top.logprob for top in other.top], abs=1e-3
        )


def test_the_next_turn_finds_its_pages_in_the_cache_and_other_salts_do_not(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(pair.vllm.transport)
    monkeypatch.setattr(pair.vllm, "transport", recording)

    before = 0

    def found(context: Context) -> tuple[int | None, set[str], str]:
        """Tokens that were in the cache, the names of the pages, and the answer."""
        nonlocal before
        recording.requests.clear()
        recording.cached.clear()
        text = said(pair.vllm, context, GenerationParams(max_tokens=4)).text
        read = recording.requests[0].read
        assert isinstance(read, Paged)
        before = read.images[0].offset
        return recording.cached[0], {image.name for image in read.images}, text

    context = context_of(pair.torch, 4, salt="tenant-1")
    question = write_message("user", "And cats?") + write_message("assistant", "")
    first, names, text = found(context)
    again, same_names, _ = found(replace(context, tail=context.tail + question))
    other, other_names, same_text = found(replace(context, cache_salt="tenant-2"))
    changed, _, _ = found(context_of(pair.torch, 4, salt="tenant-1", first="Not so. "))
    assert first == other == 0
    assert (again or 0) >= sum(map(len, context.visual[:3])) > 0
    assert (changed or 0) <= before  # the pages are others
    assert text == same_text
    assert names == same_names
    assert not names & other_names


def test_many_at_once_say_what_each_says_alone(pair: Pair) -> None:
    params = GenerationParams(max_tokens=30, logprobs=0)
    contexts = [
        context_of(pair.torch, 2, salt=f"s{number}", first=f"It was {number} o'clock. ")
        for number in range(8)
    ]
    alone = [said(pair.torch, context, params) for context in contexts]
    with ThreadPoolExecutor(len(contexts)) as pool:
        together: list[Said] = list(pool.map(lambda one: said(pair.vllm, one, params), contexts))
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    begun = [answer.logprobs[0].logprob for answer in together]
    assert begun == pytest.approx([answer.logprobs[0].logprob for answer in alone], abs=1e-3)
    assert len({round(one, 3) for one in begun}) > 1


def test_an_answer_that_is_left_is_aborted(pair: Pair) -> None:
    from tests.vllm.metrics import waits_until_idle

    events = pair.vllm.generate(context_of(pair.torch), GenerationParams(max_tokens=500))
    assert any(isinstance(event, TextDelta) for event in events)
    events.close()  # type: ignore[attr-defined]
    assert waits_until_idle(pair.vllm)


def test_turns_of_a_memory_in_redis(pair: Pair, redis_url: str) -> None:
    """The pages that one engine stored are those that the other reads."""
    answers = []
    for engine in (pair.vllm, pair.torch):
        namespace = f"{pair.vllm.spec.model}-{type(engine).__name__}"
        with VisualMemory.open(redis_url, model=engine, namespace=namespace) as memory:
            session = memory.session("user")
            session.add("user", STORY)
            texts, folds = [], 0
            for question in ("Who had boats?", "And cats?", "Where?"):
                params = GenerationParams(max_tokens=30)
                events = list(session.stream(question, params=params))
                folds += sum(isinstance(event, ChunkFolded) for event in events)
                texts.append(session.messages()[-1].text)
            answers.append((texts, folds))
    assert answers[0] == answers[1]
    assert answers[0][1] > 0


def test_json_by_a_schema(start: Callable[[str], Pair]) -> None:
    pair = start(FAMILIES[-1])  # which runs still
    schema = {"properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    params = GenerationParams(max_tokens=60, schema={"type": "object", **schema})
    context = context_of(pair.torch)
    assert said(pair.vllm, context, params).text == said(pair.torch, context, params).text


def test_gemma_3_is_refused_by_name(tmp_path: Path) -> None:
    folder = save_family(tmp_path / "gemma3", "gemma3")

    with (
        VisualMemory.open("memory://", model=folder, engine="vllm") as memory,
        pytest.raises(InvalidInputError, match="takes no encoded images for Gemma 3"),
    ):
        _ = memory.engine
