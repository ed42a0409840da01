"""What is asked of vLLM, and who answers: one request is a sequence that is gone on with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image within a sequence of ids."""

    offset: int
    """Where its placeholders begin."""
    embeds: Tensor
    """What the tower and projector made of it, of shape (visual tokens, width)."""
    name: str
    """Of these values for those who may share them: what vLLM keeps is found by it again."""
    grid: tuple[int, int, int] | None = None
    """Patches along time, height and width, for families that place tokens by them."""


@dataclass(frozen=True, slots=True)
class Paged:
    """Text and encoded images, by ids: an image's placeholder stands for each of its tokens."""

    ids: tuple[int, ...]
    images: tuple[Image, ...]

    def __len__(self) -> int:
        return len(self.ids)


Read: TypeAlias = Tensor | Paged
"""What is read: embeddings of shape (tokens, hidden size), or ids with images among them."""


@dataclass(frozen=True, slots=True)
class Request:
    """A sequence, and how vLLM goes on with it."""

    read: Read
    max_tokens: int
    stop_ids: tuple[int, ...]
    """Ids after which it ends; such a one is told as the last token."""
    shunned: tuple[int, ...] = ()
    """Ids that are not to come."""
    allowed: tuple[int, ...] | None = None
    """The only ids that may come; None: all."""
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0: off."""
    seed: int | None = None
    logprobs: int | None = None
    """So many of the likeliest tokens are told at each place; None: no log probabilities."""
    cache_salt: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A token that vLLM generated."""

    token: int
    logprob: float | None = None
    """By the model's logits, before temperature and any restriction."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest ids there, and how likely they were; the likeliest first."""
    cached: int | None = None
    """Tokens of the request that were found in the prefix cache; told with the first token."""


class Tokens(Iterator[Told]):
    """The tokens of one request, as they come."""

    @abstractmethod
    def close(self) -> None:
        """Abort the request if it has not ended. Safe to call twice."""


class Transport(ABC):
    """Takes requests to vLLM. Safe to call from several threads."""

    @abstractmethod
    def send(self, request: Request) -> Tokens:
        """The tokens that come of ``request``; raises ``EngineUnavailableError``, also later."""

    @abstractmethod
    def close(self) -> None:
        """Stop what was started for it."""
