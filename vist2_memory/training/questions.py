"""Questions on a conversation as blocks of training: what is asked, said, and looked at."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import MARKS, escape, write
from vist2_memory.training.batches import Block, Place, Sample, Sought
from vist2_memory.training.materials import PINNED_PROMPTS, Materials, begins_at, write_turns
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
    """A conversation in writing."""

    text: str
    """All of it."""
    texts: Sequence[str]
    """The chunks in memory; the rest is text still."""
    remembered: int
    """Characters in memory."""
    tail_ids: Sequence[int]
    tail_spans: Sequence[tuple[int, int]]
    """The characters of each token of the tail."""


def ask(
    materials: Materials, rng: random.Random, conversation: Conversation, tail_chunks: int
) -> Sample:
    """``conversation`` as memory and tail, and its questions in blocks of several.

    ``tail_chunks``: how many full chunks are in the tail at the most; one stays in memory.
    """
    tokenizer, chunker = materials.tokenizer, materials.chunker
    transcript = write_turns(conversation.messages)
    texts = [chunk.text for chunk in chunker.cut(transcript)]
    texts = texts[: max(1, len(texts) - tail_chunks)]
    remembered = sum(map(len, texts))
    tail = transcript[remembered:]
    past = _Past(transcript, texts, remembered, tokenizer.encode(tail), tokenizer.spans(tail))
    questions = list(conversation.questions)
    rng.shuffle(questions)
    blocks: list[Block] = []
    fewest, most = (8, 12) if tail_chunks > 1 else (2, 8)  # each block repeats the tail
    room = ROOM
    while questions and room > 0:
        asked = [questions.pop() for _ in range(min(rng.randint(fewest, most), len(questions)))]
        places = [quoted_at(conversation, question) for question in asked]
        blocks.append(_block(tokenizer, past, asked, places))
        room -= len(blocks[-1].ids)
    pinned = rng.choice(PINNED_PROMPTS) if rng.random() < 0.1 else ""
    system = tokenizer.encode(write([("system", pinned)])) if pinned else []
    return Sample(texts, blocks, system)


def quoted_at(conversation: Conversation, question: Question) -> tuple[int, int] | None:
    """The characters of the transcript that the answer quotes, from and to; None if it does not."""
    quote = quote_of(escape(question.answer))
    if not question.answerable or quote is None:
        return None
    begins = begins_at(conversation.messages, question.turn)
    message = escape(conversation.messages[question.turn][1])
    # Its first letter may be a small one.
    found = [one.span() for one in re.finditer(re.escape(quote), message, re.IGNORECASE)]
    return (begins + found[-1][0], begins + found[-1][1]) if found else None


def quote_of(answer: str) -> str | None:
    """What ``answer`` says between its quotation marks."""
    for opening in OPENINGS.values():
        if answer.startswith(opening) and answer.endswith(CLOSING):
            return answer[len(opening) : -len(CLOSING)]
    return None


def _block(
    tokenizer: Vist2Tokenizer,
    past: _Past,
    questions: Sequence[Question],
    places: Sequence[tuple[int, int] | None],
) -> Block:
    """The tail, then questions with their answers; only answers are supervised.

    ``places``: what each answer quotes, as from :func:`quoted_at`. An answer ends where the next
    message begins: the mark of the user is part of what is learned.
    """
    ids, weights = [*past.tail_ids], [0.0] * len(past.tail_ids)
    sought: list[Sought] = []
    for question, place in zip(questions, places, strict=True):
        asked = tokenizer.encode(write([("user", question.text), ("assistant", "")]))
        weights += [float(question is not questions[0])] + [0.0] * (len(asked) - 1)
        ids += asked
        answer = escape(question.answer)
        quoted = _quoted(tokenizer, answer) if place is not None else range(0)
        worth = _worth(past, tokenizer, answer, quoted)
        if place is not None:
            looking = range(len(ids) - 1, len(ids) + quoted.stop - 1)
            following = _following(tokenizer, answer, quoted, place)
            sought.append(
                Sought(
                    looking,
                    _place(past, place),
                    [_place(past, one) for one in following],
                    worth[: quoted.stop],
                )
            )
        weights += worth
        ids += tokenizer.encode(answer)
    mark = tokenizer.encode(MARKS["user"])
    return Block(len(past.texts), ids + mark, [*weights, 1.0], sought)


def _quoted(tokenizer: Vist2Tokenizer, answer: str) -> range:
    """The tokens of ``answer`` that say something of its quote."""
    quote = quote_of(answer) or ""
    opened = answer.index(quote)
    inside = [
        i
        for i, (start, end) in enumerate(tokenizer.spans(answer))
        if end > opened and start < opened + len(quote)
    ]
    return range(inside[0], inside[-1] + 1)


def _worth(past: _Past, tokenizer: Vist2Tokenizer, answer: str, quoted: range) -> list[float]:
    """The loss weight of each token of ``answer``, of which ``quoted`` are a quote's."""
    spans = tokenizer.spans(answer)
    worth = [1.0] * len(spans)
    quote = quote_of(answer) or ""
    opened = answer.index(quote)
    pieces = [
        quote[max(0, start - opened) : max(0, end - opened)]
        for start, end in (spans[i] for i in quoted)
    ]
    for i, is_open in zip(quoted, open_at(past.text, pieces), strict=True):
        worth[i] = OPEN_WEIGHT if is_open else 1.0
    return worth


def _following(
    tokenizer: Vist2Tokenizer, answer: str, quoted: range, place: tuple[int, int]
) -> list[tuple[int, int]]:
    """The characters of the transcript that each token of ``answer`` says, to the end of its quote.

    ``quoted``: the tokens of the quote, which stands at ``place``; those before are as the first.
    """
    opened = answer.index(quote_of(answer) or "")
    said = []
    for start, end in tokenizer.spans(answer)[quoted.start : quoted.stop]:
        space = end - start - len(answer[start:end].lstrip()) if answer[start:end].strip() else 0
        first, last = (place[0] + at - opened for at in (start + space, end))
        said.append((max(place[0], first), min(place[1], last)))
    return [said[0]] * quoted.start + said


def _place(past: _Past, characters: tuple[int, int]) -> Place:
    """Where ``characters`` of the transcript, from and to, are for a block."""
    start, end = characters
    own = [
        i
        for i, (first, last) in enumerate(past.tail_spans)
        if last > start - past.remembered and first < end - past.remembered
    ]
    memory = (start, min(end, past.remembered)) if start < past.remembered else (0, 0)
    return Place(memory, (own[0], own[-1] + 1) if own else (0, 0))


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
