"""Turns to the sequence that a model reads, through the chat template of its own tokenizer.

The template sees a slot in place of each content, so that nothing that was said can change it, and
what it wrote is all that may hold special tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from vist2_memory.engine.vlm.tokenizer import ChatTokenizer
from vist2_memory.engine.vlm.words import Turn
from vist2_memory.errors import ModelError
from vist2_memory.types import VisualTokens

Item: TypeAlias = int | VisualTokens
"""A text token, or a page that takes the place of its placeholders."""


class ChatTemplate:
    """Writes chats as the model was trained to read them."""

    def __init__(
        self,
        folder: Path,
        tokenizer: PreTrainedTokenizerBase,
        codec: ChatTokenizer,
        image: str,
        around: tuple[str, str],
    ) -> None:
        """``image``: what the template writes for an image; ``around``: what the family's processor
        puts before and after its placeholders. Raises ``ModelError`` where there is no template.
        """
        self._tokenizer = tokenizer
        self._template = _find_template(folder, tokenizer)
        self._codec = codec
        self._around = around
        self._parts = re.compile(f"\ue00a(\\d+)\ue00b|{re.escape(image)}")

    def items(
        self, turns: Sequence[Turn], pages: Sequence[VisualTokens], answer: str
    ) -> list[Item]:
        """The sequence up to the end of ``answer``, which is the beginning of what is generated."""
        contents: list[str] = []

        def slot(text: str) -> str:
            contents.append(text)
            return f"\ue00a{len(contents) - 1}\ue00b"

        written = self._render([_as_message(turn, slot) for turn in turns])
        out: list[Item] = []
        literal, left, seen = "", list(pages), []
        position = 0
        for match in self._parts.finditer(written):
            literal += written[position : match.start()]
            position = match.end()
            if match[1] is None:
                if not left:
                    raise ModelError(f"the chat template writes {match[0]!r} without an image")
                out += self._codec.encode_template(literal + self._around[0])
                out.append(left.pop(0))
                literal = self._around[1]
            else:
                out += self._codec.encode_template(literal)
                out += self._codec.encode(contents[int(match[1])])
                seen.append(int(match[1]))
                literal = ""
        if left or seen != list(range(len(contents))):
            raise ModelError(
                f"the chat template leaves out {len(left)} of {len(pages)} images and "
                f"{len(contents) - len(set(seen))} of {len(contents)} texts: it is none for images"
            )
        out += self._codec.encode_template(literal + written[position:])
        return out + self._codec.encode(answer)

    def _render(self, messages: list[dict[str, Any]]) -> str:
        try:
            written = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except TemplateError as error:
            raise ModelError(f"the model's chat template refuses the chat: {error}") from error
        return str(written)


def _as_message(turn: Turn, slot: Any) -> dict[str, Any]:
    if not turn.pages:
        return {"role": turn.role, "content": slot(turn.text)}
    before = {"type": "text", "text": slot(turn.before)}
    after = {"type": "text", "text": slot(turn.text)}
    return {"role": turn.role, "content": [before, *[{"type": "image"}] * turn.pages, after]}


def _find_template(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template of the processor in ``folder``, or of its tokenizer."""
    jinja, old = folder / "chat_template.jinja", folder / "chat_template.json"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    if old.is_file():
        return str(json.loads(old.read_text(encoding="utf-8"))["chat_template"])
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise ModelError(f"the model in {folder} has no chat template: take an instruction model")
    return template
