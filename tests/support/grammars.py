"""Answers by grammars alone: random logits over the small tokenizer, no model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine.grammar import CallForm
from vist2_memory.engine.steering import Grammars, Steering
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.text.transcript import CALL, END, MARKS, RESERVED
from vist2_memory.types import GenerationParams

FORM = CallForm(RESERVED.index(CALL))
BARE = CallForm(None, between="\n")


@cache
def small_vocabulary() -> Vocabulary:
    """The small tokenizer's tokens."""
    tokenizer = small_tokenizer()
    tokens = [tokenizer.bytes_of(i) for i in range(len(tokenizer))]
    marks = [tokenizer.id(mark) for mark in RESERVED]
    stops = [tokenizer.id(mark) for mark in (END, *MARKS.values())]
    return Vocabulary(tokens, marks, stops, tokenizer.encode)


@cache
def _grammars(form: CallForm) -> Grammars:
    return Grammars(small_vocabulary, form)


def steer(params: GenerationParams, form: CallForm = FORM) -> Steering:
    """The course of an answer by ``params``."""
    steering = _grammars(form).steer(params)
    assert steering is not None
    return steering


@dataclass(frozen=True)
class Walk:
    """What came of random choices. ``whole``: not only the tokens were at their end."""

    ids: list[int]
    whole: bool

    @property
    def written(self) -> str:
        return b"".join(map(small_tokenizer().bytes_of, self.ids)).decode()

    @property
    def text(self) -> str:
        return self.written.split(CALL)[0]

    @property
    def calls(self) -> list[str]:
        return self.written.split(CALL)[1:]


def shortest(params: GenerationParams, form: CallForm = FORM) -> int:
    """How many tokens the shortest answer takes that is found."""
    found = steer(params, form).shortest
    assert found is not None
    return found


def walk(
    params: GenerationParams,
    seed: int,
    form: CallForm = FORM,
    *,
    ahead: bool = True,
    first: str = "",
) -> Walk:
    """An answer of random tokens, each as likely as any other that may come, after ``first``."""
    vocabulary = small_vocabulary()
    steering = steer(params, form)
    random = np.random.default_rng(seed)
    begin = deque(vocabulary.encode(first))

    def pick(flags: npt.NDArray[np.bool_]) -> int:
        assert flags.any()
        if begin:
            return begin.popleft()
        return int(np.where(flags, random.random(len(flags)), -1).argmax())

    ids: list[int] = []
    while len(ids) < params.max_tokens:
        token = steering.next(pick, params.max_tokens - len(ids))
        if token in vocabulary.stops:
            return Walk(ids, True)
        ids.append(token)
        if ahead:
            steering.look_ahead(params.max_tokens - len(ids))
    return Walk(ids, steering.may_end)
