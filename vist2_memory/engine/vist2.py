"""What all engines of VIST2 checkpoints share: the encoder, where text is cut, and the fold.

Which of them it is differs in what decodes: this process, or vLLM.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vist2_memory.engine.answer import Answer
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.engine.decoding import decode
from vist2_memory.engine.encoder import Encoder
from vist2_memory.engine.generation import Decoder, Folding, Prompt, generate
from vist2_memory.engine.grammar import CallForm
from vist2_memory.engine.loading import encoder_digest
from vist2_memory.engine.looking import Span
from vist2_memory.engine.pictures import sketch_of
from vist2_memory.engine.quotes import Quotable, Quoting
from vist2_memory.engine.steering import Course, Grammars
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.errors import ContextOverflowError
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import TensorFormat
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.tools import write_pinned
from vist2_memory.text.transcript import CALL
from vist2_memory.types import (
    Chunk,
    Context,
    GenerationEvent,
    GenerationParams,
    VisualTokens,
)


class Vist2Engine(Engine, Folding):
    """A VIST2 checkpoint, of which tower and aligner run here."""

    reads_back = True

    def __init__(
        self,
        folder: Path,
        model: Vist2ForConditionalGeneration,
        processor: Vist2Processor,
        tensors: TensorFormat,
        keep_recent_chunks: int | None = None,
    ) -> None:
        """``model``: the checkpoint in ``folder``, of which the parts that see are used here."""
        config = model.config
        text: Any = config.text_config
        dtype = model.dtype
        keep = config.keep_recent_chunks if keep_recent_chunks is None else keep_recent_chunks
        digest = encoder_digest(model, config, processor.geometry)
        fingerprint = "-".join((digest, processor.layout, str(dtype)[6:], tensors.code))
        self.processor = processor
        self.chunker = processor.chunker
        self.encoder = Encoder(model, processor, fingerprint, tensors)
        self.spec = EngineSpec(
            model=folder.name,
            fingerprint=fingerprint,
            layout=processor.layout,
            chunk_tokens=config.chunk_tokens,
            keep_recent=keep * config.chunk_tokens,
            max_visual_tokens=config.max_visual_tokens,
            max_text_tokens=text.max_position_embeddings - config.max_visual_tokens,
            kv_bytes_per_token=2
            * text.num_hidden_layers
            * text.num_key_value_heads
            * text.head_dim
            * dtype.itemsize,
            tensors=tensors,
        )
        self.hidden_size: int = text.hidden_size
        self.stop_ids = processor.stop_ids
        unknown = range(len(processor.tokenizer), text.vocab_size)
        suppressed = getattr(model.generation_config, "suppress_tokens", None) or ()
        self._never = frozenset({*processor.silent_ids, *suppressed, *unknown})
        self._form = CallForm(processor.tokenizer.id(CALL))
        self._grammars = Grammars(self._vocabulary, self._form)
        self._quotes = config.quotes or ()
        self._marks = processor.stop_ids | processor.silent_ids
        self._positions: int = text.max_position_embeddings

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """See :meth:`Encoder.encode`."""
        return self.encoder.encode(chunks)

    def cost(self, chunk: Chunk) -> int:
        """See :meth:`Engine.cost`; drawn or written, whatever is less."""
        return self.encoder.cost(chunk)

    def picture(self, chunk: Chunk) -> bytes | None:
        """See :meth:`Engine.picture`; None for a chunk that takes fewer tokens as text."""
        return sketch_of(self.processor.renderer, chunk, self.cost(chunk))

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`."""
        self._grammars.steer(params)

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        """See :meth:`Engine.generate`."""
        prompt = self._prompt(context, params)
        answer = Answer(self.processor.tokenizer, params, self._form)
        yield from generate(prompt, self._begin, self, answer)

    @abstractmethod
    def _begin(self, prompt: Prompt) -> Decoder:
        """Read ``prompt``; raises ``InvalidInputError`` for what its parameters cannot have."""

    def _prompt(self, context: Context, params: GenerationParams) -> Prompt:
        tokenizer, spec = self.processor.tokenizer, self.spec
        pinned = tokenizer.encode(write_pinned(context.pinned, params.tools, params.schema))
        recent = tokenizer.encode(context.tail)
        if len(pinned) + len(recent) > spec.max_text_tokens:
            raise ContextOverflowError(
                f"the text that must stay text has {len(pinned) + len(recent)} tokens, the model "
                f"reads {spec.max_text_tokens}: shorten the system prompt, the tools or the "
                "question"
            )
        fold_at = spec.fold_at(len(recent))
        return Prompt(
            tuple(pinned),
            context.visual,
            tuple(recent),
            params,
            fold_at,
            fold_at - spec.chunk_tokens,
            self._positions,
            context.cache_salt,
            context.owner,
            Quotable.of(context),
        )

    def _course(self, prompt: Prompt, ahead: bool = True, places: int = 1) -> Course | None:
        """What the answer to ``prompt`` is held to; None where anything may be said.

        ``ahead`` and ``places``: see :class:`Quoting`; where words are drawn at random, one place
        is weighed. Raises ``InvalidInputError`` as :meth:`check` does.
        """
        params, steering = prompt.params, self._grammars.steer(prompt.params)
        free = params.schema is None and not params.must_call
        if not (self._quotes and params.exact_quotes and free) or prompt.quotable is None:
            return steering
        vocabulary = self._grammars.vocabulary
        places = 1 if params.temperature else places
        spans = partial(self._spans, prompt) if self.encoder.finder else None
        return Quoting(vocabulary, self._quotes, prompt.quotable, steering, ahead, places, spans)

    def _spans(self, prompt: Prompt) -> list[Span]:
        """The characters of what ``prompt`` may quote that each token of it stands for."""
        assert prompt.quotable is not None
        pinned = [(0, 0)] * len(prompt.pinned)
        return pinned + prompt.quotable.spans(self.encoder.spans, self.processor.tokenizer.spans)

    def _never_said(self, params: GenerationParams) -> frozenset[int]:
        """Ids that no answer has; a call is opened only where tools are offered."""
        return self._never - {self._form.opens} if params.offered else self._never

    def _vocabulary(self) -> Vocabulary:
        tokenizer = self.processor.tokenizer
        special = self._never & set(range(len(tokenizer)))
        tokens = [tokenizer.bytes_of(i) for i in range(len(tokenizer))]
        return Vocabulary(tokens, special, self.stop_ids, tokenizer.encode)

    def first_chunk(self, ids: Sequence[int]) -> tuple[Chunk, list[int]]:
        """The oldest chunk of recent text, given as tokens, and the tokens that are kept."""
        tokenizer, chunker = self.processor.tokenizer, self.chunker

        def cut(end: int) -> tuple[str, bool]:
            """The text before ``end``, and whether what follows reads on as if nothing was cut."""
            text, whole = decode(tokenizer, ids[:end], self._marks)
            if not whole and end < len(ids):  # bytes that never become a character end anywhere
                rest, _ = decode(tokenizer, ids[end:], self._marks)
                whole = text + rest == decode(tokenizer, ids, self._marks)[0]
            return text, whole

        end = min(self.spec.chunk_tokens, len(ids))
        text, whole = cut(end)
        while end > 1 and not (whole and chunker.fits(text)):
            end -= 1
            text, whole = cut(end)
        while not whole and end < len(ids):  # one character of more tokens than a chunk has
            end += 1
            text, whole = cut(end)
        return Chunk(chunk_id(text), text, chunker.count(text)), list(ids[end:])
