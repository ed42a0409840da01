"""``ChatVIST2``: a chat model whose conversations are kept as visual tokens.

A call goes through three modules: what it asks for (``options``), where its answer comes from
(``answers``), and the answer as LangChain's chunks (``replies``).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field, field_validator, model_validator

from langchain_vist2.chat.answers import Answer
from langchain_vist2.chat.opened import Opened
from langchain_vist2.chat.options import PARAMS, SETTINGS, Asked, Shown, asked
from langchain_vist2.chat.replies import Reply
from langchain_vist2.chat.served import ServedAnswer
from langchain_vist2.chat.spans import Parent, Traced, async_observer_of, observer_of
from langchain_vist2.chat.structured import Method, structured
from langchain_vist2.chat.tooling import Schema, ToolLike, as_openai
from langchain_vist2.errors import InvalidInputError, told_as_langchains
from langchain_vist2.messages import to_entries
from vist2_memory import __version__
from vist2_memory.engine.base import Engine
from vist2_memory.memory.conversing import OnConflict
from vist2_memory.memory.openai_form import choice_of, tool_of
from vist2_memory.text.tools import write_tools
from vist2_memory.text.transcript import write_message
from vist2_memory.tracing import watched, watching


class ChatVIST2(Traced, Opened):
    """A VIST2 model with memory, in this process or on a server (``base_url``).

    With a ``session_id``, given here, by ``.bind(session_id=...)`` or with the call, the
    conversation is kept in ``store``, and a chain need send only what is new; what becomes of a
    message list, and when it is a ``ConflictError``, is said in
    ``vist2_memory.memory.continuation``. Without one it is an ordinary chat model: the list is all
    it knows, its older messages as visual tokens, and it is logged nowhere.

    Store and model are opened when they are first needed, once, and freed by :meth:`close`. Every
    field from ``max_tokens`` on can be given with a call too. So can ``include``: collections, or
    names of some in the memory, whose documents are read before the conversation, and where not all
    of it fits ``selection``, ``pins`` and ``budget``, as for ``Session.ask``.

    Raises what the library raises, as LangChain's errors too (``langchain_vist2.errors``), e.g.
    ``InvalidMessageError`` for images and for a list that ends with neither a human message nor the
    result of a tool, and ``ContextOverflowError`` for a question too long to be read.
    """

    max_tokens: int = 256
    """New text tokens at most."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Above 0 and at most 1, which is off."""
    top_k: int = 0
    """0 is off."""
    seed: int | None = None
    """Makes sampling repeatable."""
    stop: list[str] = Field(default_factory=list)
    """Texts before which the answer ends."""
    n: int = 1
    """Answers to one question; several only without a session and not streamed."""
    exact_quotes: bool = True
    """Whether what a model quotes of the memory is held to its text: see ``GenerationParams``."""
    logprobs: bool | None = None
    """Whether to tell the log probabilities of tokens, in ``response_metadata["logprobs"]``."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens at each place to tell beside."""
    session_id: str | None = None
    """The session of every call that does not name one; None: no memory."""
    on_conflict: OnConflict = "raise"
    """What becomes of a list that contradicts its session: an error, or with ``"fork"`` a branch of
    the session, whose id is in ``response_metadata["session_id"]``."""
    keep_recent: int | None = None
    """Without a session: how many of the last messages to keep as text; None: the model's rule."""
    media: Shown = "error"
    """What becomes of images, files and audio in messages, which the model does not see: an error,
    or with ``"placeholder"`` their names in their place, and a warning."""
    streaming: bool = False
    """Whether ``invoke`` tells its callbacks of every piece of text."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_or_none(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value or []

    @model_validator(mode="after")
    def _check_options(self) -> ChatVIST2:
        self._asked(None, {})
        return self

    @model_validator(mode="after")
    def _set_vist2_version(self) -> ChatVIST2:
        self._add_version("vist2-memory", __version__)
        return self

    # Answering

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        calls = self._each_alone(stop, kwargs)
        parent = Parent.of(run_manager)
        return _joined([generate_from_stream(self._chunks(one, messages, parent)) for one in calls])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        calls = self._each_alone(stop, kwargs)
        parent = Parent.of(run_manager)
        results = []
        for one in calls:
            chunks = [chunk async for chunk in self._achunks(one, messages, parent)]
            results.append(generate_from_stream(iter(chunks)))
        return _joined(results)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = _one(self._asked(stop, kwargs))
        for chunk in self._chunks(call, messages, Parent.of(run_manager)):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = _one(self._asked(stop, kwargs))
        async with aclosing(self._achunks(call, messages, Parent.of(run_manager))) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _chunks(
        self, call: Asked, messages: Sequence[BaseMessage], parent: Parent | None
    ) -> Iterator[ChatGenerationChunk]:
        with told_as_langchains():
            observer = observer_of(parent)
            answer = self._answer(call, messages)
            with watching(observer):
                events = answer.events()
            reply = Reply(answer.model_name, answer.session_id, answer.turn)
            for event in watched(events, observer):
                if chunk := reply.chunk(event):
                    yield chunk

    async def _achunks(
        self, call: Asked, messages: Sequence[BaseMessage], parent: Parent | None
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        with told_as_langchains():
            answer = self._answer(call, messages)
            async with async_observer_of(parent) as observer:
                with watching(observer):
                    events = await answer.aevents()
                reply = Reply(answer.model_name, answer.session_id, answer.turn)
                async with aclosing(events):  # a cancelled call stops its generation now
                    async for event in events:
                        if chunk := reply.chunk(event):
                            yield chunk

    def _answer(self, call: Asked, messages: Sequence[BaseMessage]) -> Answer | ServedAnswer:
        entries = to_entries(messages, call.media)
        if self.base_url is None:
            return Answer(self, call, entries)
        model = self.model if isinstance(self.model, str) else None
        return ServedAnswer(self.client, model, call, entries)

    def _asked(self, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> Asked:
        return asked(self, stop, kwargs)

    def _each_alone(self, stop: Sequence[str] | None, kwargs: Mapping[str, Any]) -> list[Asked]:
        """A call for ``n`` answers as calls for one; each with a seed of its own."""
        call = self._asked(stop, kwargs)
        seed = call.params.seed
        seeds = [None if seed is None else seed + number for number in range(call.n)]
        return [replace(call, n=1, params=replace(call.params, seed=own)) for own in seeds]

    # Tools and forms

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with ``tools``: functions, pydantic classes, tools, or dicts of them.

        ``tool_choice``: ``"auto"`` (the model's choice, as None), ``"any"``, ``"required"`` or True
        (at least one call), ``"none"``, or the name of a tool that must be called, also in a dict.
        ``parallel_tool_calls``: whether one answer may have several calls; it may if None.
        ``strict`` changes nothing: a call always matches its tool's parameters.
        ``response_format``: the form of an answer that is no call, see `with_structured_output`.
        Raises ``InvalidInputError`` for what is no function, and for a name that none has.
        """
        formatted = [as_openai(tool) for tool in tools]
        names = [tool["function"]["name"] for tool in formatted]
        if (choice := choice_of(tool_choice, names)) != "auto":
            kwargs["tool_choice"] = choice
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if response_format is not None:
            kwargs["response_format"] = response_format
        return self.bind(tools=formatted, **kwargs)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[ToolLike] = (),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model with answers of the form ``schema``, parsed.

        ``schema``: a pydantic class (answers are instances of it), a TypedDict, a JSON schema or a
        tool (answers are dicts). ``method``: see ``langchain_vist2.chat.structured``.
        ``include_raw``: a dict of the message (``raw``), what it holds (``parsed``), and the
        ``parsing_error`` if there is one, which is raised else. ``strict`` changes nothing:
        answers always match.
        ``tools`` may be called instead of answering. Raises ``InvalidInputError`` for a schema or
        a method that is none.
        """
        return structured(self, schema, method, include_raw, strict, tools, kwargs)

    # Counting

    def get_num_tokens(self, text: str) -> int:
        """Text tokens of ``text``, by the model's own tokenizer."""
        return self.engine.chunker.count(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Text tokens of ``messages`` as they stand in a transcript, before any is compressed.

        Those of ``tools`` are counted as the model is told of them.
        """
        said = [
            write_message(entry.role, entry.text, (call.text for call in entry.calls))
            for entry in to_entries(messages, "keep")
        ]
        if tools:
            told = write_tools([tool_of(as_openai(tool)) for tool in tools])
            said.append(write_message("system", told))
        return sum(map(self.get_num_tokens, said))

    def get_token_ids(self, text: str) -> list[int]:
        """The base class's, with ``custom_get_token_ids``; the model's own ids are not for callers.

        Without that LangChain would load GPT-2's tokenizer, whose counts are wrong here.
        """
        if self.custom_get_token_ids is None:
            raise NotImplementedError("ChatVIST2 counts tokens (get_num_tokens), it has no ids")
        return self.custom_get_token_ids(text)

    # What LangChain asks

    @property
    def _llm_type(self) -> str:
        return "vist2"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        own = ("ratio", "namespace", "ttl", "device", *PARAMS, "stop", *SETTINGS)
        return {
            "model": self._model_name,
            "store": self._described_store(),
            **{name: getattr(self, name) for name in own},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=self.stop if stop is None else stop, **kwargs)
        return {"ls_model_name": self._model_name, **params, "ls_provider": "vist2"}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key in LangChain's cache; no two calls share one whose answer depends on more.

        As where a session is to be told, or documents are read that others may change.
        """
        key = super()._get_llm_string(stop=stop, **kwargs)
        if isinstance(self.model, Engine):  # which is not part of the key by itself
            key += f"---{self.model.spec.model} {id(self.model):x}"
        call = self._asked(stop, kwargs)
        unknown = call.visual_context is not None and not call.visual_context.digest
        if call.include or unknown or (call.session_id and not call.visual_context):
            return f"{key}---{uuid.uuid4().hex}"
        return key


def _one(call: Asked) -> Asked:
    if call.n > 1:
        raise InvalidInputError(f"n={call.n} answers cannot be streamed: use generate, or n=1")
    return call


def _joined(results: Sequence[ChatResult]) -> ChatResult:
    """Results of one answer each as one of several."""
    return ChatResult(generations=[one for result in results for one in result.generations])
