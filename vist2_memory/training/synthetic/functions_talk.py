"""Conversations with functions at hand: calls, results, answers, and talk that takes no call."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vist2_memory.training.synthetic import smalltalk
from vist2_memory.training.synthetic.functions import (
    Arguments,
    Exchange,
    Function,
    Scene,
    allowed,
    call_text,
)
from vist2_memory.training.synthetic.functions_asked import arguments, ask
from vist2_memory.training.synthetic.functions_made import make
from vist2_memory.training.synthetic.functions_values import unknown
from vist2_memory.training.synthetic.values import Draw

NO_FUNCTION = "I have no function for that."
_SHARES = {
    "call": 0.58,
    "parallel": 0.13,
    "chat": 0.13,
    "unfit": 0.1,
    "vague": 0.02,
    "forced": 0.04,
}
"""How often an exchange is what. A quarter takes no call; "forced" is one that
somebody else chose."""
_HELLO = (
    ("Hello!", "Hello!"), ("Hi", "Hello!"), ("Hello", "Hello!"), ("Good morning.", "Good morning!"),
    ("Hey there", "Hello!"), ("Thanks!", "You're welcome."), ("Thank you.", "You're welcome."),
    ("How are you?", "I am well, thank you."), ("hi, how are you", "I am well, thank you."),
    ("Bye!", "Goodbye!"), ("Good evening", "Good evening!"), ("Ok, thanks", "You're welcome."),
    ("Who are you?", "I am a model with a long memory."), ("Great!", "I am glad."),
    ("Can you help me?", "Yes. What do you need?"), ("That is all.", "All right."),
)  # fmt: skip
_ERRORS = ("not found", "no entry for {v}", "service unavailable", "timeout after {d} s",
           "bad request", "missing argument", "{v} is unknown")  # fmt: skip
_STATES = ("low", "high", "open", "closed", "heavy", "quiet", "normal", "sold out", "very good",
           "none", "rising", "stable", "late", "on time", "clear")  # fmt: skip


def make_scene(draw: Draw, talks: int) -> Scene:
    """One to four functions, and ``talks`` conversations of one to three exchanges with them."""
    rng = draw.rng
    [count] = rng.choices((1, 2, 3, 4), (0.45, 0.27, 0.17, 0.11))
    functions = [make(draw)]
    while len(functions) < count:
        other = make(draw)
        if all(other.name.lower() != own.name.lower() for own in functions):
            functions.append(other)
    made = []
    for _ in range(talks):
        length = rng.choices((1, 2, 3), (0.62, 0.26, 0.12))[0]
        made.append([make_exchange(draw, functions) for _ in range(length)])
    return Scene([function.tool for function in functions], made)


def make_exchange(draw: Draw, functions: Sequence[Function], what: str = "") -> Exchange:
    """An exchange with ``functions`` at hand; ``what``: one of the kinds, any if empty.

    Nothing in it is left out, see ``functions.EXCLUDED``.
    """
    makers = {"call": _call, "parallel": _parallel, "chat": _chat, "unfit": _unfit,
              "vague": _vague, "forced": _forced}  # fmt: skip
    while True:
        [kind] = [what] if what else draw.rng.choices(list(_SHARES), list(_SHARES.values()))
        made = makers[kind](draw, functions)
        if allowed(made.question, made.answer, *made.calls, *made.results):
            return made


def _call(draw: Draw, functions: Sequence[Function]) -> Exchange:
    function = draw.rng.choice(functions)
    given = arguments(draw, function)
    question = ask(draw, function, given)
    if draw.coin(0.06):
        question = f"{smalltalk.user_lines(draw.rng, smalltalk.any_topic(draw.rng), 1)} {question}"
    return _answered(draw, question, [(function, given)])


def _parallel(draw: Draw, functions: Sequence[Function]) -> Exchange:
    """Two or three calls in one: the same lookup of several things, or two requests in a row."""
    rng = draw.rng
    function = rng.choice(functions)
    if function.family == "lookup" and not any(p.required for p in function.parameters[1:]):
        key = function.parameters[0]
        keys = [key.kind.draw(draw) for _ in range(rng.choice((2, 2, 2, 3)))]
        *first, last = [value.said for value in keys]
        said = f"{', '.join(first)} and {last}"
        joined = type(last_key := keys[-1])(last_key.json, said)
        question = ask(draw, function, {key.name: joined})
        if not any(mark in question for mark in (f"({said}", f"={said}")) and said in question:
            return _answered(draw, question, [(function, {key.name: value}) for value in keys])
    calls = [(each, arguments(draw, each)) for each in (function, rng.choice(functions))]
    if calls[0] == calls[1]:
        return _answered(draw, ask(draw, *calls[0]), calls[:1])
    first_asked, second = (ask(draw, each, given) for each, given in calls)
    joint = rng.choice((" ", " And ", " Also: ", " Then: ", "\n"))
    return _answered(draw, first_asked + joint + second, calls)


def _answered(draw: Draw, question: str, calls: Sequence[tuple[Function, Arguments]]) -> Exchange:
    texts = [call_text(f.name, {k: v.json for k, v in given.items()}) for f, given in calls]
    if draw.coin(0.4):
        return Exchange(question, tuple(texts))
    pairs = [_result(draw, function, given) for function, given in calls]
    results = tuple(result for result, _ in pairs)
    return Exchange(question, tuple(texts), results, " ".join(answer for _, answer in pairs))


def _result(draw: Draw, function: Function, given: Arguments) -> tuple[str, str]:
    """What a function gives, and the sentence that tells it."""
    rng = draw.rng
    if draw.coin(0.07):
        error = rng.choice(_ERRORS).replace("{d}", draw.digits(1, 2)).replace("{v}", draw.word())
        return f"Error: {error}", f"That did not work: {error}."
    value: object = draw.digits(1, 5)
    if function.family == "action":
        sentence = f"The {function.noun} has the number {value}."
        shape = {"id": int(str(value)), "status": rng.choice(("ok", "done", "created"))}
        if draw.coin(0.5):
            return sentence, sentence
        return json.dumps(shape), f"Done. The {function.noun} has the number {value}."
    form = rng.random()
    if form < 0.5 and function.family != "computation":
        value = rng.choice(_STATES) if form < 0.2 else draw.mixed("nouns", 0.7)
    about = f"The {function.noun}"
    key = next(iter(given.values()), None)
    if function.family == "lookup" and key is not None:
        about += f" {function.joint} {key.json}"
    sentence = f"{about} is {value}."
    form = rng.random()
    if form < 0.35:
        return str(value), sentence
    if form < 0.6:
        name = rng.choice(("result", function.noun.split()[-1], "value"))
        shown = int(str(value)) if str(value).isdigit() else value
        return json.dumps({name: shown}, ensure_ascii=False), sentence
    return (sentence, sentence) if form < 0.8 else (f"It's {value}.", f"It's {value}.")


def _chat(draw: Draw, functions: Sequence[Function]) -> Exchange:
    rng = draw.rng
    if draw.coin(0.35):
        return Exchange(*_pair(rng.choice(_HELLO)))
    topic = smalltalk.any_topic(rng)
    said = smalltalk.user_lines(rng, topic, rng.randint(1, 2))
    return Exchange(said, answer=smalltalk.assistant_lines(rng, topic, rng.randint(0, 1)))


def _pair(pair: tuple[str, str]) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    return pair[0], (), (), pair[1]


def _unfit(draw: Draw, functions: Sequence[Function]) -> Exchange:
    """A request for something that none of the functions does."""
    known = {word for own in functions for word in own.noun.split()}
    while True:
        other = make(draw)
        if known.isdisjoint(other.noun.split()):
            break
    question = ask(draw, other, arguments(draw, other))
    for _ in range(20):
        if other.name not in question:  # to name a function that is not there is another matter
            break
        question = ask(draw, other, arguments(draw, other))
    return Exchange(question, answer=NO_FUNCTION)


def _vague(draw: Draw, functions: Sequence[Function]) -> Exchange:
    """A request that leaves out what must be given: the answer asks for it."""
    function = draw.rng.choice(functions)
    needed = [own for own in function.parameters if own.required]
    if not needed or function.family == "computation":
        return _chat(draw, functions)
    verb = function.verb.replace("_", " ")
    ways = (f"I need the {function.noun}.", f"{verb.capitalize()} the {function.noun}, please.")
    return Exchange(draw.rng.choice(ways), answer=f"Which {needed[0].words}?")


def _forced(draw: Draw, functions: Sequence[Function]) -> Exchange:
    """Talk that somebody wants answered with a call: arguments that nobody named are unknown."""
    function = draw.rng.choice(functions)
    given = {
        own.name: unknown(dict(own.kind.schema)) for own in function.parameters if own.required
    }
    said = _chat(draw, functions).question
    return Exchange(said, (call_text(function.name, given),), forced=True)


def make_format(draw: Draw, talks: int) -> Scene:
    """A schema that answers must have, and ``talks`` conversations; what is not said is unknown."""
    while True:
        function = make(draw)
        if function.family == "action":
            break
    schema = dict(function.tool.parameters)
    if draw.coin(0.6):
        schema["title"] = "".join(word.capitalize() for word in function.noun.split())
    if draw.coin(0.4) and function.described:
        schema["description"] = function.described
    made = []
    for _ in range(talks):
        if draw.coin(0.2):
            made.append([_unsaid(draw, function)])
            continue
        given = arguments(draw, function)
        question = ask(draw, function, given)
        answer = json.dumps({k: v.json for k, v in given.items()}, ensure_ascii=False)
        if allowed(question, answer):
            made.append([Exchange(question, answer=answer)])
    return Scene((), made, schema)


def _unsaid(draw: Draw, function: Function) -> Exchange:
    given = {
        own.name: unknown(dict(own.kind.schema)) for own in function.parameters if own.required
    }
    about = draw.mixed("plurals", 0.3)
    asked = draw.rng.choice((f"Tell me a {function.noun} about {about}.",
                             f"Make up a {function.noun} about {about}.",
                             f"Write something about {about}."))  # fmt: skip
    return Exchange(asked, answer=json.dumps(given, ensure_ascii=False))
