"""The tokenizer of a checkpoint, behind the few calls that this library needs.

Knows no images and no model. Wraps the ``tokenizer.json`` of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vist2_memory.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def _byte_letters() -> dict[str, int]:
    """The letters by which a byte-level vocabulary writes the 256 bytes (GPT-2's convention)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_letters()


class Vist2Tokenizer:
    """Text to token ids and back; the marks of the transcript are single tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.backend = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Vist2Tokenizer:
        """The tokenizer of the checkpoint in ``folder``; raises ``ModelError``."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the backend raises nothing more special
            raise ModelError(f"{path} is no tokenizer: {error}") from error

    def __len__(self) -> int:
        """One more than the highest id; a vocabulary may have gaps below it."""
        return self._size

    @cached_property
    def _size(self) -> int:
        return 1 + max(self.backend.get_vocab().values())

    def encode(self, text: str) -> list[int]:
        """The token ids of ``text``."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """The (start, end) character offsets of each token of ``text``."""
        return list(self.backend.encode(text, add_special_tokens=False).offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, marks included; bytes that are no character become U+FFFD."""
        return str(self.backend.decode(list(ids), skip_special_tokens=False))

    def id(self, mark: str) -> int:
        """The id of a mark; raises ``KeyError`` when the vocabulary lacks it."""
        found = self.backend.token_to_id(mark)
        if found is None:
            raise KeyError(f"the tokenizer has no token for {mark!r}")
        return int(found)

    def tokens(self) -> list[str]:
        """What each id stands for, in byte-level letters."""
        return [self.backend.id_to_token(i) or "" for i in range(len(self))]

    @cached_property
    def _literal(self) -> dict[int, bytes]:
        """The tokens that stand for their own name: marks, and a checkpoint's added tokens."""
        added = self.backend.get_added_tokens_decoder()
        return {int(token_id): str(token.content).encode() for token_id, token in added.items()}

    def bytes_of(self, token_id: int) -> bytes:
        """The UTF-8 bytes that a token stands for; a token may hold a part of a character."""
        if token_id in self._literal:
            return self._literal[token_id]
        return bytes(map(_BYTE_OF.__getitem__, self.backend.id_to_token(token_id) or ""))
