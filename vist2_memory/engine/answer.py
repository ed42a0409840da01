"""From generated tokens to the events of an answer: its text, then the calls of tools."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from vist2_memory.engine.decoding import AnswerText, ByteTokenizer
from vist2_memory.text.transcript import CALL
from vist2_memory.types import GenerationEvent, TextDelta, TokenLogprob, ToolCall, ToolCallDelta


class Answer:
    """An answer as it grows. Stop strings are looked for in its text, not in calls."""

    def __init__(self, tokenizer: ByteTokenizer, stop: Sequence[str], opens: int) -> None:
        """``opens``: the id of the token that opens a call."""
        self._tokenizer, self._opens = tokenizer, opens
        self._text = AnswerText(tokenizer, stop)
        self._calls: list[tuple[str, AnswerText]] = []
        self._logprobs: list[TokenLogprob] = []

    @property
    def text(self) -> str:
        """What was shown of the text."""
        return self._text.text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls so far; the last one may not be whole."""
        return tuple(ToolCall(id, call.text) for id, call in self._calls if call.text)

    @property
    def stopped(self) -> bool:
        """Whether a stop string occurred."""
        return self._text.stopped

    @property
    def whole(self) -> bool:
        """Whether the tokens so far end with a whole character."""
        return self._part.whole

    @property
    def so_far(self) -> str:
        """All of it as it stands in the transcript, with what is held back for a stop string."""
        return self._text.so_far + "".join(CALL + call.so_far for _, call in self._calls)

    @property
    def _part(self) -> AnswerText:
        return self._calls[-1][1] if self._calls else self._text

    def push(self, token: int, logprob: TokenLogprob | None = None) -> Iterator[GenerationEvent]:
        """Take a token; what can be told now."""
        if token == self._opens:
            yield from self.flush()
            self._calls.append((f"call_{uuid.uuid4().hex[:24]}", AnswerText(self._tokenizer)))
            return
        if logprob is not None and not self._calls:
            self._logprobs.append(logprob)
        yield from self._told(self._part.push(token))

    def flush(self) -> Iterator[GenerationEvent]:
        """The end of the generation: what was still held back."""
        yield from self._told(self._part.flush())

    def _told(self, new: str) -> Iterator[GenerationEvent]:
        if not new:
            return
        if self._calls:
            yield ToolCallDelta(len(self._calls) - 1, self._calls[-1][0], new)
        else:
            yield TextDelta(new, tuple(self._logprobs))
            self._logprobs.clear()
