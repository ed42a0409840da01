"""Which selection keeps what a question asks for, where the history is longer than the budget.

    python benchmarks/choose_chunks.py --kinds dialogues --data dialogues/sgd-test.jsonl.xz

For held-out synthetic conversations, or histories of the dialogues in the file, it tells the
share of questions whose answer stands, whole, in chunks that each policy keeps. ``--answers`` has
the bundled model answer too. What a fact was told in, and nothing else, is counted: a fact that was
changed later is asked for in its newest form.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vist2_memory.engine.catalog import find_model, open_engine
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.memory.candidates import of_session
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import Policy, choose, mixed, recent, relevant
from vist2_memory.store.base import Scope
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import source, told_at
from vist2_memory.training.evaluate.recall import transcript_of
from vist2_memory.training.evaluate.text_model import ANSWER_TOKENS
from vist2_memory.training.synthetic import Question, is_right
from vist2_memory.types import Context, Finished, GenerationParams

POLICIES: dict[str, Policy] = {
    "recent": recent,
    "relevant": relevant,
    "mixed": mixed,
    "mixed, newest=0.25": partial(mixed, newest=0.25),
}
SCOPE = Scope("benchmark", "session", "history")
CHARACTERS_PER_TOKEN = 3.2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="dialogues with slots, as .jsonl.xz")
    parser.add_argument("--kinds", nargs="+", default=["synthetic"], help="synthetic, dialogues")
    parser.add_argument("--budget", type=int, default=256, help="visual tokens of history")
    parser.add_argument("--times", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--seed", type=int, default=12345)
    given = parser.parse_args()
    engine = open_engine(find_model("vist2-tiny"))
    assert isinstance(engine, TorchEngine)
    print(f"budget {given.budget} visual tokens; kept / answered right, in per cent")
    print("| history | times the budget | questions | " + " | ".join(POLICIES) + " |")
    print("|---|---|---|" + "---|" * len(POLICIES))
    for kind in given.kinds:
        for times in given.times:
            measure(engine, kind, times, given)


def measure(engine: TorchEngine, kind: str, times: int, given: argparse.Namespace) -> None:
    """One line of the table."""
    rng = random.Random(given.seed)
    draw = source(kind, given.data if kind == "dialogues" else None)  # type: ignore[arg-type]
    characters = int(given.budget * times * 4.5 * CHARACTERS_PER_TOKEN)
    kept, right, asked = dict.fromkeys(POLICIES, 0), dict.fromkeys(POLICIES, 0), 0
    for _ in range(given.conversations):
        conversation = draw(rng, characters)
        state = transcript_of(engine, conversation)
        for question in conversation.questions:
            if not question.answerable:
                continue
            offset = told_at(conversation, question)
            if offset + len(question.value) > state.tail_start:
                continue  # it is still text
            asked += 1
            for name, policy in POLICIES.items():
                places = chosen(engine, state, question, policy, given.budget)
                kept[name] += holds(state, places, offset, len(question.value))
                if given.answers:
                    right[name] += is_right(question, answer(engine, state, question, places))
    cells = [
        f"{100 * kept[name] / asked:.0f}"
        + (f" / {100 * right[name] / asked:.0f}" if given.answers else "")
        for name in POLICIES
    ]
    print(f"| {kind} | {times} | {asked} | " + " | ".join(cells) + " |", flush=True)


def chosen(
    engine: TorchEngine, state: Transcript, question: Question, policy: Policy, budget: int
) -> Sequence[int]:
    """The places of the chunks that ``policy`` keeps for ``question``."""
    candidates = of_session(SCOPE, state, engine.cost, frozenset())
    return choose(candidates, budget, question.text, policy).kept


def holds(state: Transcript, places: Sequence[int], offset: int, length: int) -> bool:
    """Whether the characters from ``offset`` on stand in the chunks at ``places``."""
    kept = set(places)
    return all(
        place in kept
        for place, chunk in enumerate(state.chunks)
        if chunk.start < offset + length and offset < chunk.start + len(chunk.text)
    )


def answer(
    engine: TorchEngine, state: Transcript, question: Question, places: Sequence[int]
) -> str:
    """What the model says, with the chunks at ``places`` as visual tokens."""
    visual = tuple(engine.encode([state.chunks[place] for place in places]))
    tail = state.tail + write([("user", question.text), ("assistant", "")])
    params = GenerationParams(max_tokens=ANSWER_TOKENS)
    *_, last = engine.generate(Context("", visual, tail), params)
    assert isinstance(last, Finished)
    return last.text


if __name__ == "__main__":
    main()
