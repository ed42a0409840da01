"""``VisualHistory``: a session's memory as messages with images, for any multimodal chat model.

``history | ChatOpenAI(...) | history.answers()`` remembers: what is new is added to the session,
the model is sent old pages as images and recent messages as text, and its answer is added too. The
session must be of a memory that was opened with ``pages:`` and a provider.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    message_chunk_to_message,
)
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator

from langchain_vist2.messages import to_entries, to_entry
from vist2_memory import Collection, Session
from vist2_memory.errors import InvalidMessageError, ModelError
from vist2_memory.memory.continuation import Continuation, continuation
from vist2_memory.memory.delivery import Delivery, Room, Said
from vist2_memory.memory.entries import Entry

PAGES = (
    "These pages are the record of the conversation and its documents so far, oldest first. Read "
    "them as memory: each line belongs to whom it names."
)
CONTINUED = "(continued from the last page) "


class VisualHistory(Runnable[Any, list[BaseMessage]]):
    """A message list, a prompt or a text goes in; what a hosted model is to be sent comes out.

    What becomes of a message list is said in ``vist2_memory.memory.continuation``: sending only
    what is new, or the whole conversation each time, are both right, and no turn is doubled.
    """

    def __init__(
        self, session: Session, *, include: Sequence[Collection] = (), room: Room | None = None
    ) -> None:
        """``include``: documents to be read before the conversation. ``room``: what may be sent."""
        self.session = session
        self.include = tuple(include)
        self.room = room

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        """Add what is new to the session; the messages to send.

        Raises ``ConflictError`` for a list that contradicts the session, ``InvalidMessageError``
        for one that holds more than text or does not end with a human message, and ``ModelError``
        for a session that cannot be delivered.
        """
        return self._call_with_config(self._messages, input, config)

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        """:meth:`invoke`, without blocking the event loop."""

        async def messages(given: Any) -> list[BaseMessage]:
            return await asyncio.to_thread(self._messages, given)

        return await self._acall_with_config(messages, input, config)

    def answers(self) -> Runnable[BaseMessage, BaseMessage]:
        """Adds the model's answer to the session and passes it on; streams as the model does.

        The first answer to a question stays: another one is passed on and not added. An answer
        belongs to the newest question: ask one at a time in a session. Raises ``ModelError`` where
        the model streams nothing at all.
        """

        def keep(chunks: Iterator[BaseMessage]) -> Iterator[BaseMessage]:
            seen = []
            for chunk in chunks:
                seen.append(chunk)
                yield chunk
            self._keep(seen)

        async def akeep(chunks: AsyncIterator[BaseMessage]) -> AsyncIterator[BaseMessage]:
            seen = []
            async for chunk in chunks:
                seen.append(chunk)
                yield chunk
            await asyncio.to_thread(self._keep, seen)

        return RunnableGenerator(keep, akeep)

    def _messages(self, given: Any) -> list[BaseMessage]:
        plan = continuation(self.session.messages(), to_entries(_as_messages(given)))
        for new in plan.added:
            self.session.add(new.entry.role, new.entry.text, **new.options)
        if plan.question is not None and not plan.again:
            question, turn = plan.question, plan.turn
            id, payload = f"{turn}:q", question.payload
            self.session.add("user", question.text, id=id, turn=turn, payload=payload)
        return to_messages(self.session.deliver(include=self.include, room=self.room), plan)

    def _keep(self, seen: Sequence[BaseMessage]) -> None:
        answer: Any = reduce(add, seen) if seen else None
        if answer is None:  # which is what LangChain makes of an empty stream
            raise ModelError(
                f"the model of session {self.session.id!r} answered nothing at all, not even an "
                "empty message: the question is left unanswered"
            )
        entry = _kept(message_chunk_to_message(answer))
        messages = self.session.messages()
        turn = next(m.turn for m in reversed(messages) if m.role == "user")
        if entry.silent or messages[-1].role == "assistant":
            return
        earlier = sum(m.role == "assistant" and m.turn == turn for m in messages)
        id = f"{turn}:a{earlier or ''}"
        self.session.add(entry.role, entry.text, id=id, turn=turn, payload=entry.payload)


def to_messages(delivery: Delivery, plan: Continuation | None = None) -> list[BaseMessage]:
    """``delivery`` as LangChain's messages, images as standard content blocks.

    What stands before the newest page is the same bytes from turn to turn, so that a provider's
    prompt cache can keep it. ``plan``: a question that was answered already is asked again.
    """
    messages: list[BaseMessage] = [SystemMessage(text) for text in delivery.system]
    after = [delivery.verbatim] if delivery.verbatim else []
    if delivery.left_out_pages:
        after.append(
            f"({delivery.left_out_pages} older pages, about {delivery.left_out_tokens} tokens of "
            "text, are left out.)"
        )
    if delivery.pages or after:
        images = [
            {
                "type": "image",
                "base64": base64.b64encode(page.png).decode(),
                "mime_type": "image/png",
            }
            for page in delivery.pages
        ]
        texts = [{"type": "text", "text": text} for text in after]
        messages.append(HumanMessage([{"type": "text", "text": PAGES}, *images, *texts]))
    recent = list(delivery.recent)
    if plan is not None and plan.again and recent and recent[-1].role == "assistant":
        recent.pop()
    return messages + [_message(said) for said in recent if said.text.strip()]


def _kept(answer: BaseMessage) -> Entry:
    """``answer`` with all that is beside its text, or without, where that cannot be kept."""
    try:
        return to_entry(answer, media="keep")
    except InvalidMessageError:
        calls = answer.tool_calls if isinstance(answer, AIMessage) else []
        return to_entry(AIMessage(answer.text, tool_calls=calls))


def _message(said: Said) -> BaseMessage:
    text = CONTINUED + said.text if said.continued else said.text
    if said.role == "assistant":
        return AIMessage(text)
    return HumanMessage(text if said.role == "user" else f"{said.role.capitalize()}: {text}")


def _as_messages(given: Any) -> list[BaseMessage]:
    if isinstance(given, str):
        return [HumanMessage(given)]
    if isinstance(given, PromptValue):
        return given.to_messages()
    return [given] if isinstance(given, BaseMessage) else list(given)
