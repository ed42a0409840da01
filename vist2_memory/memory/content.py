"""What of a message's content is text, in the forms that OpenAI and LangChain write it.

Content is a text, or a list of texts and blocks (objects with a ``type``). What a model reads of it
is one text: blocks of text are joined without a separator; a picture, a file or any other block is
named in its place, as in ``[image: cat.png, image/png]``; an assistant's reasoning and the blocks
that repeat its tool calls are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from vist2_memory.errors import InvalidMessageError
from vist2_memory.types import Role

EMPTY = "(empty)"
"""Stands for a message that says nothing."""
NO_OUTPUT = "(no output)"
"""Stands for the result of a tool that gave back nothing."""

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""What a role is called elsewhere."""

_TEXT = ("text", "input_text", "output_text", "text-plain")
_REPEATED = (
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "tool_use",
    "input_json_delta",
    "function_call",
    "custom_tool_call",
)
_REASONING = ("reasoning", "reasoning_content", "thinking", "redacted_thinking")
_NAMES = ("name", "filename", "file_name", "title", "file_id")
_MIME_TYPES = ("mime_type", "media_type", "format")
_NAME_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Part:
    """A message before it is one of a session; ``id`` and ``time`` if it brings them.

    ``unread``: what of it is no text, in words; the text has at most a name for it.
    """

    role: Role
    text: str
    payload: Mapping[str, Any]
    id: str = ""
    time: float = 0.0
    unread: Sequence[str] = field(default=(), compare=False)


def read_content(content: Any, role: Role) -> tuple[str, list[str]]:
    """The text of ``content``, and the types of the blocks that are only named in it.

    Raises ``InvalidMessageError`` for content of another form.
    """
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    unread: list[str] = []
    for block in content if isinstance(content, list) else [content]:
        text = _text_of(block, role)
        if text is None:
            unread.append(str(block.get("type")))
            text = _named(block)
        texts.append(text)
    return "".join(texts), unread


def standing_in(text: str, role: Role, calls: Sequence[Any] = ()) -> str:
    """``text``, or what stands for it where it says nothing, since a log holds no empty message."""
    if text.strip():
        return text
    if role == "tool":
        return NO_OUTPUT
    return "" if calls else EMPTY


def _text_of(block: Any, role: Role) -> str | None:
    """The text of a block; None if it is none."""
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        raise InvalidMessageError(f"its content {str(block)[:40]!r} is neither text nor a block")
    kind, text = block.get("type"), block.get("text")
    if kind in _TEXT or kind is None:
        if isinstance(text, str):
            return text
        if kind is None:
            raise InvalidMessageError(
                f"its content {str(block)[:40]!r} is neither text nor a block"
            )
    if kind == "refusal" and isinstance(block.get("refusal"), str):
        return str(block["refusal"])
    return "" if role == "assistant" and kind in (*_REPEATED, *_REASONING) else None


def _named(block: Mapping[str, Any]) -> str:
    """What stands in the text for a block that is none: its type, name and media type."""
    kind = str(block["type"])
    short = kind.removeprefix("input_").removesuffix("_url")
    parts = list(dict.fromkeys(_described(block, kind)))
    return f"[{short}: {', '.join(parts)}]" if parts else f"[{short}]"


def _described(block: Mapping[str, Any], kind: str) -> Iterator[str]:
    inner = [block.get(name) for name in (kind, "source", "extras", "metadata", "value")]
    places = [block, *(place for place in inner if isinstance(place, Mapping))]
    urls = [place.get("url") for place in places] + [block.get(kind)]
    named = [place[name] for name in _NAMES for place in places if _is_name(place.get(name))]
    linked = [name for url in urls if isinstance(url, str) and (name := _file_of(url))]
    types = [place[name] for name in _MIME_TYPES for place in places if _is_name(place.get(name))]
    typed = [kind for url in urls if isinstance(url, str) and (kind := _type_of(url))]
    for found in (named or linked, types or typed):
        yield from (" ".join(name.split())[:_NAME_LENGTH] for name in found[:1])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _file_of(url: str) -> str:
    """The last part of a URL's path; empty for one that holds the data itself."""
    if url.startswith("data:"):
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc.rpartition("@")[2]


def _type_of(url: str) -> str:
    """The media type of a URL that holds the data itself."""
    if not url.startswith("data:"):
        return ""
    return url[len("data:") : 200].partition(",")[0].partition(";")[0]
