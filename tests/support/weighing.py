"""What quotes are weighed with in tests: branches of a model that says what it is told to like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from tests.support.grammars import small_vocabulary
from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine.quotes import Quoting
from vist2_memory.engine.weighing import ROOT

OPENS, CLOSES = 'You said: "', '."'
TOKENIZER, VOCABULARY = small_tokenizer(), small_vocabulary()


class Liking:
    """Branches of a model that likes to say certain words, and all else alike or by chance."""

    def __init__(self, likes: Mapping[str, float] | None = None, seed: int | None = None) -> None:
        """``likes``: the logit of each token on the way through a text; ``seed`` draws others."""
        self._likes, self._others = likes or {}, torch.zeros(len(VOCABULARY))
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            self._others = torch.randn(len(VOCABULARY), generator=generator)
        self.reads: list[list[list[int]]] = []
        self.read_after: list[list[bytes]] = []
        self._ways: list[list[int]] = []

    def after(self, ids: Sequence[int]) -> Tensor:
        said, logits = VOCABULARY.bytes_of(ids), self._others.clone()
        for text, logit in self._likes.items():
            data = text.encode()
            if data.startswith(said) and data != said:
                for token, own in enumerate(VOCABULARY.tokens):
                    if own and data.startswith(said + own):
                        logits[token] = max(logits[token].item(), logit)
        return logits

    @property
    def first(self) -> Tensor:
        return self.after(())

    def look(self, token: int) -> Tensor | None:
        return None

    def grow(self, ways: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, Tensor]]:
        grown: list[tuple[int, Tensor]] = []
        begun: list[bytes] = []
        self.read_after.append(begun)
        for node, ids in ways:
            before = [] if node == ROOT else self._ways[node]
            begun.append(VOCABULARY.bytes_of([*before, ids[0]]))
            self._ways.append([*before, *ids])
            told = [self.after([*before, *ids[: i + 1]]) for i in range(len(ids))]
            grown.append((len(self._ways) - 1, torch.stack(told)))
        self.reads.append([list(ids) for _, ids in ways])
        return grown


def decided(course: Quoting, room: int = 99) -> str:
    ids = []
    while course.decided:
        ids.append(course.next(lambda _: pytest.fail("it was decided"), room))
    return b"".join(map(TOKENIZER.bytes_of, ids)).decode()


def open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every answer open a quote with its first token."""
    taken = Quoting._take
    begun: dict[int, Quoting] = {}  # held, so that none gets the number of another

    def take(course: Quoting, token: int) -> None:
        if id(course) in begun:
            taken(course, token)
            return
        begun[id(course)] = course
        course._last = token
        course._open(CLOSES)

    monkeypatch.setattr(Quoting, "_take", take)
