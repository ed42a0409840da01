"""A session's transcript as it stands in the log: its text, where it is cut, what is still tail.

Pure bookkeeping: messages and a chunker come in, chunks and the tail come out. Knows no store and
no model. System messages are pinned and stand outside the flow.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from vist2_memory.text.chunking import Chunker, chunk_id
from vist2_memory.text.transcript import MARKS, speaker, written
from vist2_memory.types import Chunk, Message, Role

_MARK = re.compile(f"[{''.join(MARKS.values())}]")


@dataclass
class Transcript:
    """The running transcript of one session, for one layout."""

    chunker: Chunker
    layout: str
    tail_limit: int
    """Tokens at which the oldest chunk of the tail is cut off."""
    messages: list[Message] = field(default_factory=list)
    text: str = ""
    pinned: str = ""
    chunks: list[Chunk] = field(default_factory=list)
    tail_start: int = 0
    """Character offset at which the tail begins."""
    revision: int = 0
    """How often the log had been rewritten when these messages were read."""

    @property
    def seen(self) -> tuple[int, int]:
        """The revision and the number of messages: no two states of a log have the same."""
        return self.revision, len(self.messages)

    @property
    def tail(self) -> str:
        """What lies after the last chunk; it stays text."""
        return self.text[self.tail_start :]

    @property
    def speaks(self) -> Role:
        """Who speaks where the tail begins, if it begins inside a message."""
        return speaker(self.text[: self.tail_start]) or "assistant"

    def take(self, messages: Iterable[Message]) -> None:
        """Take up messages as the log holds them.

        Cuts that were made for this layout are kept; where a message was written under another
        layout, the text is cut afresh, the same way each time.
        """
        for message in messages:
            self.messages.append(message)
            if message.role == "system":
                self.pinned += written(message)
                continue
            self.text += written(message)
            if message.layout == self.layout:
                self._cut_at_all(message.cuts)  # and nowhere else: where not, was decided then
            else:
                self._cut_full()

    def of(self, messages: Iterable[Message]) -> Transcript:
        """The transcript of ``messages``, for the same layout."""
        transcript = Transcript(self.chunker, self.layout, self.tail_limit)
        transcript.take(messages)
        return transcript

    def until(self, count: int) -> Transcript:
        """The transcript of the first ``count`` messages, with the cuts that lie within it."""
        if count >= len(self.messages):
            return self
        first, rest = self.messages[:count], self.messages[count:]
        later = sum(len(written(message)) for message in rest if message.role != "system")
        end = len(self.text) - later
        before = Transcript(self.chunker, self.layout, self.tail_limit, first, self.text[:end])
        before.pinned = "".join(written(m) for m in first if m.role == "system")
        for chunk in self.chunks:
            if chunk.start + len(chunk.text) <= end:
                before._take_chunk(chunk)
        return before

    def cuts_after(self, message: Message, ends: Iterable[int] = ()) -> tuple[int, ...]:
        """The cuts to be stored with ``message``: those already made at ``ends``, and new ones."""
        trial = Transcript(self.chunker, self.layout, self.tail_limit)
        trial.text, trial.tail_start = self.text, self.tail_start
        if message.role != "system":
            trial.text += written(message)
        trial._cut_at_all(ends)
        trial._cut_full()
        return tuple(chunk.start + len(chunk.text) for chunk in trial.chunks)

    def chunks_of(self, ids: Collection[str]) -> list[int]:
        """The places of the chunks in which something of the messages ``ids`` stands, in order."""
        starts = [chunk.start for chunk in self.chunks]
        ends = [chunk.start + len(chunk.text) for chunk in self.chunks]
        found: set[int] = set()
        for message, start, end in self._flow():
            if message.id in ids:
                found.update(range(bisect_right(ends, start), bisect_left(starts, end)))
        return sorted(found)

    def messages_in(self, chunks: Iterable[Chunk]) -> list[str]:
        """The ids of the messages of which something stands in ``chunks``, in order.

        Messages without an id are passed over.
        """
        flow = self._flow()
        starts = [start for _, start, _ in flow]
        found: set[int] = set()
        for chunk in chunks:
            first = bisect_right(starts, chunk.start) - 1
            found.update(range(first, bisect_left(starts, chunk.start + len(chunk.text))))
        return [id for place in sorted(found) if (id := flow[place][0].id)]

    def _flow(self) -> list[tuple[Message, int, int]]:
        """The messages that stand in the text, each with its (start, end) there."""
        starts = [mark.start() for mark in _MARK.finditer(self.text)]
        messages = [message for message in self.messages if message.role != "system"]
        return list(zip(messages, starts, [*starts, len(self.text)][1:], strict=True))

    def prompt(self) -> str:
        """The tail with the mark of the assistant, who is to speak."""
        return self.tail + MARKS["assistant"]

    def _cut_full(self) -> None:
        """Cut chunks off the tail while it has ``tail_limit`` tokens or more."""
        while self.chunker.reaches(self.text, self.tail_start, self.tail_limit):
            chunk = self.chunker.first(self.text, self.tail_start)
            if chunk is None:  # pragma: no cover - the limit is at least one chunk
                return
            self._take_chunk(chunk)

    def _cut_at_all(self, ends: Iterable[int]) -> None:
        for end in ends:
            if self.tail_start < end <= len(self.text):
                text = self.text[self.tail_start : end]
                if self.chunker.fits(text):
                    tokens = self.chunker.count(text)
                    self._take_chunk(Chunk(chunk_id(text), text, tokens, self.tail_start))
                else:  # an engine that keeps more recent text left it to us
                    for chunk in self.chunker.cut_all(text):
                        self._take_chunk(replace(chunk, start=self.tail_start))

    def _take_chunk(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.tail_start += len(chunk.text)
