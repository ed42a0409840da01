"""The decoder whose tokens come from vLLM: a request for each stretch of text between two folds.

What vLLM is asked for is exactly what fits until the next fold. A grammar lives here and not in
vLLM, whose own begins anew with each request: vLLM goes on freely, and where it says what the
grammar does not allow, that one token is asked for again among those that it does. For greedy and
for plain sampling this gives each token the very probability that it has when all others are
masked (a draw that is rejected is drawn anew among the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vist2_memory.engine.decoding import ByteTokenizer, show
from vist2_memory.engine.generation import Decoded, Decoder, Prompt
from vist2_memory.engine.steering import Steering
from vist2_memory.engine.vllm.requests import Request, Tokens, Told, Transport
from vist2_memory.errors import EngineUnavailableError
from vist2_memory.tracing import span
from vist2_memory.types import TokenLogprob, VisualTokens


class Embedding(Protocol):
    """What makes the embeddings that vLLM reads."""

    def embed(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""

    def join(self, visual: Sequence[VisualTokens]) -> Tensor:
        """Visual tokens end to end, shape (tokens, hidden size)."""


class VLLMDecoder(Decoder):
    """Goes on from one prompt, in requests."""

    def __init__(
        self,
        prompt: Prompt,
        transport: Transport,
        encoder: Embedding,
        tokenizer: ByteTokenizer,
        *,
        steering: Steering | None,
        stop_ids: frozenset[int],
        never: frozenset[int],
        vocabulary: int,
    ) -> None:
        """``never``: ids that no answer has; ``vocabulary``: how many ids the model has."""
        self._prompt, self._params = prompt, prompt.params
        self._transport, self._encoder, self._tokenizer = transport, encoder, tokenizer
        self._steering, self._never = steering, never
        self._vocabulary = vocabulary
        self._stops, self._shunned = tuple(sorted(stop_ids)), tuple(sorted(never))
        with torch.inference_mode():
            before = torch.cat([encoder.embed(prompt.pinned), encoder.join(prompt.visual)])
        self._before = before  # (tokens before the recent text, hidden size)
        self._recent = list(prompt.recent)
        self._tokens: Tokens | None = None  # of the request that goes on from here
        self._requests = 0

    def next(self, room: int) -> Decoded:
        """See :meth:`Decoder.next`; raises ``EngineUnavailableError``."""
        told = self._free(room) if self._steering is None else self._steered(self._steering, room)
        self._recent.append(told.token)
        return Decoded(told.token, self._logprob(told))

    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.fold`."""
        self._leave()
        with torch.inference_mode():
            self._before = torch.cat([self._before, self._encoder.join([visual])])
        self._recent = list(kept)

    @property
    def may_end(self) -> bool:
        """See :attr:`Decoder.may_end`."""
        return self._steering is not None and self._steering.may_end

    def close(self) -> None:
        """Abort the request that is under way."""
        self._leave()

    def _free(self, room: int) -> Told:
        """The next token by the model alone."""
        told = self._upcoming(room)
        if told.token not in self._never:
            return told
        self._leave()
        return self._one_of([i for i in range(self._vocabulary) if i not in self._never])

    def _steered(self, steering: Steering, room: int) -> Told:
        """The next token within the grammar."""
        came: Told | None = None

        def pick(flags: npt.NDArray[np.bool_]) -> int:
            nonlocal came
            came = self._upcoming(room)
            if not self._may_come(came.token, flags):
                self._leave()
                came = self._one_of([int(i) for i in np.flatnonzero(flags) if i not in self._never])
            return came.token

        if self._params.logprobs is None:
            steering.look_ahead(room)
        token = steering.next(pick, room)
        if came is not None and came.token == token:
            return came
        self._leave()  # the grammar has decided otherwise, or without the model
        return Told(token) if self._params.logprobs is None else self._one_of([token])

    def _may_come(self, token: int, flags: npt.NDArray[np.bool_]) -> bool:
        return token < len(flags) and bool(flags[token]) and token not in self._never

    def _upcoming(self, room: int) -> Told:
        """The next token of the request that goes on from here."""
        if self._tokens is None:
            wanted = min(room, max(self._prompt.fold_at - len(self._recent), 1))
            self._tokens = self._send(wanted, None)
            return self._first(self._tokens)
        told = next(self._tokens, None)
        if told is None:  # fewer than were asked for
            self._leave()
            return self._upcoming(room)
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
        with torch.inference_mode():
            embeds = torch.cat([self._before, self._encoder.embed(self._recent)])
        self._requests += 1
        return self._transport.send(
            Request(
                embeds,
                max_tokens,
                self._stops,
                self._shunned if allowed is None else (),
                allowed,
                params.temperature,
                params.top_p,
                params.top_k,
                seed_of(params.seed, self._requests),
                params.logprobs,
                self._prompt.cache_salt,
            )
        )

    def _first(self, tokens: Tokens) -> Told:
        """The first token of a request; that of the prompt's own is a span."""
        if self._requests > 1:
            return _some(tokens)
        text = len(self._prompt.pinned) + len(self._prompt.recent)
        visual = self._prompt.base - len(self._prompt.pinned)
        with span("prefill", visual_tokens=visual, text_tokens=text) as outcome:
            told = _some(tokens)
            self.reused = told.cached or 0
            outcome["reused_tokens"] = self.reused
        return told

    def _leave(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.close()

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
