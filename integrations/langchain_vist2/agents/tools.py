"""``expand_memory``: an agent's way to what is not sent word for word.

It looks through the messages of the agent's state, and nowhere else: what another thread or another
branch said is never shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain.tools import ToolRuntime, tool
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool

from langchain_vist2.agents.mirrored import as_message
from langchain_vist2.agents.stubs import EXPAND, name_of
from vist2_memory.memory.search import Found, find
from vist2_memory.types import Message

FOUND = 5
"""Messages that a search shows."""
_AROUND = 60
"""Characters that are shown on each side of what was found."""


def expand_memory_tool(characters: int) -> BaseTool:
    """The tool; it shows ``characters`` at once, and says how to go on."""

    @tool(EXPAND)
    def expand_memory(
        runtime: ToolRuntime, message: str = "", search: str = "", start: int = 0
    ) -> str:
        """Show an earlier message by its name, from character start on, or search for words."""
        said = spoken(runtime.state["messages"])
        if message.strip():
            return shown(said, message.strip(), start, characters)
        return found(said, search, characters)

    return expand_memory


def spoken(messages: Sequence[BaseMessage]) -> list[Message]:
    """What was said in ``messages``, but for what this tool showed; each by its short name."""
    said = (as_message(message) for message in messages if message.name != EXPAND)
    return [Message(one.role, one.text, name_of(one.text)) for one in said]


def shown(messages: Sequence[Message], name: str, start: int, characters: int) -> str:
    """The text of the message ``name`` from ``start`` on."""
    text = next((one.text for one in reversed(messages) if one.id == name), None)
    if text is None:
        return f'There is no message "{name}". Search for words of it: {EXPAND}(search="...").'
    start = min(max(0, start), len(text))
    end = min(len(text), start + characters)
    part = text[start:end]
    if start == 0 and end == len(text):
        return part
    head = f"[Characters {start:,} to {end:,} of {len(text):,}]\n"
    more = f'\n[Go on with {EXPAND}(message="{name}", start={end})]' if end < len(text) else ""
    return head + part + more


def found(messages: Sequence[Message], words: str, characters: int) -> str:
    """The messages that have all of ``words``, newest first, with what stands around them."""
    if not words.strip():
        return f'Say what to show: {EXPAND}(message="...") or {EXPAND}(search="...").'
    hits = find(messages, words, FOUND)
    if not hits:
        return f'No message has all of the words "{words}".'
    lines = [_line(hit) for hit in hits]
    while len(lines) > 1 and sum(map(len, lines)) > characters:
        lines.pop()
    return "\n".join(line[:characters] for line in lines)


def _line(hit: Found) -> str:
    """A message by its name, who said it, and the first place in it."""
    text, (start, end) = hit.message.text, hit.spans[0]
    first, last = max(0, start - _AROUND), min(len(text), end + _AROUND)
    before, after = "..." if first else "", "..." if last < len(text) else ""
    around = " ".join(text[first:last].split())
    return f'message="{hit.message.id}" ({hit.message.role}): {before}{around}{after}'
