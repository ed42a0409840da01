"""A tool call as it is written, ``{"name": ..., "arguments": ...}``, in pieces for clients.

The name comes first, then the arguments as they come, without what stands around them. Knows
nothing of models.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from vist2_memory.types import ToolCall

CUT_OFF = " …cut off"
"""Stands at the end of arguments that do not go on."""

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)')


@dataclass(frozen=True, slots=True)
class CallPiece:
    """New text of the arguments of the call ``index``; the first piece has its id and its name."""

    index: int
    id: str | None
    name: str | None
    arguments: str


class CallPieces:
    """The pieces of one call."""

    def __init__(self, index: int, id: str) -> None:
        self._index, self._id = index, id
        self._head = ""  # what came before the arguments
        self._name: str | None = None
        self._place = _Place()
        self._whole = False

    def push(self, text: str, *, last: bool = False) -> CallPiece | None:
        """What can be told now that ``text`` came; ``last``: nothing comes after it.

        Clients complete arguments that are cut off, and would have a tool run with half of what
        was meant. So what is not whole ends with what no parser takes: it becomes one of
        LangChain's ``invalid_tool_calls``, and no JSON elsewhere.
        """
        opens = None
        if self._name is None:
            self._head += text
            text = ""
            if head := _HEAD.match(self._head):
                opens = self._name = json.loads(head[1])
                text = self._head[head.end() :]
            elif last:
                return self._unfamiliar()
        args = self._arguments(text)
        if last and not self._whole:
            args += self._place.refusal()
        return None if opens is None and not args else self._piece(opens, args)

    def _arguments(self, text: str) -> str:
        """What of ``text`` is part of the arguments."""
        if self._whole:
            return ""
        for end, character in enumerate(text, 1):
            if self._place.take(character):
                self._whole = True
                return text[:end]
        return text

    def _unfamiliar(self) -> CallPiece:
        """A call that is written in another order, or that is none."""
        call = ToolCall(self._id, self._head)
        if call.name and call.arguments is not None:
            return self._piece(call.name, json.dumps(call.arguments, ensure_ascii=False))
        for character in self._head:
            self._place.take(character)
        return self._piece(call.name, self._head + self._place.refusal())

    def _piece(self, opens: str | None, args: str) -> CallPiece:
        id = None if opens is None else self._id
        return CallPiece(self._index, id, opens, args)


class _Place:
    """Where in JSON a place is: how deep in brackets, and whether in a string."""

    def __init__(self) -> None:
        self._closers: list[str] = []
        self._in_string = self._escaped = False

    def take(self, character: str) -> bool:
        """Go on by ``character``; whether it closes the outermost bracket."""
        if self._escaped:
            self._escaped = False
        elif character == '"':
            self._in_string = not self._in_string
        elif self._in_string:
            self._escaped = character == "\\"
        elif character in "{[":
            self._closers.append("}" if character == "{" else "]")
        elif self._closers and character == self._closers[-1]:
            self._closers.pop()
            return not self._closers
        return False

    def refusal(self) -> str:
        """What makes JSON of the text before here, however it is completed: nothing."""
        string_ends = ("\\" if self._escaped else "") + '"' if self._in_string else ""
        wrong = "}" if self._closers and self._closers[-1] == "]" else "]"
        return string_ends + CUT_OFF + wrong
