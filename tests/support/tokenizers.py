"""A small byte-level tokenizer, trained when it is first needed; loads no torch."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer

from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.training.tokenizer import train_tokenizer

PROSE = (
    "The old harbour lay quiet in the grey morning, and nobody spoke of the night before. "
    "My cat is called Miso. What is my cat called? Your cat is called Miso, you told me so. "
    "We leave for Lisbon on the 14th of March at 7:45, from platform 9. Don't forget the tickets! "
    "Anna's brother keeps bees; they don't like rain, and it rained for 23 days. "
)


@cache
def small_tokenizer() -> Vist2Tokenizer:
    """A byte-level BPE tokenizer of 400 tokens, the reserved marks among them."""
    trained = train_tokenizer([PROSE], vocab_size=400)
    return Vist2Tokenizer(Tokenizer.from_str(trained.to_str()))


def token_ids(text: str) -> list[int]:
    """The small tokenizer's ids of ``text``."""
    return small_tokenizer().encode(text)


def byte_ids(data: bytes) -> list[int]:
    """One token a byte, so that a token may hold a part of a character."""
    tokenizer = small_tokenizer()
    single = {tokenizer.bytes_of(i): i for i in range(len(tokenizer))}
    return [single[bytes([byte])] for byte in data]
