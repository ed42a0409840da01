"""Token embeddings that know how their token is spelled.

A token's vector is a free one plus a learned matrix times the one-hot letters of the token at their
positions, tied to the output. So a token that was seldom seen is read and written by its letters.
In the prototype this brought reading within reach of CPU minutes. After training the sum is an
ordinary embedding table and the checkpoint a stock Qwen3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

POSITIONS = 10


class SpelledEmbedding(nn.Module):
    """The table of all token vectors, shape (vocabulary, hidden size), made anew each step."""

    spelling: Tensor

    def __init__(self, tokens: Sequence[str], hidden_size: int, std: float = 0.02) -> None:
        """``tokens``: what each id stands for, as the characters of a byte-level vocabulary."""
        super().__init__()
        alphabet = {letter: i for i, letter in enumerate(sorted({c for t in tokens for c in t}))}
        rows, columns = [], []
        for row, token in enumerate(tokens):
            for position, letter in enumerate(token[:POSITIONS]):
                rows.append(row)
                columns.append(position * len(alphabet) + alphabet[letter])
        spelling = torch.zeros(len(tokens), POSITIONS * len(alphabet), dtype=torch.bfloat16)
        spelling[rows, columns] = 1.0
        used = spelling.any(dim=0)
        self.register_buffer("spelling", spelling[:, used], persistent=False)
        self.free = nn.Parameter(torch.randn(len(tokens), hidden_size) * std)
        self.letters = nn.Parameter(torch.randn(int(used.sum()), hidden_size) * std)

    def become(self, table: Tensor) -> None:
        """Go on from a finished table, as much of it spelled as letters explain (least squares)."""
        with torch.no_grad():
            spelling = self.spelling.float()
            squares = spelling.T @ spelling + torch.eye(spelling.shape[1])
            self.letters.copy_(torch.linalg.solve(squares, spelling.T @ table.float()))
            self.free.copy_(table.float() - spelling @ self.letters)

    def forward(self) -> Tensor:
        """The table, shape (vocabulary, hidden size)."""
        return self.free + self.spelling.to(self.letters.dtype) @ self.letters
