"""The engine on vLLM behind memories and chat models, and for many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from langchain_core.messages import HumanMessage

from langchain_vist2 import ChatVIST2
from tests.support.on_vllm import context_of, endless, said
from vist2_memory import VisualMemory
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.engine import VLLMEngine
from vist2_memory.types import ChunkFolded, GenerationParams

pytestmark = pytest.mark.timeout(300)
SESSIONS = 32
_OPENINGS = (
    " the sea",
    " my brother",
    " in winter",
    " why",
    " a king",
    " bread and",
    " seven",
    " no",
)
_FACTS = (
    "My cat is called Miso, she is seven years old and sleeps on the piano.",
    "My brother Jonas lives at 12 Harbour Street and repairs old radios there.",
    "On Friday we take the night train to Trieste and come back with coffee.",
) * 3


def test_many_at_once_say_what_each_says_alone(
    reference: TorchEngine, vllm_engine: VLLMEngine
) -> None:
    """Each has a memory of its own, and folds."""
    params = GenerationParams(max_tokens=30)
    contexts = []
    for number in range(SESSIONS):
        context = context_of(reference, 2, salt=f"s{number}", first=number, full=True)
        tail = context.tail + _OPENINGS[number % len(_OPENINGS)]
        contexts.append(replace(context, tail=tail))
    with endless(reference, vllm_engine):
        alone = [said(reference, context, params) for context in contexts]
        with ThreadPoolExecutor(SESSIONS) as pool:
            together = list(pool.map(lambda one: said(vllm_engine, one, params), contexts))
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(answer.folded for answer in together)
    assert len({answer.text for answer in together}) > len(_OPENINGS) // 2


def test_a_memory_in_redis(vllm_engine: VLLMEngine, reference: TorchEngine, redis_url: str) -> None:
    """The tensors that one engine stored are those that the other reads."""
    answers = []
    for engine in (vllm_engine, reference):
        with VisualMemory.open(redis_url, model=engine, namespace=f"{type(engine)}") as memory:
            session = memory.session("user")
            for fact in _FACTS:
                session.add("user", fact)
            reply = session.ask("What is my cat called?", params=GenerationParams(max_tokens=60))
            events = session.stream("And then?", params=GenerationParams(max_tokens=90))
            folded = [event.chunk.text for event in events if isinstance(event, ChunkFolded)]
            answers.append((reply.text, folded))
            assert reply.usage.visual_tokens > 0
            assert not reply.degraded
    assert answers[0] == answers[1]


def test_a_chat_model(vllm_engine: VLLMEngine, reference: TorchEngine, redis_url: str) -> None:
    texts = []
    for engine in (vllm_engine, reference):
        llm = ChatVIST2(model=engine, store=redis_url, namespace=f"chat-{type(engine).__name__}")
        bound = llm.bind(session_id="user")
        bound.invoke([HumanMessage(" ".join(_FACTS))])
        texts.append("".join(str(part.content) for part in bound.stream("Where does Jonas live?")))
        llm.close()
    assert texts[0] == texts[1] != ""
