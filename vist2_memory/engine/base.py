"""What an engine is: it encodes chunks into visual tokens and generates from a context.

Knows nothing of stores, sessions or turns. Batch-first; the in-process engine is the reference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vist2_memory.engine.batch import Batch
from vist2_memory.store.formats import DEFAULT_FORMAT, TensorFormat
from vist2_memory.text.chunking import Chunker
from vist2_memory.text.tools import write_pinned
from vist2_memory.types import Chunk, Context, GenerationEvent, GenerationParams, VisualTokens


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What the layers above must know of the model behind an engine."""

    model: str
    """Its name, for people."""
    fingerprint: str
    """Names everything that decides the values of visual tokens, how they are stored too."""
    layout: str
    """Names everything that decides where text is cut."""
    chunk_tokens: int
    """Text tokens a chunk."""
    keep_recent: int
    """Text tokens of newest text that stay text."""
    max_visual_tokens: int
    """Visual tokens of memory that the model can read at once."""
    max_text_tokens: int
    """Text tokens (pinned, tail and answer) that the model can read beside them."""
    kv_bytes_per_token: int
    """Bytes that one token, visual or text, takes in the KV cache."""
    answers: bool = True
    """Whether it has a model: one without only cuts and draws, and makes no visual tokens."""
    tensors: TensorFormat = DEFAULT_FORMAT
    """How its visual tokens are stored; it gives them out rounded to that already."""

    @property
    def tail_limit(self) -> int:
        """Text tokens at which the oldest chunk of the tail is folded."""
        return self.keep_recent + self.chunk_tokens

    def fold_at(self, tail: int) -> int:
        """Text tokens at which a generation folds that begins with a tail of ``tail`` tokens.

        Who gives more text than the limit wants it as text: it grows by a chunk before any leaves.
        """
        return self.tail_limit if tail <= self.tail_limit else tail + self.chunk_tokens


class Engine(ABC):
    """Encodes and generates. Safe to call from several threads."""

    spec: EngineSpec
    chunker: Chunker
    at_once: ClassVar[int] = 8
    """Answers that it is best asked for at once: one that runs them as a batch wants many."""
    reads_back: ClassVar[bool] = False
    """Whether its model was trained to read visual tokens out, see `engine.readback`."""

    @abstractmethod
    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """The visual tokens of ``chunks``, in order; raises ``ValueError`` for one too long."""

    def cost(self, chunk: Chunk) -> int:
        """How many visual tokens ``chunk`` takes; an engine that knows without encoding says so."""
        return len(self.encode([chunk])[0])

    def picture(self, chunk: Chunk) -> bytes | None:
        """What the model is shown of ``chunk``, as a PNG; None where it is shown no picture."""
        return None

    def text_tokens(self, pinned: str, tail: str, params: GenerationParams) -> int:
        """Tokens that :meth:`generate` reads as text: ``pinned``, tools, schema, and ``tail``."""
        read = write_pinned(pinned, params.tools, params.schema)
        return self.chunker.count(read) + self.chunker.count(tail)

    def check(self, params: GenerationParams) -> None:  # noqa: B027  (it may honour all)
        """Raises ``InvalidInputError`` for what :meth:`generate` would refuse in ``params``.

        As tools or a schema that an answer cannot be held to, or too few tokens for any answer.
        """

    @abstractmethod
    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        """Generate from ``context``: text as it comes, folds where they happen, ``Finished`` last.

        Closing the iterator early stops the generation and frees what it held. Raises
        ``ContextOverflowError`` when pinned text and tail are longer than the model can read.
        """

    def generate_batch(
        self, contexts: Sequence[Context], params: Sequence[GenerationParams]
    ) -> Batch:
        """Generate from several contexts: the events of each, with its place among them.

        Each gives what :meth:`generate` would; one that raises gives its error in place of an
        event, and the others go on. ``params`` are those of each. Closing the batch frees what it
        held. Here one after the other; an engine that can runs them side by side.
        """
        pairs = zip(contexts, params, strict=True)
        return Batch([self.generate(context, own) for context, own in pairs])

    def forget(self, owner: str) -> None:  # noqa: B027  (it may keep nothing)
        """Drop what is kept of generations from contexts of ``owner``, as keys and values."""

    def close(self) -> None:  # noqa: B027  (an engine may hold nothing)
        """Free what the engine holds."""
