"""The tokenizer of a stock model: content can never become one of its special tokens.

What a chat template writes is trusted and read with the special tokens; what people and models said
is read by a copy of the tokenizer that knows none of them, so that ``<|im_start|>`` in a message is
a dozen ordinary tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vist2_memory.errors import ModelError
from vist2_memory.model.tokenizer import Vist2Tokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class ChatTokenizer(Vist2Tokenizer):
    """Text to token ids and back, for the tokenizers of published models."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        written: dict[str, Any] = json.loads(tokenizer.to_str())
        self._pieces = "ByteFallback" in json.dumps(written["decoder"])
        if not self._pieces and "ByteLevel" not in json.dumps(written["decoder"]):
            raise ModelError("the tokenizer is neither byte-level nor falls back to bytes")
        self.controls = frozenset(tokenizer.get_added_tokens_decoder())
        """Ids of the added tokens, which content must never have."""
        written["added_tokens"], written["post_processor"] = [], None
        self._plain = Tokenizer.from_str(json.dumps(written))

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """The tokenizer of the model in ``folder``; raises ``ModelError``."""
        return cls(Vist2Tokenizer.load(folder).backend)

    def encode_template(self, text: str) -> list[int]:
        """The ids of what a chat template wrote; special tokens are special."""
        return super().encode(text)

    def encode(self, text: str) -> list[int]:
        """The ids of content; nothing in it is special."""
        return [token_id for token_id, _ in self._tokens(text)]

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """The (start, end) character offsets of each token of content."""
        return [span for _, span in self._tokens(text)]

    def bytes_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes that a token stands for; a token may hold a part of a character."""
        if not self._pieces or token_id in self.controls:
            return super().bytes_of(token_id)
        piece = self.backend.id_to_token(token_id) or ""
        if byte := _BYTE.fullmatch(piece):
            return bytes([int(byte[1], 16)])
        return piece.replace("\u2581", " ").encode()

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the added tokens that steer: no answer shows them."""
        added = self.backend.get_added_tokens_decoder()
        return frozenset(int(i) for i, token in added.items() if token.special)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """How the added tokens are written."""
        return tuple(str(t.content) for t in self.backend.get_added_tokens_decoder().values())

    def _tokens(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        encoding = self._plain.encode(text, add_special_tokens=False)
        out: list[tuple[int, tuple[int, int]]] = []
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token_id not in self.controls:
                out.append((token_id, (start, end)))
                continue
            # The vocabulary itself spells a control: it is written letter by letter.
            for place in range(start, end):
                letter = self._plain.encode(text[place], add_special_tokens=False)
                out += [(i, (place, place + 1)) for i in letter.ids]
        return out
