"""What a user asks of the middleware, checked; sizes as numbers of messages or tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from langchain_vist2.agents.splitting import Size
from langchain_vist2.errors import InvalidInputError
from langchain_vist2.messages import Media

TokenCounter: TypeAlias = Callable[[Sequence[BaseMessage]], int]

RESULT_TOKENS = 2000
"""Tokens from which a result is too large, where no budget is given."""


@dataclass(frozen=True)
class Settings:
    """The options of ``VisualMemoryMiddleware``, which says what they mean."""

    keep_recent: Size = ("messages", 6)
    trigger: Size | Sequence[Size] | None = None
    max_tokens: int | None = None
    tool_result_tokens: int | None = None
    expand: bool = True
    media: Media = "placeholder"
    token_counter: TokenCounter = count_tokens_approximately

    def __post_init__(self) -> None:
        _check_size("keep_recent", self.keep_recent)
        for size in self.triggers:
            _check_size("trigger", size)
        for name, value in (
            ("max_tokens", self.max_tokens),
            ("tool_result_tokens", self.tool_result_tokens),
        ):
            if value is not None and (type(value) is not int or value < 1):
                raise InvalidInputError(
                    f"{name}={value!r} is not allowed: it must be a whole number, 1 or more, or "
                    "None"
                )
        if self.media not in ("error", "placeholder"):
            raise InvalidInputError(
                f"media={self.media!r} is not allowed: it must be 'error' or 'placeholder'"
            )

    @property
    def triggers(self) -> tuple[Size, ...]:
        """The sizes of which any begins to move messages to memory; none: it is always so."""
        if self.trigger is None:
            return ()
        return (self.trigger,) if isinstance(self.trigger, tuple) else tuple(self.trigger)

    @property
    def result_tokens(self) -> int:
        """Tokens from which a result is too large: by default a quarter of the budget."""
        if self.tool_result_tokens is not None:
            return self.tool_result_tokens
        return RESULT_TOKENS if self.max_tokens is None else max(1, self.max_tokens // 4)


def in_tokens(size: Size, name: str, limit: int | None) -> Size:
    """``size`` without fractions: of ``limit``, the tokens that a call may have.

    Raises ``InvalidInputError`` for a fraction of a limit that is not known.
    """
    kind, value = size
    if kind != "fraction":
        return size
    if limit is None:
        raise InvalidInputError(
            f"{name}={size!r}: it is not known how many tokens the model takes; give max_tokens, "
            "or a number of tokens or messages, or a model whose profile has max_input_tokens"
        )
    return ("tokens", max(1, int(limit * value)))


def _check_size(name: str, size: Size) -> None:
    good = isinstance(size, tuple) and len(size) == 2
    if good and size[0] == "fraction":
        good = type(size[1]) in (int, float) and 0 < size[1] <= 1
    elif good:
        good = size[0] in ("messages", "tokens") and type(size[1]) is int and size[1] >= 1
    if not good:
        raise InvalidInputError(
            f"{name}={size!r} is not allowed: give ('messages', n) or ('tokens', n), n a whole "
            "number of 1 or more, or ('fraction', f), f above 0 and at most 1"
        )
