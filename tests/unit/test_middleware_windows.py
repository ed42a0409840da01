"""Windows: what may be sent of a state, from much to little, and when it fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_vist2.agents.splitting import groups, newest_question
from langchain_vist2.agents.stubs import IN_MEMORY
from langchain_vist2.agents.windows import SHORTEST, Budget, Window, windows
from tests.support.histories import orphans, random_history

LONG = "word " * 300
WORK: list[BaseMessage] = [
    HumanMessage("Hello."),
    AIMessage("Hello."),
    HumanMessage(LONG),
    AIMessage("", tool_calls=[{"id": id, "name": "f", "args": {}} for id in "ab"]),
    ToolMessage(LONG, tool_call_id="a"),
    ToolMessage(LONG * 2, tool_call_id="b"),
]


def never(message: BaseMessage) -> bool:
    return False


def test_from_much_to_little() -> None:
    found = list(windows(WORK, [1], never))
    assert [window.start for window in found[:3]] == [1, 2, 3]
    assert found[2] == Window(3, question=2)
    assert found[3].share < found[2].share, "the newest group comes before most of the memory"
    assert [window.stubbed for window in found[4:6]] == [{5}, {4, 5}], "the longest result first"
    lengths = [window.characters for window in found[6:] if window.start == 3]
    assert lengths == [750, 375]
    assert found[-4] == Window(6, question=2, share=found[3].share)
    assert found[-1] == Window(6, question=2, characters=SHORTEST, share=0)


def test_results_that_are_too_large_are_stubs_from_the_beginning() -> None:
    found = list(windows(WORK, [0, 3], lambda message: len(message.text) > 2000))
    assert found[0] == Window(0, stubbed=frozenset({5}))
    assert all(5 in window.stubbed for window in found if window.start < 6)


def test_what_a_window_sends() -> None:
    sent = Window(3, 2, frozenset({5}), characters=100).sent(WORK, IN_MEMORY, True)
    assert [message.type for message in sent] == ["human", "ai", "tool", "tool"]
    assert 100 < len(sent[0].text) < 250
    assert sent[2].text == LONG
    assert sent[3].text.startswith("[3,000 characters of this result are in visual memory; ")
    assert WORK[5].text == LONG * 2, "the state is as it was"
    assert Window(6).sent(WORK, IN_MEMORY, True) == []


@given(st.integers(0, 2**32), st.data())
def test_each_window_sends_no_more_than_the_one_before(seed: int, data: st.DataObject) -> None:
    history = random_history(seed, length=15)
    starts = [group.start for group in groups(history)]
    first = data.draw(st.sampled_from(starts))
    seen: list[Window] = []
    for window in windows(history, [first], never):
        sent = window.sent(history, IN_MEMORY, False)
        assert not orphans(sent)
        if seen:
            assert window.start >= seen[-1].start
            assert window.stubbed >= seen[-1].stubbed or window.start > seen[-1].start
            assert window.share <= seen[-1].share
        seen.append(window)
        newest = newest_question(history)
        if newest is not None:
            assert any(m.text[:40] == history[newest].text[:40] for m in sent)
    assert seen[-1].start == len(history)


@given(
    st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.sampled_from([0, 0.125, 0.5])
)
def test_what_fits_leaves_the_memory_its_share(
    text: int, visual: int, fixed: int, share: float
) -> None:
    budget = Budget(200, 150)
    if budget.fits(text, visual, fixed, share):
        assert text <= 150
        left = 200 - text
        assert left >= min(visual, int(max(0, 200 - fixed) * share))
    else:
        assert text > 150 or text + min(visual, (200 - fixed) * share) > 199
    assert Budget().fits(text, visual, fixed, share)
