"""Turns to the sequence that a model reads, through the chat template of its own tokenizer.

The template sees a slot in place of each content, so that nothing that was said can change it, and
what it wrote is all that may hold special tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from vist2_memory.engine.vlm.calls import CLOSES, OPENS, as_functions, find_form
from vist2_memory.engine.vlm.tokenizer import ChatTokenizer
from vist2_memory.engine.vlm.words import Turn
from vist2_memory.errors import ModelError
from vist2_memory.types import Tool, VisualTokens

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
        self.form = find_form(codec)
        self._tokenizer = tokenizer
        self._template = _find_template(folder, tokenizer)
        self._codec = codec
        self._around = around
        self._parts = re.compile(f"\ue00a(\\d+)\ue00b|{re.escape(image)}")

    def tells(self, tools: Sequence[Tool]) -> bool:
        """Whether the template itself tells the model of ``tools``, and to call them as we read it.

        Not where they would have a word with the power of a special token: what a template writes
        is trusted.
        """
        if not tools or self.form.opens is None:
            return False
        written = json.dumps(as_functions(tools), ensure_ascii=False)
        if self._parts.search(written) or any(word in written for word in self._codec.words):
            return False
        try:
            chat = self._render([{"role": "user", "content": "?"}], tools)
        except ModelError:
            return False
        return OPENS in chat and '"arguments"' in chat and all(tool.name in chat for tool in tools)

    def items(
        self,
        turns: Sequence[Turn],
        pages: Sequence[VisualTokens],
        answer: Turn,
        tools: Sequence[Tool] = (),
    ) -> list[Item]:
        """The sequence up to the end of ``answer``, which is the beginning of what is generated.

        ``tools``: those that the template :meth:`tells` of.
        """
        contents: list[str] = []

        def slot(text: str) -> str:
            contents.append(text)
            return f"\ue00a{len(contents) - 1}\ue00b"

        written = self._render([self._as_message(turn, slot) for turn in turns], tools)
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
        out += self._codec.encode(answer.text)
        for number, call in enumerate(answer.calls):
            opened, closed = self._around_call(number + 1 < len(answer.calls))
            out += self._codec.encode_template((self.form.between if number else "") + opened)
            out += [*self._codec.encode(call), *self._codec.encode_template(closed)]
        return out

    def _around_call(self, whole: bool) -> tuple[str, str]:
        """What stands before and after the JSON of a call, if it is ``whole``."""
        inside = self.form.inside
        if self.form.opens is None:
            return inside, inside if whole else ""
        return OPENS + inside, inside + CLOSES if whole else ""

    def _as_message(self, turn: Turn, slot: Callable[[str], str]) -> dict[str, Any]:
        if not turn.pages:
            opened, closed = self._around_call(True)
            text = slot(turn.text) if turn.text or not turn.calls else ""
            calls = self.form.between.join(opened + slot(call) + closed for call in turn.calls)
            return {"role": turn.role, "content": text + ("\n" if text and calls else "") + calls}
        before = {"type": "text", "text": slot(turn.before)}
        after = {"type": "text", "text": slot(turn.text)}
        return {"role": turn.role, "content": [before, *[{"type": "image"}] * turn.pages, after]}

    def _render(self, messages: list[dict[str, Any]], tools: Sequence[Tool] = ()) -> str:
        functions: Any = as_functions(tools) or None
        try:
            written = self._tokenizer.apply_chat_template(
                messages,
                tools=functions,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except TemplateError as error:
            raise ModelError(f"the model's chat template refuses the chat: {error}") from error
        return str(written)


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
