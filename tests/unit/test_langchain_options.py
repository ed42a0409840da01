"""Options of ChatVIST2 beside sessions and tools: sampling, several answers, secrets, errors."""

from __future__ import annotations

import base64
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core import exceptions as theirs
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import SecretStr

from langchain_vist2 import ChatVIST2
from langchain_vist2.errors import told_as_langchains
from tests.support.plain import PlainEngine
from tests.support.scripted import ANSWER, Scripted, held
from vist2_memory import errors as ours
from vist2_memory.store import InMemoryStore
from vist2_memory.store.sealed import SealedStore

pytest_plugins = ("tests.support.scripted_fixtures",)

KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def alone(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted)


# Several answers, log probabilities


async def test_several_answers(scripted: Scripted, alone: ChatVIST2) -> None:
    scripted.answers = ["one", "two", "three", "four"]
    [generations] = alone.generate([[HumanMessage("q")]], n=3, seed=5).generations
    assert [generation.text for generation in generations] == ["one", "two", "three"]
    assert [params.seed for params in scripted.params] == [5, 6, 7]
    own = ChatVIST2(model=scripted, n=2)
    [generations] = (await own.agenerate([[HumanMessage("q")]])).generations
    assert [generation.text for generation in generations] == ["four", ANSWER]
    with pytest.raises(ValueError, match="n=2 answers cannot be streamed"):
        list(own.stream("q"))
    with pytest.raises(ValueError, match="n=0 is not allowed"):
        alone.invoke("q", n=0)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 2}, 2),
        ({"top_logprobs": 2}, 2),
        ({"logprobs": False, "top_logprobs": 2}, None),
    ],
)
def test_logprobs_are_asked_for(
    scripted: Scripted, alone: ChatVIST2, options: dict[str, Any], asked: int | None
) -> None:
    alone.invoke("q", **options)
    ChatVIST2(model=scripted, **options).invoke("q")
    assert [params.logprobs for params in scripted.params] == [asked, asked]


@pytest.mark.filterwarnings("ignore:.*is in beta")
def test_logprobs_are_told_as_openai_tells_them(scripted: Scripted, alone: ChatVIST2) -> None:
    options = {"logprobs": True, "top_logprobs": 1}
    scripted.answers = ["é b"] * 3
    first = {"token": "é ", "bytes": [195, 169, 32], "logprob": -2.0}
    top = [{"token": "other", "bytes": list(b"other"), "logprob": -9.0}]
    chunks = list(alone.stream("q", **options))
    streamed = chunks[0]
    for chunk in chunks[1:]:
        streamed += chunk
    events = alone.stream_events("q", version="v3", **options).output
    for message in (alone.invoke("q", **options), streamed, events):
        content = message.response_metadata["logprobs"]["content"]
        assert content[0] == {**first, "top_logprobs": top}
        assert [token["token"] for token in content] == ["é ", "b"]
    assert "logprobs" not in alone.invoke("q").response_metadata


# What a call costs, and what LangChain does about it


def test_text_tokens_stand_beside_the_details_and_add_up(alone: ChatVIST2) -> None:
    answer = alone.invoke("a word and another word and one more, " * 10)
    usage: Any = answer.usage_metadata
    assert usage["text_tokens"] == answer.response_metadata["text_tokens"] > usage["input_tokens"]
    details = usage["input_token_details"]
    assert details["cache_creation"] == answer.response_metadata["visual_tokens"] > 0
    assert sum(details.values()) <= usage["input_tokens"]
    chunk = list(alone.stream("a word and another word and one more, " * 10))[-1]
    assert chunk.usage_metadata is not None
    assert chunk.usage_metadata["input_token_details"]["cache_read"] == details["cache_creation"]
    assert (chunk + chunk).usage_metadata["text_tokens"] == 2 * usage["text_tokens"]  # type: ignore[operator, union-attr, typeddict-item]


class Counter(BaseRateLimiter):
    def __init__(self) -> None:
        self.calls = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.calls += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


async def test_rate_limiter_is_asked_once_a_call(scripted: Scripted) -> None:
    limiter = Counter()
    llm = ChatVIST2(model=scripted, rate_limiter=limiter, cache=InMemoryCache())
    llm.invoke("q")
    llm.invoke("q")  # from the cache
    await llm.ainvoke("p")
    list(llm.stream("q"))
    async for _ in llm.astream("q"):
        pass
    assert limiter.calls == 4
    assert len(scripted.contexts) == 4


def test_the_cache_tells_apart_what_answers_depend_on(scripted: Scripted) -> None:
    cache = InMemoryCache()
    other = Scripted("Something else.")
    first, second = ChatVIST2(model=scripted, cache=cache), ChatVIST2(model=other, cache=cache)
    assert first.invoke("q").content == ANSWER
    assert second.invoke("q").content == "Something else."
    first.invoke("q", temperature=0.5)
    first.bind_tools([base64.b64encode]).invoke("q")
    first.memory.collection("books").add_documents(["A document."])
    for _ in range(2):
        first.invoke("q", include=["books"])  # may have changed
    assert len(scripted.contexts) == 5
    assert first.invoke("q").content == ANSWER
    assert len(scripted.contexts) == 5


# Secrets


def test_keys_are_secret_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = ChatVIST2(model=PlainEngine(), store="memory://", key=KEY, session_id="s")
    assert isinstance(llm.key, SecretStr)
    llm.invoke("Hello")
    assert isinstance(llm.memory.store, SealedStore)
    for shown in (repr(llm), str(dumpd(llm)), str(llm.asdict())):
        assert KEY not in shown
    several = ChatVIST2(model=PlainEngine(), store="memory://", encryption_keys=[KEY, KEY])
    assert several.encryption_keys == SecretStr(f"{KEY},{KEY}")
    llm.close()


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_url_with_a_login_and_keys_come_back_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "redis://me:hush@localhost:6379/0"
    llm = ChatVIST2(store=url, key=KEY)
    assert llm.store == SecretStr(url)
    dumped = dumpd(llm)
    assert "hush" not in str(dumped)
    monkeypatch.setenv("VIST2_STORE", url)
    monkeypatch.setenv("VIST2_STORE_KEY", KEY)
    again = load(
        dumped,
        valid_namespaces=["langchain_vist2"],
        allowed_objects=[ChatVIST2],
        secrets_from_env=True,
    )
    assert (again.store, again.key) == (llm.store, llm.key)


# Errors


@pytest.mark.parametrize(
    ("error", "theirs_too"),
    [
        (ours.ContextOverflowError("x"), theirs.ContextOverflowError),
        (ours.InvalidMessageError("x"), theirs.ModelInvalidRequestError),
        (ours.InvalidScopeError("x"), theirs.ModelInvalidRequestError),
        (ours.ConflictError("x"), theirs.ModelInvalidRequestError),
        (ours.ModelNotFoundError("x"), theirs.ModelNotFoundError),
        (ours.StoreUnavailableError("x", retry_after=3.0), theirs.ModelConnectionError),
    ],
)
def test_errors_are_of_both_kinds(error: ours.Vist2Error, theirs_too: type[Exception]) -> None:
    with pytest.raises(type(error), match="x") as caught, told_as_langchains():
        raise error
    assert isinstance(caught.value, theirs_too)
    assert vars(caught.value) == vars(error)
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ours.TamperedError) as caught, told_as_langchains():
        raise ours.TamperedError("x")
    assert type(caught.value) is ours.TamperedError


async def test_a_question_too_long_is_a_context_overflow_of_both_kinds() -> None:
    scripted = Scripted(*[ours.ContextOverflowError("too long")] * 2)
    for session in (None, "s"):
        llm = ChatVIST2(model=scripted, store="memory://", session_id=session)
        with pytest.raises(theirs.ContextOverflowError, match="too long"):
            llm.invoke("q")
    with pytest.raises(theirs.ModelNotFoundError, match="no model"):
        ChatVIST2(model="gpt-4").invoke("q")
    with pytest.raises(theirs.ModelInvalidRequestError):
        await ChatVIST2(model=Scripted(), store="memory://").ainvoke("q", session_id="")


# What a model can do


def test_profile(scripted: Scripted) -> None:
    profile = ChatVIST2().profile
    assert profile is not None
    assert profile["name"] == "vist2-tiny"
    assert profile["max_input_tokens"] > 8192  # more than it reads, since it is compressed
    assert profile["tool_calling"]
    assert profile["structured_output"]
    assert not profile["image_inputs"]
    scripted = ChatVIST2(model=scripted).profile
    assert scripted is not None
    assert scripted["max_input_tokens"] == 1000 * 4 + 1000  # 8 words are 2 visual tokens
    assert ChatVIST2(model="owner/not-here").profile is None  # nothing is fetched for it
    assert ChatVIST2(profile={"max_input_tokens": 7}).profile == {"max_input_tokens": 7}


def test_tokens_of_tools_and_calls_are_counted(alone: ChatVIST2) -> None:
    def look_up(what: str) -> str:
        """Looks it up."""
        return what

    call = {"name": "look_up", "args": {"what": "cats"}, "id": "c1", "type": "tool_call"}
    asked = [HumanMessage("one two"), AIMessage("", tool_calls=[call])]  # type: ignore[list-item]
    answered = [*asked, ToolMessage("three", tool_call_id="c1")]
    counts = [
        alone.get_num_tokens_from_messages(asked[:1]),
        alone.get_num_tokens_from_messages(asked),  # type: ignore[arg-type]
        alone.get_num_tokens_from_messages(answered),
        alone.get_num_tokens_from_messages(answered, tools=[look_up]),
    ]
    assert counts == sorted(set(counts))
    assert counts[0] == 2


# Images


def test_images_are_named_to_the_model_if_that_is_wanted(scripted: Scripted) -> None:
    url = "https://example.org/cat.png"
    message = HumanMessage([{"type": "text", "text": "Who is it?"}, {"type": "image", "url": url}])
    llm = ChatVIST2(model=scripted, store="memory://", media="placeholder", session_id="s")
    with pytest.warns(UserWarning, match="reads text only"):
        llm.invoke([message])
    question = held(llm)[0][1]
    assert question.startswith("Who is it?[image")
    assert question in scripted.contexts[0].tail
    for session in (None, "t"):
        with pytest.raises(ours.InvalidMessageError, match="media='placeholder'"):
            llm.invoke([message], media="error", session_id=session or "u")


# Opening and closing


def test_closing_closes_what_calls_without_a_session_opened(tmp_path: Path) -> None:
    scripted = PlainEngine()
    llm = ChatVIST2(model=scripted, store=f"sqlite:///{tmp_path / 'm.db'}")
    llm.invoke("a word and another word and one more, " * 10)
    encoded = len(scripted.encoded)
    assert encoded > 0
    llm.close()
    llm.invoke("a word and another word and one more, " * 10)
    assert len(scripted.encoded) == encoded  # found in the store again
    llm.close()


def test_a_store_object_that_keeps_for_ever_gets_nothing_without_a_session() -> None:
    store = InMemoryStore()
    llm = ChatVIST2(model=PlainEngine(), store=store)
    llm.invoke("a word and another word and one more, " * 10)
    assert store.scopes("default", "session") == []
    assert store._shelves == {}
    assert os.environ.get("VIST2_STORE") is None
