"""Samples on calls and formats: what is supervised, what stands where, dialogues as calls."""

from __future__ import annotations

import json
import random

import pytest

from tests.support.checkpoints import small_config
from tests.support.tokenizers import PROSE, small_tokenizer
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.text.tools import write_schema, write_tools
from vist2_memory.text.transcript import CALL, MARKS, read, write_message
from vist2_memory.training.batches import Block
from vist2_memory.training.calls import ROUTINE, Piece, real_scene, sample, written
from vist2_memory.training.data import Passages
from vist2_memory.training.dialogues import Dialogue
from vist2_memory.training.materials import Materials
from vist2_memory.training.synthetic.functions import Exchange, Scene, call_text
from vist2_memory.training.synthetic.values import Draw
from vist2_memory.training.tasks import TASKS
from vist2_memory.types import Message, Tool, ToolCall

TOKENIZER = small_tokenizer()
TURNS = (
    ("user", "I am hungry."),
    ("assistant", "Where do you want to eat?"),
    ("user", "At a Thai place in Milpitas."),
    ("assistant", "There is Anjappar."),
)
DIALOGUE = Dialogue(TURNS, {"cuisine": [(2, "Thai")], "city": [(2, "Milpitas")],
                            "restaurant_name": [(3, "Anjappar")]})  # fmt: skip
TOOL = Tool("find_tide", "", {"type": "object", "properties": {"port": {"type": "string"}}})


def materials(*talks: Dialogue) -> Materials:
    processor = Vist2Processor(small_config(), TOKENIZER)
    prose = Passages([PROSE * 6])
    return Materials(
        prose, prose, TOKENIZER, processor.chunker, processor.renderer.atlas, list(talks)
    )


def scene(*talk: Exchange) -> Scene:
    return Scene([TOOL], [talk])


def only_block(*talk: Exchange) -> Block:
    made = sample(materials(), random.Random(3), 1, scene(*talk))
    [block] = made.blocks
    return block


def weighed(block: Block) -> str:
    ids = [id for id, weight in zip(block.ids, block.weights, strict=True) if weight]
    return TOKENIZER.decode(ids)


def test_a_talk_is_the_transcript_that_a_session_would_write() -> None:
    calls = [call_text("find_tide", {"port": port}) for port in ("Brest", "Emden")]
    talk = [
        Exchange("Tide at Brest and Emden?", tuple(calls), ("low", "high"), "Low, then high."),
        Exchange("Thanks!", answer="You're welcome."),
    ]
    first = [ToolCall(str(number), text) for number, text in enumerate(calls)]
    payload = {"calls": [{"id": call.id, "text": call.text} for call in first]}
    said = [
        Message("user", "Tide at Brest and Emden?"),
        Message("assistant", "", payload=payload),
        Message("tool", "low"),
        Message("tool", "high"),
        Message("assistant", "Low, then high."),
        Message("user", "Thanks!"),
        Message("assistant", "You're welcome."),
    ]
    expected = "".join(
        write_message(one.role, one.text, (call.text for call in one.calls)) for one in said
    )
    assert "".join(piece.text for piece in written(talk)) == expected + MARKS["user"]
    assert TOKENIZER.decode(only_block(*talk).ids) == expected + MARKS["user"]


def test_what_the_assistant_writes_is_supervised_with_the_mark_that_ends_it() -> None:
    call = call_text("find_tide", {"port": "Brest"})
    open_call = only_block(Exchange("Tide at Brest?", (call,)))
    assert weighed(open_call) == CALL + call + MARKS["tool"]
    answered = only_block(Exchange("Tide at Brest?", (call,), ("low",), "It is low."))
    assert weighed(answered) == CALL + call + MARKS["tool"] + "It is low." + MARKS["user"]
    talk = only_block(Exchange("Hello", answer="Hello!"))
    assert weighed(talk) == "Hello!" + MARKS["user"]


def test_a_call_that_is_demanded_is_no_choice_and_what_is_only_read_is_not_learned() -> None:
    call = call_text("find_tide", {"port": "unknown"})
    assert weighed(only_block(Exchange("Hello!", (call,), forced=True))) == call + MARKS["tool"]
    silent = Exchange("I am hungry.", answer="Where?", learned=False)
    talk = only_block(silent, Exchange("Tide?", answer="Which port?"))
    assert weighed(talk) == "Which port?" + MARKS["user"]


def test_what_is_the_same_in_every_call_weighs_little() -> None:
    call = call_text("find_tide", {"port": "Brest"})
    block = only_block(Exchange("Tide at Brest?", (call,)))
    full = [i for i, weight in zip(block.ids, block.weights, strict=True) if weight == 1]
    assert TOKENIZER.decode(full) == CALL + 'find_tide"port": "Brest"}}' + MARKS["tool"]
    assert set(block.weights) == {0.0, ROUTINE, 1.0}


def test_functions_or_the_schema_are_pinned_as_an_engine_pins_them() -> None:
    for seed in range(12):
        rng = random.Random(seed)
        made = sample(materials(), rng, 2, scene(Exchange("Hello", answer="Hello!")))
        pinned = list(read(TOKENIZER.decode(made.pinned)))
        assert pinned[-1] == ("system", write_tools([TOOL]))
        assert len(pinned) in (1, 2)
        assert len(made.chunks) == 2
        assert {block.after for block in made.blocks} <= {0, 2}
    asked = Scene((), [[Exchange("Brest", answer='{"port": "Brest"}')]], TOOL.parameters)
    made = sample(materials(), random.Random(1), 1, asked)
    assert TOKENIZER.decode(made.pinned).endswith(write_schema(TOOL.parameters))


def test_turns_of_real_dialogues_become_calls_with_what_the_user_says() -> None:
    names = set()
    for seed in range(20):
        made = real_scene(Draw(random.Random(seed), "train"), [DIALOGUE], 3)
        [talk] = made.talks
        [call] = talk[-1].calls
        read_call = json.loads(call)
        assert talk[-1].question == TURNS[2][1]
        assert read_call["arguments"] == {"cuisine": "Thai", "city": "Milpitas"}
        names.add(read_call["name"])
        assert read_call["name"] in {tool.name for tool in made.tools}
        assert all(not exchange.learned for exchange in talk[:-1])
    assert any("restaurant" in name.lower() for name in names)


@pytest.mark.parametrize(
    "left_out",
    [
        Dialogue(TURNS, {**DIALOGUE.slots, "humidity": [(3, "Anjappar")]}),
        Dialogue((*TURNS, ("user", "How is the weather?")), DIALOGUE.slots),
        Dialogue(TURNS, {"location": [(2, "Milpitas")]}),
    ],
)
def test_real_dialogues_like_the_standard_tests_are_left_out(left_out: Dialogue) -> None:
    for seed in range(10):
        made = real_scene(Draw(random.Random(seed), "train"), [left_out, DIALOGUE], 3)
        said = [exchange.question for talk in made.talks for exchange in talk]
        assert "How is the weather?" not in said
        for tool in made.tools:
            assert {"humidity", "location"}.isdisjoint(tool.parameters["properties"])


@pytest.mark.parametrize("task", ["calls", "formats"])
def test_samples_are_of_the_training_split_alone(task: str) -> None:
    """The task draws nothing of what is evaluated: every seed gives held-in functions only."""
    given = materials(DIALOGUE)
    weights = []
    for seed in range(25):
        made = TASKS[task](given, random.Random(seed), 30)
        assert 1 <= len(made.chunks) <= 8
        weights.append(sum(sum(block.weights) for block in made.blocks))
        assert TOKENIZER.decode(made.pinned).startswith(MARKS["system"])
    assert min(weights) > 0


def test_a_piece_weighs_what_it_says() -> None:
    [first, *_] = written([Exchange("Hello", answer="Hello!")])
    assert first == Piece(MARKS["user"], 0.0)
