"""Messages to the running transcript, losslessly, and back.

A session is one running text: each message is the mark of its role followed by what was said. Marks
are single characters of Unicode's private use area, so that no word that a user can type means one;
where content contains one of these characters it is escaped. Knows nothing of tokens or sketches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vist2_memory.types import Message, Role

MARKS: dict[Role, str] = {
    "user": "\ue000",
    "assistant": "\ue001",
    "system": "\ue002",
    "tool": "\ue003",
    "document": "\ue004",
}
"""The character that opens a message, by role."""
END = "\ue005"
"""Ends a text after which nothing follows."""
READ = "\ue006"
"""Asks the model to read visual memory out word for word."""
CALL = "\ue007"
"""Opens a tool call at the end of an assistant's message."""
VISUAL = "\ue008"
"""Stands where a visual token goes."""
PAD = "\ue009"
"""Fills a batch."""
ESCAPE = "\ue00f"
"""Opens an escape: the next character, a hexadecimal digit, names one of these sixteen."""
RESERVED = tuple(chr(0xE000 + i) for i in range(16))
"""All characters that are marks now or may become one."""

LABELS: dict[str, str] = {
    MARKS["user"]: "User: ",
    MARKS["assistant"]: "Assistant: ",
    MARKS["system"]: "System: ",
    MARKS["tool"]: "Tool: ",
    MARKS["document"]: "Document: ",
    CALL: "Tool call: ",
}
"""What a person, or a model that was trained on print, is shown for a mark."""

_ROLES: dict[str, Role] = {mark: role for role, mark in MARKS.items()}
_FORGED = re.compile(f"[{RESERVED[0]}-{RESERVED[-1]}]")
_ESCAPED = re.compile(f"{ESCAPE}([0-9a-f])")
_SPLIT = re.compile(f"([{''.join(MARKS.values())}])")


def escape(content: str) -> str:
    """``content`` with every reserved character escaped, so that it can forge nothing."""
    return _FORGED.sub(lambda match: f"{ESCAPE}{ord(match[0]) - 0xE000:x}", content)


def unescape(content: str) -> str:
    """The inverse of :func:`escape`."""
    return _ESCAPED.sub(lambda match: chr(0xE000 + int(match[1], 16)), content)


def write_message(role: Role, content: str, calls: Iterable[str] = ()) -> str:
    """One message as it stands in the transcript, its tool calls after its text."""
    return MARKS[role] + escape(content) + "".join(CALL + escape(call) for call in calls)


def written(message: Message) -> str:
    """``message`` as it stands in the transcript."""
    return write_message(message.role, message.text, (call.text for call in message.calls))


def write(messages: Iterable[tuple[Role, str]]) -> str:
    """The transcript of ``messages``."""
    return "".join(write_message(role, content) for role, content in messages)


def read(transcript: str) -> Iterator[tuple[Role, str]]:
    """The messages of ``transcript``: the inverse of :func:`write`; calls are left in the text.

    Raises ``ValueError`` when the text does not begin with a role mark.
    """
    for role, content in _split(transcript):
        yield role, unescape(content)


def read_calls(transcript: str) -> Iterator[tuple[Role, str, tuple[str, ...]]]:
    """Like :func:`read`, with the text of the calls of each message apart from its own."""
    for role, content in _split(transcript):
        text, *calls = map(unescape, content.split(CALL))
        yield role, text, tuple(calls)


def _split(transcript: str) -> Iterator[tuple[Role, str]]:
    before, *parts = _SPLIT.split(transcript)
    if before:
        raise ValueError(f"a transcript begins with the mark of a role, not with {before[:20]!r}")
    for mark, content in zip(parts[::2], parts[1::2], strict=True):
        yield _ROLES[mark], content


def opened(tail: str, speaks: Role) -> tuple[str, bool]:
    """``tail`` as a transcript, and whether it begins inside a message, which ``speaks`` said."""
    inside = tail[:1] not in MARKS.values()
    return (MARKS[speaks] + tail if inside else tail), inside


def speaker(transcript: str) -> Role | None:
    """Who speaks where ``transcript`` ends; None where nobody was named yet."""
    last = max(MARKS.values(), key=transcript.rfind)
    return _ROLES[last] if last in transcript else None


def printed(transcript: str) -> str:
    """``transcript`` as it is laid out in print: messages begin lines, escapes are spelt out.

    The marks stay, one character each, for a reader to be shown :data:`LABELS` in a way that no
    content can imitate; a reserved character in content becomes its code point, as in [U+E000].
    """
    if transcript.isascii():
        return transcript
    text = transcript
    for mark in LABELS:
        if mark in text:
            text = text.replace(mark, "\n" + mark).replace("\n\n" + mark, "\n" + mark)
    if transcript.startswith(tuple(LABELS)):
        text = text.removeprefix("\n")
    if ESCAPE in text:
        text = _ESCAPED.sub(lambda match: f"[U+E00{match[1].upper()}]", text)
    return text
