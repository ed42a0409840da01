"""Samples on tool calls and answer formats: conversations with functions at hand, made and real.

The functions (or the schema of every answer) are pinned text, as they are when a model is used;
conversations stand after a memory of some chunks, or of none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vist2_memory.text.tools import write_schema, write_tools
from vist2_memory.text.transcript import CALL, MARKS, escape, write_message
from vist2_memory.training.batches import Block, Sample
from vist2_memory.training.dialogues import Dialogue
from vist2_memory.training.materials import PINNED_PROMPTS, Materials
from vist2_memory.training.synthetic.functions import Exchange, Scene, allowed, call_text, may_name
from vist2_memory.training.synthetic.functions_made import make
from vist2_memory.training.synthetic.functions_talk import make_scene
from vist2_memory.training.synthetic.functions_values import WORD
from vist2_memory.training.synthetic.values import Draw
from vist2_memory.types import Tool

REAL_SHARE = 0.15
"""Of the samples, those made of real dialogues, where there are any."""
WITHOUT_MEMORY = 0.6
"""Of the conversations, those that nothing comes before."""
ROUTINE = 0.1
"""The weight of what is the same in every call."""
_BEGINNING, _MIDDLE = '{"name": "', '", "arguments": {'


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a transcript with its weight in the loss."""

    text: str
    weight: float
    routine: tuple[tuple[int, int], ...] = ()
    """Where in the text (from, to) it weighs ``ROUTINE`` of that."""


def draw_scene(materials: Materials, draw: Draw, talks: int) -> Scene:
    """A scene of made-up functions, or of real dialogues where ``materials`` has some."""
    if materials.talks and draw.coin(REAL_SHARE):
        return real_scene(draw, materials.talks, talks)
    return make_scene(draw, talks)


def pinned(materials: Materials, rng: random.Random, scene: Scene) -> list[int]:
    """The ids of the functions or the schema of ``scene``, after a system prompt at times."""
    texts = [rng.choice(PINNED_PROMPTS)] if rng.random() < 0.3 else []
    texts += [text for text in (write_tools(scene.tools), write_schema(scene.schema)) if text]
    return materials.tokenizer.encode("".join(write_message("system", text) for text in texts))


def sample(materials: Materials, rng: random.Random, chunks: int, scene: Scene) -> Sample:
    """``scene`` after a memory; each of its conversations is a block of its own."""
    texts = materials.talk(rng, chunks) if rng.random() < 0.7 else materials.chunks(rng, chunks)
    blocks = []
    for talk in scene.talks:
        after = 0 if rng.random() < WITHOUT_MEMORY else len(texts)
        ids: list[int] = []
        weights: list[float] = []
        for piece in written(talk):
            ids += materials.tokenizer.encode(piece.text)
            weights += _weights(piece, materials.tokenizer.spans(piece.text))
        blocks.append(Block(after, ids, weights))
    return Sample(texts, blocks, pinned(materials, rng, scene))


def _weights(piece: Piece, spans: Sequence[tuple[int, int]]) -> Iterator[float]:
    """The weight of each token of ``piece``."""
    for start, end in spans:
        routine = any(low <= start and end <= high for low, high in piece.routine)
        yield piece.weight * (ROUTINE if routine else 1.0)


def _call(text: str) -> Piece:
    """A call: which function and what arguments is what has to be learned of it."""
    middle = text.index(_MIDDLE)
    return Piece(escape(text), 1.0, ((0, len(_BEGINNING)), (middle, middle + len(_MIDDLE))))


def written(talk: Sequence[Exchange]) -> Iterator[Piece]:
    """``talk`` as it stands in a transcript: what the assistant writes weighs 1, and the mark too
    that ends it, of whoever speaks next."""
    ends = 0.0  # whether the mark that comes next ends what the assistant wrote
    for exchange in talk:
        yield Piece(MARKS["user"], ends)
        yield Piece(escape(exchange.question) + MARKS["assistant"], 0.0)
        for place, call in enumerate(exchange.calls):
            yield Piece(CALL, 0.0 if exchange.forced and place == 0 else 1.0)
            yield _call(call)
        if exchange.calls:
            ends = 1.0
            for result in exchange.results:
                yield Piece(MARKS["tool"], ends)
                yield Piece(escape(result), 0.0)
                ends = 0.0
            if not exchange.results:
                yield Piece(MARKS["tool"], 1.0)
                return
            yield Piece(MARKS["assistant"], 0.0)
        ends = float(exchange.learned)
        yield Piece(escape(exchange.answer), ends)
    yield Piece(MARKS["user"], ends)


# Real dialogues


_LEFT_OUT = frozenset({"temperature", "precipitation", "humidity", "wind"})
"""Slots of a service whose dialogues are left out, see ``synthetic.functions.EXCLUDED``."""
_RENAMED = {"location": "place"}
_THINGS = {
    "restaurant_name": "restaurant", "event_name": "event", "hotel_name": "hotel",
    "movie_name": "movie", "song_name": "song", "car_name": "car", "property_name": "apartment",
    "attraction_name": "attraction", "theater_name": "cinema", "balance": "account",
    "appointment_time": "appointment", "origin_airport": "flight", "fare": "bus",
    "ride_fare": "ride", "title": "movie",
}  # fmt: skip
_VERBS = ("find", "search", "book", "get", "reserve", "look_up", "request", "plan")


def real_scene(draw: Draw, dialogues: Sequence[Dialogue], talks: int) -> Scene:
    """A function that takes the slots of a real dialogue, among others, and turns that ask for it.

    A turn is asked after the one before it, which is not learned.
    """
    while True:
        dialogue = draw.rng.choice(dialogues)
        said = " ".join(text for _, text in dialogue.turns)
        values = _values(dialogue)
        if values and _LEFT_OUT.isdisjoint(dialogue.slots) and allowed(said):
            break
    thing = next((word for slot, word in _THINGS.items() if slot in dialogue.slots), draw.word())
    name = f"{draw.rng.choice(_VERBS)}_{thing}"
    if draw.coin(0.2):
        name = "".join(word.capitalize() for word in name.split("_"))
    slots = list(dict.fromkeys(slot for own in values.values() for slot in own))
    draw.rng.shuffle(slots)
    fields = {slot: dict(WORD.schema) for slot in slots}
    tools = [Tool(name, "", {"type": "object", "properties": fields, "required": []})]
    tools += [make(draw).tool for _ in range(draw.rng.choice((0, 0, 1, 2)))]
    draw.rng.shuffle(tools)
    made = []
    for turn in draw.rng.sample(sorted(values), min(talks, len(values))):
        given = {slot: values[turn][slot] for slot in slots if slot in values[turn]}
        talk = [Exchange(dialogue.turns[turn][1], (call_text(name, given),))]
        if turn >= 2 and draw.coin(0.5):
            (_, question), (_, answer) = dialogue.turns[turn - 2 : turn]
            talk.insert(0, Exchange(question, answer=answer, learned=False))
        made.append(talk)
    return Scene(tools, made)


def _values(dialogue: Dialogue) -> dict[int, dict[str, str]]:
    """What the user gives for which slot, by turn."""
    found: dict[int, dict[str, str]] = {}
    for slot, mentions in dialogue.slots.items():
        name = _RENAMED.get(slot, slot)
        for turn, value in mentions:
            role, text = dialogue.turns[turn]
            if role == "user" and value in text and may_name(name):
                found.setdefault(turn, {})[name] = value
    return found
