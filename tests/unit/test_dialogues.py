"""Real dialogues as histories with questions on their slots."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from vist2_memory.errors import InvalidInputError
from vist2_memory.training.dialogues import Dialogue, converse, read_dialogues
from vist2_memory.training.synthetic import is_right

BUS: dict[str, Any] = {
    "turns": [
        ["user", "I need a bus to Fresno on the 12th."],
        ["system", "There is one at 10:20 am for $34."],
        ["user", "Rather to Reno, please."],
        ["system", "You leave for Reno on March 12th."],
    ],
    "slots": {
        "to_location": [[0, "Fresno"], [2, "Reno"], [3, "Reno"]],
        "leaving_date": [[0, "the 12th"], [3, "March 12th"]],
        "fare": [[1, "$34"]],
    },
}
TABLE: dict[str, Any] = {
    "turns": [["user", "A table at Cabalen for 6 pm."], ["system", "Their number is 650-588."]],
    "slots": {"restaurant_name": [[0, "Cabalen"]], "phone_number": [[1, "650-588"]]},
}


def write(path: Path, rows: list[Any]) -> Path:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


@pytest.fixture
def dialogues(tmp_path: Path) -> list[Dialogue]:
    return list(read_dialogues(write(tmp_path / "a.jsonl.xz", [BUS, TABLE])))


def test_dialogues_are_read_with_the_roles_of_a_chat(dialogues: list[Dialogue]) -> None:
    bus, table = dialogues
    assert [role for role, _ in bus.turns] == ["user", "assistant"] * 2
    assert bus.last("to_location") == "Reno"
    assert table.entity() == "Cabalen"
    assert bus.entity() is None


@pytest.mark.parametrize("row", [{"slots": {}}, {"turns": [["waiter", "Yes?"]]}, ["turns"]])
def test_a_line_that_holds_no_dialogue_is_named(tmp_path: Path, row: Any) -> None:
    path = write(tmp_path / "bad.jsonl.xz", [BUS, row])
    with pytest.raises(InvalidInputError, match=r"bad\.jsonl\.xz:2"):
        list(read_dialogues(path))


def test_every_question_has_one_answer_and_the_newest_value_counts(
    dialogues: list[Dialogue],
) -> None:
    for seed in range(20):
        conversation = converse(random.Random(seed), dialogues, 150)
        for question in conversation.questions:
            assert is_right(question, question.answer) or question.stale
            assert question.value in conversation.messages[question.turn][1]
            assert question.value != "Fresno"


def test_the_same_seed_gives_the_same_history(dialogues: list[Dialogue]) -> None:
    first, second = (converse(random.Random(3), dialogues, 400) for _ in range(2))
    assert first == second


def test_a_slot_that_two_dialogues_share_is_asked_of_its_thing_or_not_at_all(
    dialogues: list[Dialogue],
) -> None:
    bus, _ = dialogues
    conversation = converse(random.Random(1), [bus, bus], 2 * len(bus.text))
    assert conversation.questions == ()
