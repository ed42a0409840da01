"""Which messages stay together, which are recent, and what is sent of them.

Pure: messages come in, messages come out. Models refuse a list in which a tool call has no result,
or a result no call, right behind it. So messages are moved and left out by *groups*: a message that
calls tools, with its results and what was said between them; any other message is a group alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

NO_RESULT = "(no result)"
"""Stands, in what is sent, for the result of a call that has none: interrupted or cancelled."""
ORPHAN = "[The result of a tool call that is not shown here, {id}:]\n"
"""Opens a result whose call is not there; it is sent as a human message."""

Size: TypeAlias = tuple[Literal["messages", "tokens"], int] | tuple[Literal["fraction"], float]
"""As in LangChain: so many messages, tokens, or such a fraction of the tokens a call may have."""


@dataclass(frozen=True, slots=True)
class Group:
    """The messages from ``start`` to before ``end``, which are never parted."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def groups(messages: Sequence[BaseMessage]) -> list[Group]:
    """``messages`` in groups, in order, which cover them all.

    A result belongs to the call of its id in the last AI message before it. One that has no such
    call, or comes when it was answered already, is alone.
    """
    found: list[Group] = []
    start = 0
    while start < len(messages):
        end = max(_claimed(messages, start).values(), default=start) + 1
        found.append(Group(start, end))
        start = end
    return found


def sendable(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """``messages`` so that every call has one result right behind it, and every result a call.

    Results that came late are put behind their call, :data:`NO_RESULT` stands where there is none,
    and a result without a call becomes a human message. A list that is good stays as it is.
    """
    return [sent for group in groups(messages) for sent in _sent(messages, group)]


def recent(
    messages: Sequence[BaseMessage],
    keep: Size,
    count: Callable[[Sequence[BaseMessage]], int],
) -> int:
    """Where the recent messages begin, by whole groups; ``keep`` is no fraction any more.

    ``("messages", n)``: the newest n, and what belongs to the first of them.
    ``("tokens", n)``: as many as have n tokens by ``count``, but at least the newest group.
    """
    kind, limit = keep
    start = len(messages)
    spent = 0
    for group in reversed(groups(messages)):
        if kind == "messages" and len(messages) - start >= limit:
            break
        spent += count(messages[group.start : group.end]) if kind == "tokens" else 0
        if kind == "tokens" and spent > limit and start < len(messages):
            break
        start = group.start
    return start


def newest_question(messages: Sequence[BaseMessage]) -> int | None:
    """Where the newest human message stands."""
    places = range(len(messages) - 1, -1, -1)
    return next((place for place in places if isinstance(messages[place], HumanMessage)), None)


def _calls(message: BaseMessage) -> list[tuple[str, str]]:
    """Id and name of each call, valid or not, that can have a result."""
    if not isinstance(message, AIMessage):
        return []
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    return [(call["id"], call["name"] or "") for call in calls if call["id"]]


def _claimed(messages: Sequence[BaseMessage], start: int) -> dict[int, int]:
    """The results of the calls of ``messages[start]``: the place of each by the call's number."""
    waiting: dict[str, list[int]] = {}
    for number, (id, _) in enumerate(_calls(messages[start])):
        waiting.setdefault(id, []).append(number)
    claimed: dict[int, int] = {}
    for place in range(start + 1, len(messages) if waiting else 0):
        message = messages[place]
        if isinstance(message, AIMessage):
            break
        if isinstance(message, ToolMessage) and (numbers := waiting.get(message.tool_call_id)):
            claimed[numbers.pop(0)] = place
    return claimed


def _sent(messages: Sequence[BaseMessage], group: Group) -> Iterator[BaseMessage]:
    """The messages of ``group`` as they are sent."""
    first = messages[group.start]
    claimed = _claimed(messages, group.start)
    results = set(claimed.values())
    yield _orphan(first) if isinstance(first, ToolMessage) else first
    for number, (id, name) in enumerate(_calls(first)):
        if number in claimed:
            yield messages[claimed[number]]
        else:
            yield ToolMessage(NO_RESULT, tool_call_id=id, name=name or None, status="error")
    for place in range(group.start + 1, group.end):
        message = messages[place]
        if place not in results:
            yield _orphan(message) if isinstance(message, ToolMessage) else message


def _orphan(message: ToolMessage) -> HumanMessage:
    head = ORPHAN.format(id=message.tool_call_id or "without id")
    if isinstance(message.content, str):
        return HumanMessage(head + message.content, id=message.id)
    return HumanMessage([{"type": "text", "text": head}, *message.content], id=message.id)
