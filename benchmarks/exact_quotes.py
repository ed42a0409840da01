"""What it takes, and brings, to hold an answer's quotes to the text, and to weigh several places.

    python benchmarks/exact_quotes.py [--conversations 4] [--history 1500]

Writes benchmarks/results/exact_quotes.json: how long it takes to make the automaton of all places
of a text, and a mask of it; and for questions on held-out conversations, each asked in every way in
turn, the share of right answers, and the times of whole answers as ratios to those whose quotes are
free (also for a token, since lengths may differ). ``one``, ``four``, ``eight``: places weighed;
``four_by_words``: without regard to where the model looks.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.closing import allowed
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.quotes import Quotable, Quoting
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import source
from vist2_memory.training.evaluate.recall import History
from vist2_memory.training.synthetic import is_right
from vist2_memory.types import Context, Finished, GenerationParams

OUT = Path(__file__).parent / "results" / "exact_quotes.json"
SEED = 12345
CHARACTERS = (2_000, 20_000, 80_000)
REPEATS = 5
PLACES = {"free": 0, "one": 1, "four_by_words": 4, "four": 4, "eight": 8}


def places(engine: TorchEngine) -> list[dict[str, float]]:
    """Seconds until a quote is open, and of a mask, by characters of text."""
    rng, rows = random.Random(SEED), []
    opens, closes = (engine.model.config.quotes or [])[0]
    vocabulary = engine._grammars.vocabulary
    for characters in CHARACTERS:
        text = write(source("synthetic", None)(rng, characters).messages)
        opened, masked = [], []
        for _ in range(REPEATS):
            course = Quoting(vocabulary, [(opens, closes)], Quotable((), text))
            started = time.perf_counter()
            for token in vocabulary.encode(opens):
                course.next(lambda flags, token=token: token, 99)  # type: ignore[misc]
            opened.append(time.perf_counter() - started)
            assert course._quote is not None
            started = time.perf_counter()
            flags = allowed(course._quote, len(vocabulary))
            masked.append(time.perf_counter() - started)
            assert 0 < np.count_nonzero(flags) < len(flags)
        rows.append(
            {
                "characters": len(text),
                "open_s": statistics.median(opened),
                "mask_s": statistics.median(masked),
            }
        )
    return rows


def answers(engine: TorchEngine, conversations: int, history: int) -> dict[str, Any]:
    """Right answers, and ratios of the times of answers, by the places that are weighed."""
    rng, draw = random.Random(SEED), source("synthetic", None)
    engines = {way: _weighing(engine, way) for way in PLACES}
    right, tokens, times = ({way: 0.0 for way in PLACES} for _ in range(3))
    asked = 0
    for _ in range(conversations):
        past = History(engine, draw(rng, int(history * 3.2)))
        for question in filter(lambda question: question.answerable, past.conversation.questions):
            prompt = write([("user", question.text), ("assistant", "")])
            context = Context("", past.visual, past.transcript.tail + prompt, tuple(past.chunks))
            asked += 1
            for way in rng.sample(list(PLACES), len(PLACES)):
                params = GenerationParams(max_tokens=48, exact_quotes=PLACES[way] > 0)
                started = time.perf_counter()
                finished = list(engines[way].generate(context, params, past.memory))[-1]
                times[way] += time.perf_counter() - started
                assert isinstance(finished, Finished)
                tokens[way] += finished.usage.new_tokens
                right[way] += is_right(question, finished.text)
    return {
        "questions": asked,
        "right": {way: count / asked for way, count in right.items()},
        "tokens": tokens,
        "time_ratio": {way: times[way] / times["free"] for way in PLACES},
        "time_ratio_per_token": {
            way: times[way] / tokens[way] * tokens["free"] / times["free"] for way in PLACES
        },
    }


def _weighing(engine: TorchEngine, way: str) -> TorchEngine:
    """Another engine of the same weights, which weighs quotes in this ``way``."""
    options = EngineOptions(places=max(1, PLACES[way]))
    other = TorchEngine(find_model(engine.spec.model), device="cpu", options=options)
    if way == "four_by_words":
        other.encoder.finder = None
    return other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--history", type=int, default=1500, help="text tokens")
    options = parser.parse_args()
    engine = TorchEngine(find_model("vist2-tiny"), device="cpu")
    found = {
        "places": places(engine),
        "answers": answers(engine, options.conversations, options.history),
    }
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
