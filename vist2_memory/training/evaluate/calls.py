"""Calls: whether a model calls the right function with the right arguments, and only then.

Functions, values and wordings are held out from training. Goes through the engine that users use,
whose grammar makes every call a valid one: what is measured is the choice and the copying.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vist2_memory.engine.base import Engine
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.scores import Part, Progress, Report, silent
from vist2_memory.training.evaluate.standard_calls import standard_cases
from vist2_memory.training.materials import write_turns
from vist2_memory.training.synthetic import generate
from vist2_memory.training.synthetic.functions import Exchange
from vist2_memory.training.synthetic.functions_made import make
from vist2_memory.training.synthetic.functions_talk import make_exchange
from vist2_memory.training.synthetic.values import Draw
from vist2_memory.types import Chunk, Context, Finished, GenerationParams, Tool, ToolCall

RIGHT = "right_calls"
ANSWER_TOKENS = 160
"""Tokens of an answer with its calls at the most."""
MADE, STANDARD = "made", "standard"
_KINDS = {"call": 0.6, "parallel": 0.12, "chat": 0.16, "unfit": 0.12}
"""What is asked: for one call, for several, for none in talk, for what no function does."""
_PLACES = ("no memory", "after visual memory")


@dataclass(frozen=True)
class Case:
    """A question with functions at hand, and the calls that it takes."""

    source: str
    kind: str
    family: str
    """Of the function that is asked for; "" for none."""
    tools: Sequence[Tool]
    question: str
    calls: Sequence[Mapping[str, Any]]
    exact: bool = True
    """Whether a call must have no other arguments."""

    def is_right(self, calls: Sequence[ToolCall]) -> bool:
        """Whether ``calls`` are those that the question takes, in any order."""
        asked = [_read(call) for call in calls]
        if len(asked) != len(self.calls):
            return False
        for wanted in self.calls:
            found = next((call for call in asked if self._same(wanted, call)), None)
            if found is None:
                return False
            asked.remove(found)
        return True

    def _same(self, wanted: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
        if not self.exact:
            given = {k: v for k, v in call["arguments"].items() if k in wanted["arguments"]}
            call = {**call, "arguments": given}
        return call == wanted


def _read(call: ToolCall) -> dict[str, Any]:
    """A call as JSON; of none that can be read, an empty one."""
    try:
        read = json.loads(call.text)
    except ValueError:
        read = None
    good = isinstance(read, dict) and isinstance(read.get("arguments"), dict)
    return read if good else {"name": "", "arguments": {}}


@dataclass(frozen=True)
class _Scored:
    case: Case
    place: str
    any: bool | None
    """Whether all calls are right where a call is demanded; None where none would be right."""
    auto: bool
    """Whether all is right where the model chooses."""
    decided: bool
    """Whether it called where it should and did not where it should not."""
    named: bool | None
    """Where a call is demanded: whether the functions are the right ones."""


def made_case(draw: Draw) -> Case:
    """A question on made-up functions of the split of ``draw``."""
    functions = [make(draw) for _ in range(draw.rng.choices((1, 2, 3), (0.45, 0.35, 0.2))[0])]
    functions = list({own.name.lower(): own for own in functions}.values())
    [kind] = draw.rng.choices(list(_KINDS), list(_KINDS.values()))
    exchange: Exchange = make_exchange(draw, functions, kind)
    calls = [json.loads(text) for text in exchange.calls]
    families = {own.name: own.family for own in functions}
    family = families[calls[0]["name"]] if calls else ""
    tools = [own.tool for own in functions]
    return Case(MADE, kind, family, tools, exchange.question, calls)


def evaluate_calls(
    engine: Engine,
    *,
    cases: int = 200,
    standard: int = 60,
    seed: int = 12345,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask ``cases`` questions on held-out functions and ``standard`` on those of LangChain's tests.

    Every second one comes after one to four chunks of a conversation in visual memory. ``auto``:
    the model chooses whether to call; ``any``: it must. ``right_calls``: questions that take calls,
    of either choice, whose calls all have the right name and arguments and are as many as asked
    for. ``right_decisions``: of all questions, under "auto", whether it called or not.
    """
    draw = Draw(random.Random(seed), "heldout")
    asked = [made_case(draw) for _ in range(cases)]
    asked += [
        Case(STANDARD, "call", tool.name, [tool], question, [_wanted(tool, given)], exact=False)
        for tool, question, given in standard_cases(draw, standard)
    ]
    scored: list[_Scored] = []
    for number, case in enumerate(asked):
        before = _talk(engine, draw) if number % 2 else []
        scored.append(_score(engine, case, before))
        progress(number + 1, len(asked))
    return _report(scored, cases, standard, seed, engine.spec.model)


def _wanted(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": tool.name, "arguments": dict(given)}


def _talk(engine: Engine, draw: Draw) -> list[Chunk]:
    """Some chunks of a conversation about other things."""
    count = draw.rng.randint(1, 4)
    length = (count + 1) * engine.spec.chunk_tokens * 5
    made = generate(draw.rng, characters=max(200, length), split=draw.split)
    return list(engine.chunker.cut(write_turns(made.messages)))[:count]


def _score(engine: Engine, case: Case, before: Sequence[Chunk]) -> _Scored:
    visual = tuple(engine.encode(before))
    tail = write([("user", case.question), ("assistant", "")])
    pinned = ""

    def calls(choice: str) -> Sequence[ToolCall]:
        params = GenerationParams(ANSWER_TOKENS, tools=tuple(case.tools), tool_choice=choice)
        *_, last = engine.generate(Context(pinned, visual, tail, tuple(before)), params)
        assert isinstance(last, Finished)
        return last.calls

    own = calls("auto")
    must = calls("any") if case.calls else None
    wanted = sorted(str(call["name"]) for call in case.calls)
    return _Scored(
        case,
        _PLACES[bool(before)],
        None if must is None else case.is_right(must),
        case.is_right(own),
        bool(own) == bool(case.calls),
        None if must is None else sorted(call.name for call in must) == wanted,
    )


def _report(
    scored: Sequence[_Scored], cases: int, standard: int, seed: int, model: str
) -> dict[str, Any]:
    made = [one for one in scored if one.case.source == MADE]
    others = [one for one in scored if one.case.source == STANDARD]
    calling = [one for one in made if one.case.calls]
    report = Report()
    report.share(RIGHT, _both(calling))
    report.share("right_calls_any", _parts(calling, lambda one: bool(one.any)))
    report.share("right_calls_auto", _parts(calling, lambda one: one.auto))
    report.share("right_names_any", _parts(calling, lambda one: bool(one.named)))
    report.share("right_decisions", _parts(made, lambda one: one.decided))
    groups: dict[str, Callable[[_Scored], str]] = {
        "decisions_by_kind": lambda one: one.case.kind,
        "by_kind": lambda one: one.case.kind,
        "by_family": lambda one: one.case.family,
        "by_place": lambda one: one.place,
    }
    for name, group in groups.items():
        decisions = name.startswith("decisions")
        some = made if decisions else calling
        report.shares(
            name,
            {
                key: _parts(own, lambda one: one.decided) if decisions else _both(own)
                for key, own in _grouped(some, group).items()
            },
        )
    report.share("standard_any", _parts(others, lambda one: bool(one.any)))
    report.share("standard_auto", _parts(others, lambda one: one.auto))
    report.shares(
        "standard_by_function",
        {key: _both(own) for key, own in _grouped(others, lambda one: one.case.family).items()},
    )
    report.note(cases=cases, standard=standard, seed=seed, model=model)
    return report.finish(RIGHT)


def _grouped(
    scored: Sequence[_Scored], group: Callable[[_Scored], str]
) -> dict[str, list[_Scored]]:
    found: dict[str, list[_Scored]] = {}
    for one in sorted(scored, key=group):
        found.setdefault(group(one), []).append(one)
    return found


def _parts(scored: Sequence[_Scored], right: Callable[[_Scored], bool]) -> list[Part]:
    """(right, 1) for each question."""
    return [(float(right(one)), 1) for one in scored]


def _both(scored: Sequence[_Scored]) -> list[Part]:
    """(right, asked) for each question, asked under either choice."""
    return [(float(bool(one.any)) + float(one.auto), 2) for one in scored]
