"""Questions on a conversation as blocks of training: what is asked, said, and looked at."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.text.transcript import MARKS, escape, write
from vist2_memory.training.batches import Block, Sample, Sought
from vist2_memory.training.materials import PINNED_PROMPTS, Materials, write_turns
from vist2_memory.training.synthetic import Conversation, Question
from vist2_memory.training.synthetic.quoting import CLOSING, OPENINGS

ROOM = 1100
"""Tokens of all blocks of a sample, about."""
OPEN_WEIGHT = 3.0
"""Loss weight of the tokens of a quote at which the memory goes on in several ways; the others, of
which there are more, follow from those before."""
_WORD_START = re.compile(r"(?<!\w)\w")


@dataclass(frozen=True, slots=True)
class _Past:
    """A conversation in writing: the chunks of ``memory``, and ``tail``, which is text still."""

    texts: Sequence[str]
    tail: str
    tail_spans: Sequence[tuple[int, int]]
    """The characters of each token of the tail."""

    @property
    def remembered(self) -> int:
        """Characters in memory."""
        return sum(map(len, self.texts))


def ask(
    materials: Materials, rng: random.Random, conversation: Conversation, tail_chunks: int
) -> Sample:
    """``conversation`` as memory and tail, and its questions in blocks of several.

    ``tail_chunks``: how many full chunks are in the tail, if as many as one stay in memory.
    """
    tokenizer, chunker = materials.tokenizer, materials.chunker
    transcript = write_turns(conversation.messages)
    texts = [chunk.text for chunk in chunker.cut(transcript)]
    texts = texts[: max(1, len(texts) - tail_chunks)]
    tail = transcript[sum(map(len, texts)) :]
    past = _Past(texts, tail, tokenizer.spans(tail))
    questions = list(conversation.questions)
    rng.shuffle(questions)
    blocks: list[Block] = []
    fewest, most = (8, 12) if tail_chunks > 1 else (2, 8)  # each block repeats the tail
    room = ROOM
    while questions and room > 0:
        asked = [questions.pop() for _ in range(min(rng.randint(fewest, most), len(questions)))]
        places = [quoted_at(conversation, question) for question in asked]
        blocks.append(_block(materials, past, list(zip(asked, places, strict=True))))
        room -= len(blocks[-1].ids)
    pinned = rng.choice(PINNED_PROMPTS) if rng.random() < 0.1 else ""
    system = tokenizer.encode(write([("system", pinned)])) if pinned else []
    return Sample(texts, blocks, system)


def quoted_at(conversation: Conversation, question: Question) -> tuple[int, int] | None:
    """The characters of the transcript that the answer quotes, from and to; None if it does not."""
    quote = quote_of(question.answer)
    if not question.answerable or quote is None:
        return None
    before = sum(1 + len(escape(text)) for _, text in conversation.messages[: question.turn])
    message = escape(conversation.messages[question.turn][1])
    at = message.lower().rfind(quote.lower())  # its first letter may be a small one
    return None if at < 0 else (before + 1 + at, before + 1 + at + len(quote))


def quote_of(answer: str) -> str | None:
    """What ``answer`` says between its quotation marks, as it stands in a transcript."""
    for opening in OPENINGS.values():
        if answer.startswith(opening) and answer.endswith(CLOSING):
            return escape(answer[len(opening) : -len(CLOSING)])
    return None


def _block(
    materials: Materials, past: _Past, asked: Sequence[tuple[Question, tuple[int, int] | None]]
) -> Block:
    """The tail, then questions with their answers; only answers are supervised.

    An answer ends where the next message begins: the mark of the user is part of what is learned.
    """
    tokenizer = materials.tokenizer
    ids = tokenizer.encode(past.tail)
    weights = [0.0] * len(ids)
    sought = []
    for number, (question, place) in enumerate(asked):
        prompt = tokenizer.encode(write([("user", question.text), ("assistant", "")]))
        answer = escape(question.answer)
        spans, said = tokenizer.spans(answer), tokenizer.encode(answer)
        ids += prompt
        weights += [float(number > 0)] + [0.0] * (len(prompt) - 1)
        worth = [1.0] * len(said)
        quote = quote_of(question.answer)
        if place is not None and quote is not None:
            opened, closed = answer.index(quote), answer.index(quote) + len(quote)
            first = next(i for i, (_, end) in enumerate(spans) if end > opened)
            last = next((i for i, (start, _) in enumerate(spans) if start >= closed), len(said))
            text = "".join(past.texts) + past.tail
            pieces = [answer[max(opened, start) : min(closed, end)] for start, end in spans]
            for i, is_open in enumerate(open_at(text, pieces[first:last]), first):
                worth[i] = OPEN_WEIGHT if is_open else 1.0
            begins = len(ids)  # the answer's first token
            seeking = range(begins - 1, begins + last - 1)
            sought.append(_sought(past, place, seeking))
        ids += said
        weights += worth
    mark = tokenizer.encode(MARKS["user"])
    return Block(len(past.texts), ids + mark, [*weights, 1.0], sought)


def _sought(past: _Past, place: tuple[int, int], ids: range) -> Sought:
    start, end = place
    remembered = past.remembered
    own = [
        i
        for i, (first, last) in enumerate(past.tail_spans)
        if last > start - remembered and first < end - remembered
    ]
    memory = (start, min(end, remembered)) if start < remembered else (0, 0)
    return Sought(ids, memory, (own[0], own[-1] + 1) if own else (0, 0))


def open_at(text: str, pieces: Sequence[str]) -> list[bool]:
    """For each of ``pieces``, end to end, whether ``text`` goes on otherwise in another place.

    Places are those of ``text`` where all pieces before stand from the beginning of a word;
    capitals and small letters are alike.
    """
    lowered = text.lower()
    places = [found.start() for found in _WORD_START.finditer(lowered)]
    length, is_open = 0, []
    for piece in map(str.lower, pieces):
        same = [at for at in places if lowered.startswith(piece, at + length)]
        is_open.append(len(same) < len(places))
        places, length = same, length + len(piece)
    return is_open
