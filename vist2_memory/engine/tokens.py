"""The tokens of a model as the grammar library knows them: ids and bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from llguidance import LLTokenizer, TokenizerWrapper


class Vocabulary:
    """The tokens of one model; made once, since sorting them takes a moment."""

    def __init__(
        self,
        tokens: Sequence[bytes],
        special: Collection[int],
        stops: Collection[int],
        encode: Callable[[str], list[int]],
    ) -> None:
        """``tokens``: the bytes of each id. ``special``: ids that are said only where a grammar
        names them. ``stops``: ids that end an answer. ``encode``: the ids of a text.
        """
        self.tokens, self.encode = tokens, encode
        self.stops = frozenset(stops)
        self.special = frozenset(special) | self.stops
        self.stop = min(stops)
        wrapper = TokenizerWrapper(_Tokens(self))
        self.backend = LLTokenizer(wrapper, n_vocab=len(tokens), eos_token=sorted(stops))
        single = {data: i for i, data in enumerate(tokens) if i not in self.special}
        self.byte_ids = [single.get(bytes([byte]), -1) for byte in range(256)]
        """The id of the token of each single byte; -1 where there is none."""

    def __len__(self) -> int:
        return len(self.tokens)

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """The bytes of ordinary tokens."""
        return b"".join(self.tokens[i] for i in ids)


class _Tokens:
    """What the grammar library asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.tokens = list(vocabulary.tokens)
        self.special_token_ids = sorted(vocabulary.special)
        self.eos_token_id = vocabulary.stop
        self._encode = vocabulary.encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))
