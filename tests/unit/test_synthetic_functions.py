"""Made-up functions and what is asked of them: what is left out, how it is split, that it fits."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import chain

import pytest

from vist2_memory.text.tools import write_schema, write_tools
from vist2_memory.training.evaluate.standard_calls import STANDARD
from vist2_memory.training.synthetic import Split
from vist2_memory.training.synthetic.functions import (
    EXCLUDED,
    EXCLUDED_PARAMETERS,
    Exchange,
    Scene,
    allowed,
)
from vist2_memory.training.synthetic.functions_asked import (
    _ACTIONS,
    _AFTER,
    _BEFORE,
    _COMPUTATIONS,
    _LOOKUPS,
    _NOTATIONS,
    _READINGS,
)
from vist2_memory.training.synthetic.functions_made import make
from vist2_memory.training.synthetic.functions_talk import (
    NO_FUNCTION,
    make_exchange,
    make_format,
    make_scene,
)
from vist2_memory.training.synthetic.values import Draw, is_heldout
from vist2_memory.types import Tool

SPLITS: tuple[Split, Split] = ("train", "heldout")


def scenes(split: Split, count: int, first: int = 0) -> list[Scene]:
    seeds = range(first, first + count)
    return [make_scene(Draw(random.Random(seed), split), 4) for seed in seeds]


@pytest.fixture(scope="module")
def made() -> dict[Split, list[Scene]]:
    return {split: scenes(split, 250) for split in SPLITS}


def exchanges(made: list[Scene]) -> list[Exchange]:
    return list(chain.from_iterable(chain.from_iterable(scene.talks for scene in made)))


def parameters(tool: Tool) -> dict[str, dict[str, object]]:
    return dict(tool.parameters["properties"])


def test_the_same_seed_gives_the_same_scene() -> None:
    assert [scene.talks for scene in scenes("train", 5)] == [s.talks for s in scenes("train", 5)]


def test_nothing_is_like_the_functions_of_the_standard_tests(
    made: dict[Split, list[Scene]],
) -> None:
    for split in SPLITS:
        for scene in made[split]:
            for tool in scene.tools:
                assert not EXCLUDED.search(write_tools([tool]))
                assert EXCLUDED_PARAMETERS.isdisjoint(parameters(tool))
            for exchange in exchanges([scene]):
                said = [exchange.question, exchange.answer, *exchange.calls, *exchange.results]
                assert not EXCLUDED.search("\n".join(said))


def test_what_is_left_out_covers_the_standard_tests() -> None:
    """Every function of them by its name or its question, so that none could have been made."""
    for standard in STANDARD:
        assert not allowed(standard.tool.name, standard.tool.description, standard.question)
        named = set(parameters(standard.tool))
        assert all(name in EXCLUDED_PARAMETERS or not allowed(name) for name in named)
    for said in ("Tell me a joke about cats.", "Apply a magic function", "Pirate", "get_weather"):
        assert not allowed(said)


def test_names_of_functions_are_split(made: dict[Split, list[Scene]]) -> None:
    for split in SPLITS:
        names = {tool.name for scene in made[split] for tool in scene.tools}
        assert len(names) > 300
        assert all(is_heldout(name) == (split == "heldout") for name in names)


def test_wordings_are_split() -> None:
    tables = (_LOOKUPS, _ACTIONS, _COMPUTATIONS, _READINGS, _NOTATIONS, _BEFORE, _AFTER)
    for table in tables:
        assert table["train"]
        assert set(table["train"]).isdisjoint(table["heldout"])


def test_a_call_is_of_a_function_that_is_there_and_takes_its_arguments(
    made: dict[Split, list[Scene]],
) -> None:
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list}
    seen: Counter[str] = Counter()
    for scene in made["train"]:
        tools = {tool.name: tool for tool in scene.tools}
        for exchange in exchanges([scene]):
            for text in exchange.calls:
                call = json.loads(text)
                assert text == json.dumps(call, ensure_ascii=False)
                fields = parameters(tools[call["name"]])
                assert set(call["arguments"]) <= set(fields)
                assert set(tools[call["name"]].parameters["required"]) <= set(call["arguments"])
                assert list(call["arguments"]) == [n for n in fields if n in call["arguments"]]
                for name, value in call["arguments"].items():
                    if "enum" in fields[name]:
                        assert value in fields[name]["enum"]  # type: ignore[operator]
                    else:
                        assert isinstance(value, types[str(fields[name]["type"])])
                        seen[str(fields[name]["type"])] += 1
    assert set(seen) == set(types)


def test_what_is_called_with_stands_in_the_question(made: dict[Split, list[Scene]]) -> None:
    """Each text and number can be copied, in the very letters; yes and no are said otherwise."""
    copied = 0
    for exchange in exchanges(made["train"]):
        if exchange.forced:
            continue
        for text in exchange.calls:
            for value in json.loads(text)["arguments"].values():
                for one in value if isinstance(value, list) else [value]:
                    if not isinstance(one, bool):
                        assert str(one) in exchange.question
                        copied += 1
    assert copied > 400


def test_a_share_takes_no_call_and_some_take_several(made: dict[Split, list[Scene]]) -> None:
    asked = exchanges(made["train"])
    none = [exchange for exchange in asked if not exchange.calls]
    assert 0.18 < len(none) / len(asked) < 0.35
    assert all(exchange.answer for exchange in none)
    assert 0.05 < sum(len(exchange.calls) > 1 for exchange in asked) / len(asked) < 0.2
    assert 0.02 < sum(exchange.forced for exchange in asked) / len(asked) < 0.08
    assert 0.04 < sum(exchange.answer == NO_FUNCTION for exchange in asked) / len(asked) < 0.16


def test_answers_tell_what_came_back(made: dict[Split, list[Scene]]) -> None:
    told = [exchange for exchange in exchanges(made["train"]) if exchange.results]
    assert len(told) > 200
    for exchange in told:
        assert len(exchange.results) == len(exchange.calls)
        for result in exchange.results:
            shown = result
            if result.startswith("{"):
                shown = str(next(iter(json.loads(result).values())))
            assert shown.removeprefix("Error: ").rstrip(".") in exchange.answer


def test_other_scripts_occur(made: dict[Split, list[Scene]]) -> None:
    asked = exchanges(made["train"])
    assert sum(not exchange.question.isascii() for exchange in asked) > len(asked) / 40


def test_what_no_function_does_is_none_of_them() -> None:
    for seed in range(40):
        draw = Draw(random.Random(seed), "train")
        functions = [make(draw), make(draw)]
        unfit = make_exchange(draw, functions, "unfit")
        assert unfit.answer == NO_FUNCTION
        assert not unfit.calls
        assert not any(own.name in unfit.question for own in functions)


def test_answers_in_json_have_what_the_schema_names() -> None:
    full = 0
    for seed in range(60):
        scene = make_format(Draw(random.Random(seed), "train"), 3)
        assert scene.schema is not None
        assert not EXCLUDED.search(write_schema(scene.schema))
        for exchange in exchanges([scene]):
            answer = json.loads(exchange.answer)
            assert set(scene.schema["required"]) <= set(answer) <= set(scene.schema["properties"])
            assert not exchange.calls
            strings = [value for value in answer.values() if isinstance(value, str)]
            full += sum(value in exchange.question for value in strings)
    assert full > 60
