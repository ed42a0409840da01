"""Recall: questions about a conversation that lies in visual memory, and in other forms of memory.

Goes through the engine that users use. Knows no training; what is asked is never trained on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from vist2_memory.engine.base import Engine
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.memory.transcript import Transcript
from vist2_memory.selection import newest_that_fit
from vist2_memory.text.transcript import write
from vist2_memory.training.evaluate.histories import AGES, Kind, source, told_at, values_of
from vist2_memory.training.evaluate.scores import Part, Progress, Report, compression, silent
from vist2_memory.training.evaluate.text_model import (
    ANSWER_TOKENS,
    ARMS,
    TextModel,
    load_arms,
    settled,
    why_missing,
)
from vist2_memory.training.synthetic import Conversation, Question, is_right
from vist2_memory.training.synthetic.scoring import normalise
from vist2_memory.types import Chunk, Context, GenerationParams, Message, TextDelta, VisualTokens

Ask: TypeAlias = Callable[[str], str]
"""Answers a prompt, a written-down question that ends with the mark of the assistant."""

MEMORY = "exact_match"
QUOTED = "exact_match_exact_quotes"
BASELINES = ("exact_match_without_memory", "exact_match_truncated")
TWIN = "text_twin"
TWIN_TRUNCATED = "text_twin_truncated"
_CHARACTERS_PER_TOKEN = 3.2  # of the synthetic conversations; only decides how much is generated
_LONGEST = 1.33  # times the history asked for
_PROMPT_TOKENS = 256  # of a question and its answer, more than there ever are


def transcript_of(engine: Engine, conversation: Conversation) -> Transcript:
    """``conversation`` as a session would hold it."""
    transcript = Transcript(engine.chunker, engine.spec.layout, engine.spec.tail_limit)
    transcript.take(Message(role, text) for role, text in conversation.messages)  # type: ignore[arg-type]
    return transcript


class History:
    """A conversation as a session holds it: visual tokens of what the model can read, and a tail.

    ``budget``: visual tokens and tokens of the tail together, what a text baseline may use.
    """

    def __init__(self, engine: TorchEngine, conversation: Conversation) -> None:
        self.engine = engine
        self.conversation = conversation
        self.transcript = transcript_of(engine, conversation)
        every = self.transcript.chunks
        skipped = newest_that_fit(list(map(engine.cost, every)), engine.spec.max_visual_tokens)
        self.left_out: list[Chunk] = every[:skipped]
        self.chunks: list[Chunk] = every[skipped:]
        self.visual: tuple[VisualTokens, ...] = tuple(engine.encode(self.chunks))
        self.visual_tokens = sum(map(len, self.visual))
        self.tokens = engine.chunker.count(self.transcript.text)
        self.left_out_tokens = sum(chunk.tokens for chunk in self.left_out)
        self.budget = self.visual_tokens + engine.chunker.count(self.transcript.tail)

    @cached_property
    def memory(self) -> KVCache:
        """The visual tokens as the model has read them."""
        return self.engine.prefill("", self.visual)

    def newest(self, tokens: int) -> str:
        """The newest ``tokens`` tokens of the transcript, as text."""
        text = self.transcript.text
        spans = self.engine.chunker.tokenizer.spans(text)
        if tokens >= len(spans):
            return text
        return text[spans[-tokens][0] :] if tokens else ""

    def in_visual_memory(self, exact_quotes: bool = False) -> Ask:
        """Asks the model with the history in visual tokens, read once.

        ``exact_quotes``: its quotes are held to the text of the history, as in a session.
        """
        engine, visual, tail = self.engine, self.visual, self.transcript.tail
        params = GenerationParams(max_tokens=ANSWER_TOKENS, exact_quotes=exact_quotes)

        def ask(prompt: str) -> str:
            answer = ""
            context = Context("", visual, tail + prompt, tuple(self.chunks))
            for event in engine.generate(context, params, self.memory):
                answer += event.text if isinstance(event, TextDelta) else ""
                if settled(answer):
                    break
            return answer

        return ask

    def remembered_by(self, model: TextModel, chunks: Sequence[Chunk]) -> Ask:
        """Asks ``model`` with its vectors of ``chunks`` and the tail as its history, read once."""
        memory = model.prefill(self.transcript.tail, chunks)
        return lambda prompt: model.answer(memory, prompt)

    def as_text(self, model: TextModel, text: str) -> Ask:
        """Asks ``model`` with ``text`` as its history, read once."""
        memory = model.prefill(text)
        return lambda prompt: model.answer(memory, prompt)

    def place(self, offset: int) -> str:
        """In which form the model has what stands at ``offset`` of the transcript."""
        if offset >= self.transcript.tail_start:
            return "text"
        return "left out" if offset < sum(len(c.text) for c in self.left_out) else "visual tokens"


@dataclass(frozen=True, slots=True)
class Answered:
    """A question on conversation number ``conversation``, and which ways of memory were right."""

    conversation: int
    right: Mapping[str, bool]
    answerable: bool
    kind: str
    age: str
    place: str
    novelty: str


def evaluate_recall(
    engine: TorchEngine,
    *,
    conversations: int = 200,
    seed: int = 12345,
    history: int = 1500,
    kind: Kind = "synthetic",
    data: Path | None = None,
    seen: Path | None = None,
    twin: Path | None = None,
    mean_pooled: Path | None = None,
    convolution: Path | None = None,
    baselines: bool = True,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Questions about held-out conversations of about ``history`` text tokens.

    Each is asked with the history in visual memory, where the model quotes also with its quotes
    held to the text, as in a session; with no history, and with as much of the newest
    history as text as fits into the same number of tokens (``baselines``); and of the models in the
    folders ``twin`` (all of it as text), ``mean_pooled`` and ``convolution`` (what lies in visual
    memory in as many vectors). Other kinds than "synthetic" are read from ``data``; answers that
    are slot values of the dialogues in ``seen`` are scored apart. Raises ``InvalidInputError``, and
    ``ModelError`` for a folder that does not fit.
    """
    draw = source(kind, data)
    known = values_of(seen) if seen is not None else None
    arms = load_arms(engine, text_twin=twin, mean_pooled=mean_pooled, convolution=convolution)
    longest = round(history * _LONGEST * 1.2)
    in_vectors = min(longest, engine.spec.max_visual_tokens + engine.spec.tail_limit)
    for arm in arms.values():
        arm.check_reads((in_vectors if arm.form.compresses else longest) + _PROMPT_TOKENS)
    own = TextModel.inside(engine) if baselines else None
    quotes = bool(engine.model.config.quotes)
    rng = random.Random(seed)
    answered: list[Answered] = []
    sums = _Sums()
    for number in range(conversations):
        wanted = int(history * rng.uniform(0.67, _LONGEST) * _CHARACTERS_PER_TOKEN)
        past = History(engine, draw(rng, max(200, wanted)))
        answered += _ask_all(past, number, own, arms, known, quotes)
        sums.add(past)
        progress(number + 1, conversations)
    report = Report()
    _score(report, answered, kind, baselines, arms, known is not None, quotes)
    report.note(
        **sums.figures(),
        conversations=conversations,
        seed=seed,
        kind=kind,
        data=data.name if data else None,
        model=engine.spec.model,
        twin=arms[TWIN].name if TWIN in arms else None,
        arms={name: arm.name for name, arm in arms.items()},
    )
    return report.finish(MEMORY)


def _ask_all(
    past: History,
    number: int,
    own: TextModel | None,
    arms: Mapping[str, TextModel],
    known: frozenset[str] | None,
    quotes: bool,
) -> Iterator[Answered]:
    """Every question of a conversation, in every way; what cannot be known in one way only."""
    ways: dict[str, Ask] = {MEMORY: past.in_visual_memory()}
    if quotes:
        ways[QUOTED] = past.in_visual_memory(exact_quotes=True)
    if own is not None:
        texts = ("", past.newest(past.budget))
        ways |= {way: past.as_text(own, text) for way, text in zip(BASELINES, texts, strict=True)}
    for name, arm in arms.items():
        chunks = past.chunks if arm.form.compresses else past.transcript.chunks
        ways[_figure(name)] = past.remembered_by(arm, chunks)
    if twin := arms.get(TWIN):
        ways[_figure(TWIN_TRUNCATED)] = past.as_text(twin, past.newest(past.budget))
    for question in past.conversation.questions:
        prompt = write([("user", question.text), ("assistant", "")])
        asked = ways if question.answerable else {MEMORY: ways[MEMORY]}
        right = {way: is_right(question, ask(prompt)) for way, ask in asked.items()}
        yield _answered(past, number, question, right, known)


def _figure(arm: str) -> str:
    """What the share of right answers of an arm is called."""
    return f"{arm}_{MEMORY}"


def _answered(
    past: History,
    number: int,
    question: Question,
    right: Mapping[str, bool],
    known: frozenset[str] | None,
) -> Answered:
    offset = told_at(past.conversation, question)
    age = min(len(AGES) - 1, len(AGES) * offset // len(past.transcript.text))
    new = known is not None and normalise(question.value) not in known
    return Answered(
        conversation=number,
        right=right,
        answerable=question.answerable,
        kind=question.kind,
        age=AGES[age],
        place=past.place(offset),
        novelty="never seen in training" if new else "seen in training",
    )


class _Sums:
    """What all histories cost together."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.histories = self.tokens = self.visual = self.left_out = self.full = self.sent = 0

    def add(self, past: History) -> None:
        """Count a history, and what each of its questions makes a model read."""
        self.chunks += past.chunks
        self.histories += 1
        self.tokens += past.tokens
        self.visual += past.visual_tokens
        self.left_out += past.left_out_tokens
        for question in past.conversation.questions:
            prompt = write([("user", question.text), ("assistant", "")])
            prompt_tokens = past.engine.chunker.count(prompt)
            self.full += past.tokens - past.left_out_tokens + prompt_tokens
            self.sent += past.budget + prompt_tokens

    def figures(self) -> dict[str, Any]:
        """Ratios and lengths; ``left_out_share``: of the text, what the model could not read."""
        return {
            **compression(self.chunks, self.visual),
            "context_ratio": self.full / self.sent,
            "history_text_tokens": self.tokens / self.histories,
            "left_out_share": self.left_out / self.tokens,
        }


def _parts(answered: Iterable[Answered], way: str = MEMORY) -> list[Part]:
    """(right, asked) for each conversation."""
    counts: dict[int, Part] = {}
    for one in answered:
        if way in one.right:
            right, asked = counts.get(one.conversation, (0, 0))
            counts[one.conversation] = (right + one.right[way], asked + 1)
    return list(counts.values())


def _score(
    report: Report,
    answered: Sequence[Answered],
    kind: Kind,
    baselines: bool,
    arms: Collection[str],
    novelty: bool,
    quotes: bool,
) -> None:
    told = [one for one in answered if one.answerable]
    unknown = [one for one in answered if not one.answerable]
    report.share(MEMORY, _parts(told))
    asked = {QUOTED: "" if quotes else "the model does not answer by quoting"}
    asked |= dict.fromkeys(BASELINES, "" if baselines else "left out by --skip-baselines")
    for way, name in {TWIN_TRUNCATED: TWIN, **{name: name for name in ARMS}}.items():
        asked[_figure(way)] = "" if name in arms else why_missing(name)
    for way, why in asked.items():
        report.share(way, _parts(told, way), why or "nothing was asked")
    why = "none was asked" if kind == "synthetic" else f"{kind} have no such questions"
    report.share("unanswerable_accuracy", _parts(unknown), why)
    report.note(questions=len(told), unanswerable_questions=len(unknown))
    groups: dict[str, Callable[[Answered], str]] = {
        "by_kind": lambda one: one.kind,
        "by_age": lambda one: one.age,
        "by_place": lambda one: one.place,
    }
    if novelty:
        groups["by_novelty"] = lambda one: one.novelty
    for name, group in groups.items():
        found = {group(one) for one in told}
        order = AGES if name == "by_age" else sorted(found)
        report.shares(name, {g: _parts(one for one in told if group(one) == g) for g in order})
