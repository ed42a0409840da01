"""Which messages stay together, which are recent, and that nothing invalid is ever sent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vist2.agents.splitting import (
    NO_RESULT,
    Size,
    groups,
    newest_question,
    recent,
    sendable,
)
from tests.support.histories import orphans, random_history

seeds = st.integers(0, 2**32)


def calling(*ids: str, text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=[{"id": id, "name": "f", "args": {}} for id in ids])


def result(id: str, text: str = "done") -> ToolMessage:
    return ToolMessage(text, tool_call_id=id)


def words(messages: Sequence[BaseMessage]) -> int:
    return sum(1 + len(message.text.split()) for message in messages)


def spans(messages: Sequence[BaseMessage]) -> list[tuple[int, int]]:
    return [(group.start, group.end) for group in groups(messages)]


def test_a_call_and_its_results_are_one_group() -> None:
    messages = [HumanMessage("q"), calling("1", "2"), result("2"), result("1"), AIMessage("a")]
    assert spans(messages) == [(0, 1), (1, 4), (4, 5)]
    assert sendable(messages) == [messages[0], messages[1], messages[3], messages[2], messages[4]]


def test_what_was_said_while_a_tool_ran_stays_with_it_and_is_sent_after_the_result() -> None:
    messages = [calling("1"), HumanMessage("Hurry!"), result("1"), AIMessage("a")]
    assert spans(messages) == [(0, 3), (3, 4)]
    assert sendable(messages) == [messages[0], messages[2], messages[1], messages[3]]


def test_a_call_without_a_result_gets_one_in_what_is_sent() -> None:
    messages = [calling("1", "2"), result("2"), HumanMessage("Go on.")]
    sent = sendable(messages)
    placeholder = sent[1]
    assert isinstance(placeholder, ToolMessage)
    assert (placeholder.tool_call_id, placeholder.text, placeholder.name) == ("1", NO_RESULT, "f")
    assert placeholder.status == "error"
    assert sent[2:] == messages[1:]
    assert spans([calling("1"), HumanMessage("Go on."), AIMessage("Well.")]) == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [result("1", "late")],
        [calling("1"), AIMessage("Never mind."), result("1", "late")],
        [calling("1"), result("1"), result("1", "late")],
        [calling("1"), result("1"), AIMessage("a"), calling("2"), result("1", "late"), result("2")],
    ],
)
def test_a_result_without_a_call_is_told_as_words(messages: list[BaseMessage]) -> None:
    sent = sendable(messages)
    assert not orphans(sent)
    [told] = [m for m in sent if isinstance(m, HumanMessage)]
    assert told.text.endswith("late")
    assert "'1'" in told.text or "1" in told.text


def test_a_result_with_blocks_keeps_them() -> None:
    image = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    [sent] = sendable([ToolMessage([image], tool_call_id="1")])
    assert isinstance(sent, HumanMessage)
    assert sent.content[1] == image


def test_the_same_id_used_again_belongs_to_the_newest_call() -> None:
    messages = [calling("1"), result("1", "a"), calling("1"), result("1", "b")]
    assert spans(messages) == [(0, 2), (2, 4)]
    assert sendable(messages) == messages


@given(seeds)
def test_groups_cover_everything_and_a_good_list_stays_as_it_is(seed: int) -> None:
    messages = random_history(seed)
    found = groups(messages)
    assert [n for group in found for n in range(group.start, group.end)] == list(
        range(len(messages))
    )
    sent = sendable(messages)
    assert sendable(sent) == sent


@given(seeds, st.integers(1, 12), st.sampled_from(["messages", "tokens"]))
def test_nothing_invalid_is_sent_wherever_the_recent_messages_begin(
    seed: int, limit: int, kind: str
) -> None:
    messages = random_history(seed)
    keep: Size = ("messages", limit) if kind == "messages" else ("tokens", limit * 10)
    start = recent(messages, keep, words)
    assert start in [group.start for group in groups(messages)]
    sent = sendable(messages[start:])
    assert not orphans(sent)
    texts = " ".join(m.text for m in sent)
    assert all(m.text in texts for m in messages[start:])
    assert not orphans(sendable(messages))


def test_so_many_messages_or_tokens_are_recent() -> None:
    messages: list[BaseMessage] = [HumanMessage("one two three four"), *map(AIMessage, "abcd")]
    assert recent(messages, ("messages", 2), words) == 3
    assert recent(messages, ("messages", 9), words) == 0
    assert recent(messages, ("tokens", 5), words) == 3
    assert recent(messages, ("tokens", 8), words) == 1
    assert recent(messages, ("tokens", 13), words) == 0
    assert recent(messages, ("tokens", 1), words) == 4, "the newest is always recent"
    together = [HumanMessage("q"), calling("1", "2"), result("1"), result("2")]
    assert recent(together, ("messages", 1), words) == 1
    assert recent([], ("messages", 1), words) == 0


def test_the_newest_question() -> None:
    messages = [HumanMessage("a"), AIMessage("b"), HumanMessage("c"), calling("1"), result("1")]
    assert newest_question(messages) == 2
    assert newest_question(messages[3:]) is None
