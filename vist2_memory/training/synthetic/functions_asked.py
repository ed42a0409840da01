"""Questions and requests that take a call of a function, in many wordings."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

from vist2_memory.training.synthetic.dialogue import Split
from vist2_memory.training.synthetic.functions import Arguments, Function, Parameter
from vist2_memory.training.synthetic.values import Draw

_Wordings = Mapping[Split, Sequence[str]]

_LOOKUPS: _Wordings = {
    "train": (
        "What is the {n} {j} {v}?", "What is the {n} {j} {v}?", "What's the {n} {j} {v}?",
        "Tell me the {n} {j} {v}.", "I need the {n} {j} {v}.", "{N} {j} {v}?",
        "Can you look up the {n} {j} {v}?", "Please find the {n} {j} {v}.",
        "What is the {n} like {j} {v}?", "How is the {n} {j} {v}?", "{v}: what {n}?",
        "Do you know the {n} {j} {v}?", "I'd like to know the {n} {j} {v}, please.",
        "Look up {v} and tell me the {n}.", "Which {n} does {v} have?",
        "Check the {n} {j} {v} for me.", "hi, {n} {j} {v} please", "{n} {j} {v}",
        "Do you have the {n} {j} {v}?", "My friend asks about the {n} {j} {v}.",
        "I am looking for the {n} {j} {v}.", "Any idea what the {n} {j} {v} might be?",
        "Let me know the {n} {j} {v}.", "I forgot the {n} {j} {v}, can you help?",
        "{V} the {n} {j} {v}.", "Could you tell me what the {n} {j} {v} is?",
        "Is there a {n} {j} {v}?", "I would love to hear about the {n} {j} {v}.",
        "The {n} {j} {v}, how is it today?",
    ),
    "heldout": (
        "Could you find out the {n} {j} {v}?", "I wonder what the {n} {j} {v} is.",
        "Give me the {n} {j} {v}, will you?", "So what is the {n} {j} {v} now?",
    ),
}  # fmt: skip
_ACTIONS: _Wordings = {
    "train": (
        "{V} {a} {n} {p}.", "{V} {a} {n} {p}.", "Please {v} {a} {n} {p}.",
        "Can you {v} {a} {n} {p}?", "I want to {v} {a} {n} {p}.", "{V} the {n} {p}, please.",
        "I need you to {v} {a} {n} {p}.", "Could you {v} {a} {n} {p}?", "{v} {a} {n} {p}",
        "{N} {p}, please.", "I'd like {a} {n} {p}.",
        "We have to {v} {a} {n} {p}.", "Let us {v} {a} {n} {p}.", "Next, {v} {a} {n} {p}.",
        "My plan is to {v} {a} {n} {p}.", "Make sure to {v} {a} {n} {p}.",
    ),
    "heldout": (
        "Would you {v} {a} {n} {p}?", "It is time to {v} {a} {n} {p}.",
        "Go ahead and {v} {a} {n} {p}.",
    ),
}  # fmt: skip
_COMPUTATIONS: _Wordings = {
    "train": (
        "What is the {n} of {p}?", "Compute the {n} of {p}.", "Apply the {n} to {p}.",
        "{N} of {p}?", "Tell me the {n} of {p}.", "I need the {n} for {p}.",
        "Please work out the {n} of {p}.", "What does the {n} give for {p}?",
        "Calculate the {n} of {p}.", "Take {p} and tell me the {n}.", "{p}: what is the {n}?",
        "I want to know the {n} of {p}.",
    ),
    "heldout": ("Find the {n} of {p}.", "How much is the {n} of {p}?"),
}  # fmt: skip
_READINGS: _Wordings = {
    "train": (
        "What is the {n}?", "Tell me the {n}.", "Show me the {n}, please.", "{N}?",
        "What {n} do we have?", "Can you get the {n}?", "I need the {n}.",
        "Do you know the {n}?", "I am curious about the {n}.", "Check the {n}.",
    ),
    "heldout": ("Could you find out the {n}?", "Give me the {n}."),
}  # fmt: skip
_NOTATIONS: _Wordings = {
    "train": (
        "What is {e}?", "What is {e}?", "Compute {e}.", "Call {e}.", "Run {e}, please.",
        "What does {e} return?", "{e}", "{e} = ?", "I need the result of {e}.", "Evaluate {e}.",
        "How much is {e}?", "Tell me what {e} is.", "What does {e} give?",
        "Please execute {e}.", "And {e}?", "Show me {e}.",
    ),
    "heldout": ("What do you get for {e}?", "Find the value of {e}.", "Try {e}."),
}  # fmt: skip
_BEFORE: _Wordings = {
    "train": ("Use the tool: ", "Using the function, ", "Use a tool. ", "Hello. ", "Please: "),
    "heldout": ("With the tool, ", "By the function: "),
}
_AFTER: _Wordings = {
    "train": (" Use the tool.", " Use the tool.", " Use the function.", " Please use a tool.",
              " Use {f}.", " Call {f}.", " Thanks!"),
    "heldout": (" Take the tool.", " Do it with {f}."),
}  # fmt: skip
NOTATION = {"lookup": 0.15, "action": 0.08, "computation": 0.65, "reading": 0.3}
"""How often a call is asked for as one would write it, by the family of the function."""


def arguments(draw: Draw, function: Function) -> Arguments:
    """Values for the parameters of ``function``; optional ones are left out now and then."""
    return {
        parameter.name: parameter.kind.draw(draw)
        for parameter in function.parameters
        if parameter.required or draw.coin(0.5)
    }


def ask(draw: Draw, function: Function, given: Arguments) -> str:
    """A message that asks for the call of ``function`` with the arguments ``given``."""
    rng, split = draw.rng, draw.split
    if rng.random() < NOTATION[function.family]:
        text = rng.choice(_NOTATIONS[split]).replace("{e}", notation(rng, function, given))
    else:
        text = _worded(rng, split, function, given)
    form = rng.random()
    if form < 0.1:
        before = rng.choice(_BEFORE[split])
        return before + (text[0].lower() + text[1:] if before.endswith(", ") else text)
    if form < 0.3:
        text += "" if text[-1] in ".?!" else "."
        text += rng.choice(_AFTER[split]).replace("{f}", function.name)
    return text


def notation(rng: random.Random, function: Function, given: Arguments) -> str:
    """The call as it would be written in a program: f(3, unit="km")."""
    named = rng.random() < 0.4
    parts = []
    for parameter in function.parameters:
        if parameter.name not in given:
            named = True  # what comes after an argument left out has to be named
            continue
        value = given[parameter.name].json
        bare = isinstance(value, str) and rng.random() < 0.4
        shown = value if bare else json.dumps(value, ensure_ascii=False)
        parts.append(f"{parameter.name}={shown}" if named else str(shown))
    return f"{function.name}({', '.join(parts)})"


def _worded(rng: random.Random, split: Split, function: Function, given: Arguments) -> str:
    if function.family == "reading":
        return _filled(rng.choice(_READINGS[split]), function, "")
    if function.family == "computation":
        numbers = [value.said for value in given.values()]
        said = " and ".join(numbers) if len(numbers) < 3 else ", ".join(numbers)
        return _filled(rng.choice(_COMPUTATIONS[split]), function, "", {"{p}": said})
    if function.family == "lookup":
        key, *others = function.parameters
        said = _phrases(rng, others, given)
        slots = {"{j}": function.joint, "{v}": given[key.name].said}
        text = _filled(rng.choice(_LOOKUPS[split]), function, "", slots)
        if not said:
            return text
        end = text[-1] if text[-1] in ".?!" else ""
        return f"{text.removesuffix(end)} {said}{end}"
    return _request(rng, split, function, given)


def _request(rng: random.Random, split: Split, function: Function, given: Arguments) -> str:
    parameters = list(function.parameters)
    before = [own for own in parameters if own.phrases[:1] == ("<{v}>",) and own.name in given]
    noun = " ".join([*(given[own.name].said for own in before), function.noun])
    rest = [own for own in parameters if own not in before]
    if rng.random() < 0.25:
        rng.shuffle(rest)
    article = "an" if noun[0].lower() in "aeiou" else "a"
    slots = {"{a}": article, "{n}": noun, "{N}": noun.capitalize() if not before else noun}
    slots |= {"{v}": function.verb.replace("_", " ")}
    text = rng.choice(_ACTIONS[split])
    said = _phrases(rng, rest, given)
    text = text.replace(" {p}", f" {said}" if said else "")
    return _filled(text, function, "", slots)


def _phrases(rng: random.Random, parameters: Sequence[Parameter], given: Arguments) -> str:
    parts = [
        _phrase(rng, parameter, given[parameter.name].json, given[parameter.name].said)
        for parameter in parameters
        if parameter.name in given
    ]
    if len(parts) > 2 and rng.random() < 0.3:
        return ", ".join(parts)
    return " ".join(parts)


def _phrase(rng: random.Random, parameter: Parameter, value: object, said: str) -> str:
    if isinstance(value, bool) and rng.random() < 0.8:
        return f"{'with' if value else 'without'} {parameter.words}"
    ways = [way for way in parameter.phrases if "{v}" in way] or ["with the {w} {v}", "{w}: {v}"]
    if rng.random() < 0.15:
        ways = ["with the {w} {v}", "{w} {v}", "{w}: {v}", f"{parameter.name}={{v}}"]
    return rng.choice(ways).replace("{w}", parameter.words).replace("{v}", said)


def _filled(
    text: str, function: Function, said: str, slots: Mapping[str, str] | None = None
) -> str:
    noun = function.noun
    verb = function.verb.replace("_", " ")
    every = {"{n}": noun, "{N}": noun[0].upper() + noun[1:], "{V}": verb.capitalize()}
    # Values go in last: they may hold anything, braces too.
    order = {**every, **(slots or {})}
    for slot in sorted(order, key=lambda name: name in ("{v}", "{p}")):
        text = text.replace(slot, order[slot])
    return text
