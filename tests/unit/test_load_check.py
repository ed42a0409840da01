"""What benchmarks/load.py finds wrong with a log."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.load_check import Conversation, Turn, faults


def rows(*said: tuple[str, str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "turn": turn} for role, text, turn in said]


ASKED = [
    Turn("q1", "k1", answer="a1", seen=True),
    Turn("q2", "k2", began="a", seen=True),
    Turn("q3", "k3"),
    Turn("q4", "k4", answer="a4", seen=True),
]
Q1, A1 = ("user", "q1", "1"), ("assistant", "a1", "1")
Q2, A2 = ("user", "q2", "2"), ("assistant", "a2", "2")
Q4, A4 = ("user", "q4", "4"), ("assistant", "a4", "4")


@pytest.mark.parametrize(
    "log",
    [
        (Q1, A1, Q2, Q4, A4),
        (Q1, A1, Q2, A2, Q4, A4),  # given up, and answered whole
        (Q1, A1, Q2, ("user", "q3", "3"), Q4, A4),
    ],
)
def test_a_log_as_it_should_be(log: tuple[tuple[str, str, str], ...]) -> None:
    assert faults(Conversation("s", "key", ASKED), rows(*log)) == []


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ((Q1, A1, Q2), "question 3 is lost"),
        ((Q1, A1, Q4, A4), "question 1 is lost"),  # its answer had begun
        ((Q1, Q2, Q4, A4), "the answer is lost"),
        ((Q1, A1, Q2, Q2, Q4, A4), "question 1 is there 2 times"),
        ((Q1, A1, A1, Q2, Q4, A4), "2 answers"),
        ((Q1, ("assistant", "a", "1"), Q2, Q4, A4), "was told as 'a1'"),
        ((Q1, A1, Q2, ("assistant", "b", "2"), Q4, A4), "that began as 'a' is 'b'"),
        ((Q1, A1, Q4, A4, Q2), "another order"),
        ((Q1, Q2, A1, Q4, A4), "does not stand behind its question"),
        ((Q1, A1, Q2, Q4, A4, ("user", "q5", "5")), "1 questions that nobody asked"),
        ((Q1, A1, Q2, Q4, A4, ("assistant", "a", "5")), "1 answers to nothing"),
    ],
)
def test_what_is_wrong_is_found(log: tuple[tuple[str, str, str], ...], said: str) -> None:
    [fault] = faults(Conversation("s", "key", ASKED), rows(*log))
    assert said in fault
