"""What stands for a text that is too long to be sent: how much there is, and where to find it.

A text has a short name, made of the text itself, so that the same result has the same stub wherever
it stands. The whole text is documents of the thread's collection of results, and in the state.
"""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.messages import BaseMessage

from vist2_memory.memory import Document
from vist2_memory.memory.validation import MAX_CHARACTERS
from vist2_memory.text.chunking import chunk_id

EXPAND = "expand_memory"
"""The name of the tool that shows a text by its name."""
IN_MEMORY = "are in visual memory"
LEFT_OUT = "are left out here"

_NAME = 8
_ENDS = 0.6
"""Of a shortened text, this part is its beginning, the rest its end."""


def name_of(text: str) -> str:
    """The short name of a text; equal texts have the same."""
    return chunk_id(text)[:_NAME]


def stub(text: str, where: str, expand: bool) -> str:
    """Stands for a result: ``[12,345 characters of this result are in visual memory; ...]``."""
    return f"[{len(text):,} characters of this result {where}{_how(text, expand)}]"


def shortened(text: str, keep: int, where: str, expand: bool) -> str:
    """The beginning and the end of ``text``, ``keep`` characters in all, and what is between."""
    if len(text) <= keep:
        return text
    head = int(keep * _ENDS)
    tail = len(text) - (keep - head)
    between = f"[{tail - head:,} characters of this message {where}{_how(text, expand)}]"
    return f"{text[:head]}\n{between}\n{text[tail:]}"


def with_text(message: BaseMessage, text: str) -> BaseMessage:
    """``message`` with ``text`` in the place of all its text; other content stays."""
    if isinstance(message.content, str):
        return message.model_copy(update={"content": text})
    others = [b for b in message.content if isinstance(b, dict) and "text" not in b]
    return message.model_copy(update={"content": [{"type": "text", "text": text}, *others]})


def documents(text: str, metadata: dict[str, str]) -> list[Document]:
    """``text`` as documents; more than one only where it is longer than one may be."""
    stretches: Iterable[int] = range(0, len(text), MAX_CHARACTERS)
    return [
        Document(part, metadata)
        for start in stretches
        if (part := text[start : start + MAX_CHARACTERS]).strip()
    ]


def _how(text: str, expand: bool) -> str:
    return f'; {EXPAND}(message="{name_of(text)}") shows them' if expand else ""
