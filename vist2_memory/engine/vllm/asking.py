"""The tokens of one answer from vLLM: a request for each stretch of text between two folds.

What vLLM is asked for is exactly what fits until the next fold. A grammar lives here and not in
vLLM, whose own begins anew with each request: vLLM goes on freely, and where it says what the
grammar does not allow, that one token is asked for again among those that it does. For greedy and
for plain sampling this gives each token the very probability that it has when all others are
masked (a draw that is rejected is drawn anew among the rest).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from vist2_memory.engine.decoding import ByteTokenizer, show
from vist2_memory.engine.generation import Decoded
from vist2_memory.engine.steering import Course
from vist2_memory.engine.vllm.requests import Read, Request, Tokens, Told, Transport
from vist2_memory.errors import EngineUnavailableError
from vist2_memory.tracing import span
from vist2_memory.types import GenerationParams, TokenLogprob


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an answer may say."""

    steering: Course | None
    stop_ids: frozenset[int]
    never: frozenset[int]
    """Ids that no answer has."""
    vocabulary: int
    """How many ids the model has."""


class Asking:
    """Asks vLLM for one answer, token by token."""

    reused: int = 0
    """Tokens of the first request that were found in the prefix cache."""

    def __init__(
        self,
        transport: Transport,
        tokenizer: ByteTokenizer,
        params: GenerationParams,
        allowed: Allowed,
        cache_salt: str,
    ) -> None:
        self._transport, self._tokenizer = transport, tokenizer
        self._params, self._salt = params, cache_salt
        self._steering, self._never = allowed.steering, allowed.never
        self._vocabulary = allowed.vocabulary
        self._stops = tuple(sorted(allowed.stop_ids))
        self._shunned = tuple(sorted(allowed.never))
        self._read: Callable[[], Read]
        self._counts: dict[str, int] = {}
        self._tokens: Tokens | None = None  # of the request that goes on from here
        self._requests = 0

    def begin(self, read: Callable[[], Read], **counts: int) -> None:
        """``read`` gives all that the model reads, with the tokens that came; ``counts``: what it
        is at the beginning, for the span of the prefill."""
        self._read, self._counts = read, counts

    def next(self, room: int, until_fold: int) -> Decoded:
        """The next token; raises ``EngineUnavailableError``.

        ``room``: tokens that the answer may still have; ``until_fold``: before a fold may come.
        """
        wanted = min(room, max(until_fold, 1))
        if self._steering is None:
            told = self._free(wanted)
        else:
            told = self._steered(self._steering, room, wanted)
        return Decoded(told.token, self._logprob(told))

    def leave(self) -> None:
        """Abort the request that is under way; safe to call twice."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.close()

    @property
    def may_end(self) -> bool:
        """Whether there is a grammar, and it has all that it asks for."""
        return self._steering is not None and self._steering.may_end

    def _free(self, wanted: int) -> Told:
        """The next token by the model alone."""
        told = self._upcoming(wanted)
        if told.token not in self._never:
            return told
        self.leave()
        return self._one_of([i for i in range(self._vocabulary) if i not in self._never])

    def _steered(self, steering: Course, room: int, wanted: int) -> Told:
        """The next token within the grammar."""
        came: Told | None = None

        def pick(flags: npt.NDArray[np.bool_]) -> int:
            nonlocal came
            came = self._upcoming(wanted)
            if not self._may_come(came.token, flags):
                self.leave()
                came = self._one_of([int(i) for i in np.flatnonzero(flags) if i not in self._never])
            return came.token

        if self._params.logprobs is None:
            steering.look_ahead(room)
        token = steering.next(pick, room)
        if came is not None and came.token == token:
            return came
        self.leave()  # the grammar has decided otherwise, or without the model
        return Told(token) if self._params.logprobs is None else self._one_of([token])

    def _may_come(self, token: int, flags: npt.NDArray[np.bool_]) -> bool:
        return token < len(flags) and bool(flags[token]) and token not in self._never

    def _upcoming(self, wanted: int) -> Told:
        """The next token of the request that goes on from here."""
        if self._tokens is None:
            self._tokens = self._send(wanted, None)
            return self._first(self._tokens)
        told = next(self._tokens, None)
        if told is None:  # fewer than were asked for
            self.leave()
            return self._upcoming(wanted)
        return told

    def _one_of(self, allowed: Sequence[int]) -> Told:
        """The next token, of ``allowed``."""
        if len(allowed) == 1 and self._params.logprobs is None:
            return Told(allowed[0])
        tokens = self._send(1, tuple(allowed))
        try:
            return self._first(tokens)
        finally:
            tokens.close()

    def _send(self, max_tokens: int, allowed: tuple[int, ...] | None) -> Tokens:
        params = self._params
        self._requests += 1
        return self._transport.send(
            Request(
                self._read(),
                max_tokens,
                self._stops,
                self._shunned if allowed is None else (),
                allowed,
                params.temperature,
                params.top_p,
                params.top_k,
                seed_of(params.seed, self._requests),
                params.logprobs,
                self._salt,
            )
        )

    def _first(self, tokens: Tokens) -> Told:
        """The first token of a request; that of the prompt's own is a span."""
        if self._requests > 1:
            return _some(tokens)
        with span("prefill", **self._counts) as outcome:
            told = _some(tokens)
            self.reused = told.cached or 0
            outcome["reused_tokens"] = self.reused
        return told

    def _logprob(self, told: Told) -> TokenLogprob | None:
        if self._params.logprobs is None or told.logprob is None:
            return None
        own = self._told(told.token, told.logprob)
        top = tuple(self._told(*one) for one in told.top[: self._params.logprobs])
        return TokenLogprob(own.token, own.bytes, own.logprob, top)

    def _told(self, token: int, logprob: float) -> TokenLogprob:
        data = self._tokenizer.bytes_of(token)
        return TokenLogprob(show(data.decode("utf-8", "replace")), data, logprob)


def seed_of(seed: int | None, request: int) -> int | None:
    """The seed of an answer's ``request``-th request: a fold begins no series of draws again."""
    if seed is None:
        return None
    digest = blake2b(f"{seed} {request}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _some(tokens: Tokens) -> Told:
    told = next(tokens, None)
    if told is None:
        raise EngineUnavailableError(
            "vLLM ended a request without a token: see its log for the reason"
        )
    return told
