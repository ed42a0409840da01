"""The evaluation of calls: what is asked of whom, what counts as right, over scripted engines."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import save_small
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import read
from vist2_memory.training.evaluate import calls, evaluate_calls
from vist2_memory.training.evaluate.calls import Case, made_case
from vist2_memory.training.evaluate.standard_calls import STANDARD, standard_cases
from vist2_memory.training.synthetic.functions import call_text
from vist2_memory.training.synthetic.values import Draw, is_heldout
from vist2_memory.types import (
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    Tool,
    ToolCall,
)

Answers = Callable[[Case, str], Sequence[str]]
"""The texts of the calls that a scripted engine makes of a case under a tool choice."""
TIDE = Tool("find_tide", "", {"type": "object", "properties": {"port": {"type": "string"}}})
WANTED = {"name": "find_tide", "arguments": {"port": "Brest"}}


class Scripted(TorchEngine):
    """Answers as it is told; remembers what it was asked."""

    def script(self, answers: Answers) -> None:
        self.asked: list[tuple[Case, Context, GenerationParams]] = []
        self._answers = answers
        self.cases: dict[str, Case] = {}

    def generate(
        self, context: Context, params: GenerationParams, memory: Any = None
    ) -> Iterator[GenerationEvent]:
        (_, question), (role, said) = list(read(context.tail))[-2:]
        assert (role, said) == ("assistant", "")
        case = self.cases[question]
        self.asked.append((case, context, params))
        texts = self._answers(case, params.tool_choice)
        made = tuple(ToolCall(str(number), text) for number, text in enumerate(texts))
        yield Finished("", "tool_calls" if made else "stop", calls=made)


@pytest.fixture
def measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Answers], tuple[dict[str, Any], Any]]:
    engine = Scripted(save_small(tmp_path))
    scored = calls._score

    def remembered(engine: Scripted, case: Case, before: Any) -> Any:
        engine.cases[case.question] = case
        return scored(engine, case, before)

    monkeypatch.setattr(calls, "_score", remembered)

    def run(answers: Answers) -> tuple[dict[str, Any], Any]:
        engine.script(answers)
        return evaluate_calls(engine, cases=40, standard=6, seed=7), engine.asked

    return run


def right(case: Case, choice: str) -> list[str]:
    return [call_text(call["name"], call["arguments"]) for call in case.calls]


def test_all_right_is_one_and_every_question_is_asked_as_it_should_be(measure: Any) -> None:
    figures, asked = measure(right)
    for name in ("right_calls", "right_decisions", "standard_any", "standard_auto"):
        assert figures[name] == 1, name
    assert set(figures["decisions_by_kind"]) == {"call", "parallel", "chat", "unfit"}
    assert set(figures["by_place"]) == {"no memory", "after visual memory"}
    with_memory = [bool(context.visual) for _, context, _ in asked]
    assert 0.3 < sum(with_memory) / len(with_memory) < 0.7
    for case, _, params in asked:
        assert params.tools == tuple(case.tools)
        assert params.tool_choice == "auto" or case.calls  # none is forced where none is right


def test_to_call_nothing_is_right_only_where_nothing_should_be_called(measure: Any) -> None:
    figures, _ = measure(lambda case, choice: [])
    assert figures["right_calls"] == figures["standard_auto"] == 0
    assert figures["decisions_by_kind"]["chat"] == figures["decisions_by_kind"]["unfit"] == 1
    assert figures["decisions_by_kind"]["call"] == 0
    assert 0 < figures["right_decisions"] < 0.5
    low, high = figures["interval95"]
    assert low == 0 < high < 0.3


def test_the_two_choices_and_the_names_are_told_apart(measure: Any) -> None:
    def answers(case: Case, choice: str) -> list[str]:
        if choice == "auto":
            return []
        return [call_text(call["name"], {"wrong": 1}) for call in case.calls]

    figures, _ = measure(answers)
    assert figures["right_names_any"] == 1
    assert figures["right_calls_any"] == figures["right_calls_auto"] == 0
    figures, _ = measure(lambda case, choice: right(case, choice) if choice == "any" else [])
    assert figures["right_calls_any"] == 1
    assert figures["right_calls_auto"] == 0
    assert figures["right_calls"] == 0.5


def test_a_call_is_right_only_with_its_name_and_exactly_its_arguments() -> None:
    case = Case("made", "call", "lookup", [TIDE], "Tide?", [WANTED])

    def verdict(*texts: str) -> bool:
        return case.is_right([ToolCall("1", text) for text in texts])

    assert verdict(json.dumps(WANTED))
    assert not verdict()
    assert not verdict(json.dumps(WANTED), json.dumps(WANTED))
    assert not verdict(call_text("find_tides", {"port": "Brest"}))
    assert not verdict(call_text("find_tide", {"port": "brest"}))
    assert not verdict(call_text("find_tide", {"port": "Brest", "day": "May 3"}))
    assert not verdict('{"name": "find_tide"')
    assert not verdict('["find_tide"]')


def test_several_calls_may_come_in_any_order_but_each_once() -> None:
    other = {"name": "find_tide", "arguments": {"port": "Emden"}}
    case = Case("made", "parallel", "lookup", [TIDE], "Tides?", [WANTED, other])

    def verdict(*made: dict[str, Any]) -> bool:
        return case.is_right([ToolCall("1", json.dumps(call)) for call in made])

    assert verdict(WANTED, other)
    assert verdict(other, WANTED)
    assert not verdict(WANTED, WANTED)
    assert not verdict(WANTED)


def test_where_only_some_arguments_are_named_the_others_are_free() -> None:
    case = Case("standard", "call", "x", [TIDE], "Tide?", [WANTED], exact=False)
    assert case.is_right([ToolCall("1", call_text("find_tide", {"port": "Brest", "say": "x"}))])
    assert not case.is_right([ToolCall("1", call_text("find_tide", {"say": "x"}))])


def test_functions_and_values_are_held_out() -> None:
    draw = Draw(random.Random(1), "heldout")
    for _ in range(30):
        assert all(is_heldout(tool.name) for tool in made_case(draw).tools)


def test_the_standard_functions_come_in_turn_with_values_in_the_question() -> None:
    made = list(standard_cases(Draw(random.Random(2), "heldout"), 2 * len(STANDARD)))
    assert [tool.name for tool, _, _ in made] == [own.tool.name for own in STANDARD] * 2
    for tool, question, given in made:
        assert set(given) <= set(tool.parameters["properties"])
        assert all(str(value) in question for value in given.values())
