"""From generated tokens to the events of an answer: its text, then the calls of tools."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from vist2_memory.engine.decoding import AnswerText, ByteTokenizer
from vist2_memory.engine.grammar import CallForm
from vist2_memory.text.transcript import CALL
from vist2_memory.types import (
    FinishReason,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)


class Answer:
    """An answer as it grows. Stop strings are looked for in its text, not in calls."""

    def __init__(self, tokenizer: ByteTokenizer, params: GenerationParams, form: CallForm) -> None:
        """With a schema nothing stops the answer before its end."""
        self._tokenizer, self._form = tokenizer, form
        self._text = AnswerText(tokenizer, params.stop if params.schema is None else ())
        self._bare = form.opens is None and bool(params.offered)
        self._calls: list[tuple[str, AnswerText]] = []
        self._logprobs: list[TokenLogprob] = []
        self._beside = False  # whether the last token was one of those around a call's JSON

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
        """Whether the tokens so far end with a whole character of text or of a call's JSON, so
        that :attr:`so_far` tells all of them."""
        return self._part.whole and not self._beside

    @property
    def so_far(self) -> str:
        """All of it as it stands in the transcript, with what is held back for a stop string."""
        return self._text.so_far + "".join(CALL + call.so_far for _, call in self._calls)

    @property
    def _part(self) -> AnswerText:
        return self._calls[-1][1] if self._calls else self._text

    def push(self, token: int, logprob: TokenLogprob | None = None) -> Iterator[GenerationEvent]:
        """Take a token; what can be told now."""
        self._beside = token in (self._form.opens, self._form.closes)
        if token == self._form.opens:
            yield from self.flush()
            self._open()
        elif token != self._form.closes:
            data = self._tokenizer.bytes_of(token)
            if self._bare and not self._calls and not self._text.so_far and data[:1] == b"{":
                self._open()
            if self._calls:
                yield from self._push_call(data)
            else:
                self._logprobs += [logprob] if logprob else []
                yield from self._told(self._text.take(data))

    def flush(self) -> Iterator[GenerationEvent]:
        """The end of the generation: what was still held back."""
        yield from self._told(self._part.flush())

    def _open(self) -> None:
        self._calls.append((f"call_{uuid.uuid4().hex[:24]}", AnswerText(self._tokenizer)))

    def _push_call(self, data: bytes) -> Iterator[GenerationEvent]:
        """Newlines, which JSON of a single line has none of, are no part of a call."""
        for number, line in enumerate(data.split(b"\n")):
            if number and self._bare:
                self._open()
            self._beside = not line
            yield from self._told(self._part.take(line))

    def _told(self, new: str) -> Iterator[GenerationEvent]:
        if not new:
            return
        if self._calls:
            yield ToolCallDelta(len(self._calls) - 1, self._calls[-1][0], new)
        else:
            yield TextDelta(new, tuple(self._logprobs))
            self._logprobs.clear()


def finish_reason(
    reason: FinishReason, answer: Answer, params: GenerationParams, may_end: bool
) -> FinishReason:
    """Why the answer ended, where the generation ended for ``reason``.

    What its grammar lets end (``may_end``) is whole, also where it took the last token; but text
    may end anywhere, so that this says nothing of it.
    """
    whole = may_end and (bool(answer.calls) or params.schema is not None)
    if reason == "length" and not whole:
        return "length"
    return "tool_calls" if answer.calls else "stop"
