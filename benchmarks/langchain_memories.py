"""Four memories of a LangChain agent side by side: all of it, trimmed, summarised, and visual.

    python benchmarks/langchain_memories.py [--conversations 5] [--history 4000] [--budget 1000]

Held-out synthetic conversations of about ``--history`` text tokens, the bundled model, and the same
questions in every way, one way after another for each question, in one process. Trimming and
summarising may use ``--budget`` tokens of history, as may visual memory; "all of it" is what a
buffer of the whole conversation sends. Writes benchmarks/results/langchain-memories.json, and the
table between the marks of docs/langchain.md.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
    SummarizationMiddleware,
)
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, trim_messages
from langchain_core.outputs import LLMResult

from langchain_vist2 import ChatVIST2, VisualMemoryMiddleware
from vist2_memory import VisualMemory
from vist2_memory.training.evaluate.scores import Part, share_interval
from vist2_memory.training.synthetic import Conversation, Question, generate, is_right

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/langchain-memories.json"
DOCS = ROOT / "docs/langchain.md"
ALL, TRIMMED, SUMMARISED, VISUAL = "all of it", "trimmed", "summarised", "visual memory"
_CHARACTERS_PER_TOKEN = 3.2
_ANSWER_TOKENS = 48


class Trimming(AgentMiddleware[Any, Any, Any]):
    """Sends the newest messages that fit into a budget."""

    def __init__(self, llm: ChatVIST2, budget: int) -> None:
        super().__init__()
        self._llm, self._budget = llm, budget

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        newest = trim_messages(
            request.messages,
            max_tokens=self._budget,
            token_counter=self._llm.get_num_tokens_from_messages,
            strategy="last",
            start_on="human",
        )
        return handler(request.override(messages=newest))


class Calls(BaseCallbackHandler):
    """Counts model calls and what they read."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        message: Any = response.generations[0][0]
        self.tokens.append(message.message.usage_metadata["input_tokens"])


def agents(memory: VisualMemory, budget: int) -> dict[str, Any]:
    """An agent for each way; those that send text send all that they send as text."""
    engine = memory.engine
    text = ChatVIST2(model=engine, max_tokens=_ANSWER_TOKENS, keep_recent=1_000_000)
    visual = ChatVIST2(model=engine, max_tokens=_ANSWER_TOKENS)
    summing = SummarizationMiddleware(
        model=ChatVIST2(model=engine, max_tokens=budget // 8, keep_recent=1_000_000),
        trigger=("tokens", budget),
        keep=("tokens", budget // 2),
        token_counter=text.get_num_tokens_from_messages,
        trim_tokens_to_summarize=None,
    )
    seeing = VisualMemoryMiddleware(memory, keep_recent=("messages", 2), max_tokens=budget)
    return {
        ALL: create_agent(text),
        TRIMMED: create_agent(text, middleware=[Trimming(text, budget)]),
        SUMMARISED: create_agent(text, middleware=[summing]),
        VISUAL: create_agent(visual, middleware=[seeing]),
    }


def as_messages(conversation: Conversation) -> list[AnyMessage]:
    """The conversation as an agent's state holds it; every message has an id."""
    kinds: dict[str, Any] = {"user": HumanMessage, "assistant": AIMessage}
    return [kinds[role](text, id=uuid.uuid4().hex) for role, text in conversation.messages]


class Tally:
    """What came of one way."""

    def __init__(self) -> None:
        self.right: dict[int, list[bool]] = defaultdict(list)
        self.tokens: list[int] = []
        self.calls: list[int] = []
        self.seconds: list[float] = []

    def ask(self, agent: Any, number: int, state: Sequence[AnyMessage], asked: Question) -> None:
        """Ask one question, and note what it took."""
        calls = Calls()
        thread = {"configurable": {"thread_id": f"conversation {number}"}, "callbacks": [calls]}
        started = time.perf_counter()
        end = agent.invoke({"messages": [*state, HumanMessage(asked.text)]}, thread)
        self.seconds.append(time.perf_counter() - started)
        self.right[number].append(is_right(asked, end["messages"][-1].text))
        self.tokens.append(sum(calls.tokens))
        self.calls.append(len(calls.tokens))

    def figures(self, base: Tally) -> dict[str, Any]:
        """``base``: the way whose time counts as 1; times of the same question are compared."""
        parts: list[Part] = [(sum(right), len(right)) for right in self.right.values()]
        pairs = zip(self.seconds, base.seconds, strict=True)
        return {
            "recall": sum(right for right, _ in parts) / sum(of for _, of in parts),
            "interval95": list(share_interval(parts)),
            "tokens_read": fmean(self.tokens),
            "extra_model_calls": fmean(self.calls) - 1,
            "time_ratio": median(own / other for own, other in pairs),
        }


def measure(conversations: int, history: int, budget: int, seed: int, most: int) -> dict[str, Any]:
    """All figures; ``most``: questions a conversation."""
    memory = VisualMemory.open("memory://")
    ways = agents(memory, budget)
    tallies = {way: Tally() for way in ways}
    rng = random.Random(seed)
    lengths = []
    for number in range(conversations):
        conversation = generate(
            rng, characters=int(history * _CHARACTERS_PER_TOKEN), split="heldout"
        )
        state = as_messages(conversation)
        text = "".join(message.text for message in state)
        lengths.append(memory.engine.chunker.count(text))
        answerable = [question for question in conversation.questions if question.answerable]
        for question in rng.sample(answerable, min(most, len(answerable))):
            for way, agent in ways.items():
                tallies[way].ask(agent, number, state, question)
        print(f"conversation {number + 1} of {conversations}", flush=True)
    return {
        "model": memory.engine.spec.model,
        "conversations": conversations,
        "questions": sum(map(len, tallies[ALL].right.values())),
        "history_text_tokens": fmean(lengths),
        "budget": budget,
        "seed": seed,
        "ways": {way: tally.figures(tallies[ALL]) for way, tally in tallies.items()},
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as the table of docs/langchain.md."""
    rows = [
        f"| {way} | {own['recall']:.2f} ({own['interval95'][0]:.2f} to {own['interval95'][1]:.2f}) "
        f"| {own['tokens_read']:,.0f} | {own['extra_model_calls']:.1f} | {own['time_ratio']:.2f} |"
        for way, own in figures["ways"].items()
    ]
    head = "| memory | recall (95%) | tokens read for a question | extra model calls | time |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=5)
    parser.add_argument("--history", type=int, default=4000, help="text tokens")
    parser.add_argument("--budget", type=int, default=1000, help="tokens of a model call")
    parser.add_argument("--questions", type=int, default=20, help="of a conversation, at most")
    parser.add_argument("--seed", type=int, default=12345)
    given = parser.parse_args()
    figures = measure(given.conversations, given.history, given.budget, given.seed, given.questions)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))
    before, mark, rest = DOCS.read_text(encoding="utf-8").partition("<!-- side by side -->\n")
    after = rest[rest.index("<!-- end -->") :]
    DOCS.write_text(f"{before}{mark}{table(figures)}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
