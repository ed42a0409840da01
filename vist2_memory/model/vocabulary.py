"""A language model's vocabulary, with the marks of the transcript added to it.

Knows no images. The marks take the ids after the last one that the tokenizer uses (Qwen3's
embedding table is padded beyond it); no other row of the table is touched. The model's own special
tokens lose their power: text that spells one is read letter by letter, so that nothing a user
writes can forge a turn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from vist2_memory.errors import ModelError
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import CALL, END, ESCAPE, MARKS, PAD, READ, RESERVED, VISUAL

MEANINGS: dict[str, str] = {
    MARKS["user"]: "<|im_start|>user\n",
    MARKS["assistant"]: "<|im_start|>assistant\n",
    MARKS["system"]: "<|im_start|>system\n",
    MARKS["tool"]: "<tool_response>",
    MARKS["document"]: "document:",
    END: "<|im_end|>",
    READ: "read aloud:",
    CALL: "<tool_call>",
    VISUAL: "<|image_pad|>",
    PAD: "<|endoftext|>",
    ESCAPE: "\\u",
}
"""What Qwen3 writes for a mark: the mean of these tokens' vectors is where its own begins."""

ROWS_MULTIPLE = 128
"""A table that must grow grows to a multiple of this."""

_LOSSLESS = "Züge\n  e\u0301 猫🐈 \r\n\tdon't 1234 \u212b"
"""A text with what tokenizers like to tidy up."""


@dataclass(frozen=True, slots=True)
class MarkedVocabulary:
    """A tokenizer with marks. The mark ``RESERVED[i]`` has the id ``first_mark + i``."""

    tokenizer: Vist2Tokenizer
    first_mark: int
    retired: tuple[int, ...]
    """Ids of the source's special tokens, which no text is read as and no answer may hold."""
    origins: dict[int, tuple[int, ...]]
    """Which rows the row of a mark begins as the mean of, by its id."""

    def id(self, mark: str) -> int:
        """The id of a mark."""
        return self.first_mark + RESERVED.index(mark)

    def rows(self, table_rows: int) -> int:
        """Rows that a table of ``table_rows`` must have to hold the marks.

        Raises ``ModelError`` for a table that does not even hold the tokens of the source.
        """
        if table_rows < self.first_mark:
            raise ModelError(
                f"the tokenizer has ids up to {self.first_mark - 1}, the embedding table has "
                f"{table_rows} rows: they do not belong to one model"
            )
        needed = self.first_mark + len(RESERVED)
        return table_rows if needed <= table_rows else -(-needed // ROWS_MULTIPLE) * ROWS_MULTIPLE

    @torch.no_grad()
    def extend(self, table: Tensor) -> Tensor:
        """``table`` (rows, hidden size) with the rows of the marks; the others are as they were.

        Rows that are new and stand for nothing are zero. Returns (``rows(...)``, hidden size).
        """
        rows = self.rows(len(table))
        extended = torch.cat([table, table.new_zeros(rows - len(table), table.shape[1])])
        for row, origins in self.origins.items():
            extended[row] = table[list(origins)].float().mean(dim=0).to(table.dtype)
        return extended


def mark_vocabulary(source: Tokenizer, where: str) -> MarkedVocabulary:
    """The marked vocabulary of a language model's own tokenizer.

    Normalization goes, since a transcript is kept letter by letter, and so does what adds special
    tokens by itself. Raises ``ModelError``, naming ``where`` it was found, for a tokenizer that is
    no byte-level BPE or that does not give back every text.
    """
    state: dict[str, Any] = json.loads(source.to_str())
    kind = (state["model"].get("type"), (state["decoder"] or {}).get("type"))
    if kind != ("BPE", "ByteLevel"):
        raise ModelError(
            f"the tokenizer of {where} has a model of type {kind[0]} and a decoder of type "
            f"{kind[1]}: only byte-level BPE, as Qwen3 has it, can be used"
        )
    first = 1 + max(source.get_vocab().values())
    own: list[dict[str, Any]] = state["added_tokens"]
    special = [token for token in own if token["special"]]
    marks = [_added_token(first + i, mark) for i, mark in enumerate(RESERVED)]
    # A token of the model's vocabulary keeps its id; one that no merge leads to is never read.
    state["model"]["vocab"] |= {token["content"]: token["id"] for token in (*own, *marks)}
    state["added_tokens"] = [token for token in own if not token["special"]] + marks
    state |= dict.fromkeys(("normalizer", "post_processor", "truncation", "padding"))
    tokenizer = Vist2Tokenizer(Tokenizer.from_str(json.dumps(state)))
    _check(tokenizer, first, special, where)
    return MarkedVocabulary(
        tokenizer=tokenizer,
        first_mark=first,
        retired=tuple(sorted(token["id"] for token in special)),
        origins={
            first + RESERVED.index(mark): tuple(source.encode(text, add_special_tokens=False).ids)
            for mark, text in MEANINGS.items()
        },
    )


def _added_token(token_id: int, mark: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": mark, **flags, "special": True}


def _check(
    tokenizer: Vist2Tokenizer, first: int, special: Sequence[dict[str, Any]], where: str
) -> None:
    """That marks are single tokens, special tokens none, and that text survives."""
    for i, mark in enumerate(RESERVED):
        if tokenizer.encode(f"a{mark}b").count(first + i) != 1:
            raise ModelError(f"the tokenizer of {where} does not take the mark {mark!r}")
    for token in special:
        if token["id"] in tokenizer.encode(f"a{token['content']}b"):
            raise ModelError(
                f"the tokenizer of {where} still reads {token['content']!r} in text as one token: "
                "a user could forge it"
            )
    back = b"".join(map(tokenizer.bytes_of, tokenizer.encode(_LOSSLESS))).decode()
    if back != _LOSSLESS:
        raise ModelError(f"the tokenizer of {where} reads {_LOSSLESS!r} as {back!r}")
