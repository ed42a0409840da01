"""Random conversations with a session: however they are sent, each message is stored once."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vist2 import ChatVIST2
from tests.support.scripted import Scripted
from vist2_memory.types import ToolCall


class Client:
    """A program that talks to a model in a session, and knows what was said."""

    def __init__(self) -> None:
        self.engine = Scripted()
        self.llm = ChatVIST2(model=self.engine, store="memory://", session_id="s")
        self.state: list[BaseMessage] = []
        self._said = 0

    def said(self) -> str:
        """Something that was never said before."""
        self._said += 1
        return f"word {self._said}"

    def say(self, calls: int) -> None:
        """What the model says next: a text, or so many calls."""
        ids = [self.said() for _ in range(calls)]
        text = self.said()
        self.engine.answers = [tuple(ToolCall.of(id, "f", {"a": id}) for id in ids) or text]

    def due(self) -> list[BaseMessage]:
        """What is to be answered next: results of all calls, or a question."""
        last = self.state[-1] if self.state else None
        if isinstance(last, AIMessage) and last.tool_calls:
            return [ToolMessage(self.said(), tool_call_id=call["id"]) for call in last.tool_calls]
        return [HumanMessage(self.said())]

    def send(self, new: list[BaseMessage], sent: int, *, again: bool) -> AIMessage:
        """Send ``new`` with up to ``sent`` messages before it.

        Who sends again a question that was answered must send the whole list.
        """
        whole = [*self.state, *new]
        kept = len(whole) if again else len(new) + sent
        return self.llm.invoke(whole[-kept:])

    def check(self) -> None:
        stored = self.llm.memory.session("s").messages()
        roles = {"human": "user", "ai": "assistant", "tool": "tool"}
        assert [(m.role, m.text) for m in stored] == [(roles[m.type], m.text) for m in self.state]
        for message, told in zip(stored, self.state, strict=True):
            if isinstance(told, AIMessage):
                assert [call.id for call in message.calls] == [c["id"] for c in told.tool_calls]
        turns = [message.turn for message in stored]
        for place, message in enumerate(stored):
            if message.role == "user":
                assert turns.count(turns[place]) == turns[place:].count(turns[place])
            else:
                assert turns[place] == turns[place - 1] != ""


STEP = st.fixed_dictionaries(
    {
        "calls": st.sampled_from([0, 0, 1, 2]),
        "sent": st.integers(0, 6),
        "before": st.sampled_from(["", "", "fails", "cancelled"]),
        "again": st.booleans(),
    }
)


@given(st.lists(STEP, min_size=1, max_size=7))
@settings(max_examples=30)
def test_each_message_is_stored_once_however_it_is_sent(steps: list[dict[str, Any]]) -> None:
    client = Client()
    for step in steps:
        new = client.due()
        if step["before"] == "fails":
            client.engine.answers = [RuntimeError("no power")]
            with contextlib.suppress(RuntimeError):
                client.send(new, step["sent"], again=False)
        elif step["before"] == "cancelled":
            client.say(0)
            stream = client.llm.stream([*client.state, *new])
            next(stream)
            stream.close()  # type: ignore[attr-defined]
        client.say(step["calls"])
        answer = client.send(new, step["sent"], again=False)
        if step["again"] and (client.state or len(new) > 1 or new[0].type == "tool"):
            told = client.send(new, 0, again=True)
            assert (told.content, told.tool_calls) == (answer.content, answer.tool_calls)
        client.state += [*new, answer]
        client.check()
