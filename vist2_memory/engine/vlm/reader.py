"""What goes on from a sequence of text and pages: in this process, or elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.decoding import ByteTokenizer
from vist2_memory.engine.generation import Decoded
from vist2_memory.engine.sampling import logprob_of
from vist2_memory.engine.vlm.cache import PageCache
from vist2_memory.engine.vlm.chat import Item
from vist2_memory.engine.vlm.family import Family
from vist2_memory.tracing import span


class Reader(ABC):
    """A language model that has read one sequence, and goes on from it."""

    reused: int = 0
    """Tokens of the sequence of which keys and values were there already."""

    @abstractmethod
    def __len__(self) -> int:
        """Tokens read, visual and text, with those that came."""

    @abstractmethod
    def next(self, room: int, until_fold: int) -> Decoded:
        """The next token.

        ``room``: tokens that the answer may still have, with this one; ``until_fold``: tokens, with
        this one, after which the next fold may come.
        """

    @abstractmethod
    def fold(self, items: Sequence[Item]) -> None:
        """``items`` take the place of all that was read and of all that came."""

    @property
    @abstractmethod
    def may_end(self) -> bool:
        """Whether the answer has a grammar, and all that it asks for."""

    def close(self) -> None:  # noqa: B027  (it may hold nothing)
        """Stop, and free what was held."""


class CachedReader(Reader):
    """The model of ``family``, with a KV cache in this process."""

    def __init__(
        self,
        family: Family,
        items: Sequence[Item],
        choose: Chooser,
        tokenizer: ByteTokenizer,
        logprobs: int | None,
    ) -> None:
        """Read ``items``. ``logprobs``: so many of the likeliest tokens are told; None: none."""
        self._cache, self._choose = PageCache(family), choose
        self._tokenizer, self._logprobs = tokenizer, logprobs
        self._waiting: list[int] = []  # tokens that are decided but not run yet
        text = sum(isinstance(item, int) for item in items)
        with span("prefill", pages=len(items) - text, text_tokens=text):
            self._logits: Tensor = self._cache.become(items)

    def __len__(self) -> int:
        return len(self._cache) + len(self._waiting)

    def next(self, room: int, until_fold: int) -> Decoded:
        """See :meth:`Reader.next`."""
        if self._waiting and not self._choose.decides(room):
            self._logits, self._waiting = self._cache.append(self._waiting), []
        token = self._choose.next(self._logits, room)
        self._waiting.append(token)
        if self._logprobs is None:
            return Decoded(token)
        return Decoded(token, logprob_of(self._logits, token, self._logprobs, self._tokenizer))

    def fold(self, items: Sequence[Item]) -> None:
        """See :meth:`Reader.fold`; what both begin with stays."""
        self._logits, self._waiting = self._cache.become(items), []

    @property
    def may_end(self) -> bool:
        """See :attr:`Reader.may_end`."""
        return self._choose.may_end
