"""Random histories of agents: parallel calls, errors, interrupts, results that are late or lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)


def random_history(seed: int, length: int = 30) -> list[BaseMessage]:
    """About ``length`` messages; all that can go wrong with tool calls does, now and then."""
    source = random.Random(seed)
    messages: list[BaseMessage] = []
    lost: list[str] = []
    while len(messages) < length:
        messages.append(HumanMessage(f"question {len(messages)} " + "word " * source.randrange(9)))
        for _ in range(source.randrange(4)):
            messages += _step(source, lost)
        if source.random() < 0.7:
            messages.append(AIMessage(f"answer {len(messages)}"))
        if source.random() < 0.05:
            messages.append(SystemMessage("note"))
    if source.random() < 0.3:  # a tail of a state that was cut, as when messages were removed
        messages = messages[source.randrange(len(messages)) :]
    return [m.model_copy(update={"id": f"m{n}"}) for n, m in enumerate(messages)]


def _step(source: random.Random, lost: list[str]) -> list[BaseMessage]:
    """One call of a model that asks for tools, and what came of it."""
    ids = [source.choice(["1", "2", f"c{source.randrange(10**6)}"]) for _ in range(3)]
    ids = ids[: source.randrange(1, 4)]
    calls = [{"id": id, "name": "look", "args": {"at": id}} for id in ids]
    broken = [{"id": "b1", "name": "look", "args": "{", "error": None}]
    said = AIMessage(
        source.choice(["", "Let me look."]),
        tool_calls=calls,
        invalid_tool_calls=broken if source.random() < 0.1 else [],
    )
    results: list[BaseMessage] = [
        ToolMessage("result " * source.randrange(1, 30), tool_call_id=id, name="look") for id in ids
    ]
    for result in results:
        if source.random() < 0.1:
            assert isinstance(result, ToolMessage)
            result.status = "error"
    if source.random() < 0.3:
        source.shuffle(results)
    if source.random() < 0.15:  # an interrupt, an error, a cancelled run
        gone = results.pop(source.randrange(len(results)))
        lost.append(gone.tool_call_id)  # type: ignore[attr-defined]
    if source.random() < 0.1:  # somebody speaks before the tool is done
        results.insert(source.randrange(len(results) + 1), HumanMessage("Wait!"))
    if lost and source.random() < 0.3:  # comes when nobody waits for it any more
        results.append(ToolMessage("late", tool_call_id=lost.pop(), name="look"))
    if results and source.random() < 0.05:  # twice
        results.append(results[-1].model_copy())
    return [said, *results]


def orphans(messages: Sequence[BaseMessage]) -> list[str]:
    """What a strict provider would refuse: calls without a result right behind, and the reverse."""
    found = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id in waiting:
                waiting.remove(message.tool_call_id)
            else:
                found.append(f"{place}: a result of {message.tool_call_id!r} without a call")
            continue
        found += [f"{place}: call {id!r} has no result" for id in waiting]
        waiting = []
        if isinstance(message, AIMessage):
            calls = [*message.tool_calls, *message.invalid_tool_calls]
            waiting = [call["id"] for call in calls if call["id"]]
    return found + [f"at the end: call {id!r} has no result" for id in waiting]
