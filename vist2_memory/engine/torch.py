"""The in-process engine: the embedded default, and the reference for every other one.

Source of folding: VIST2 (arXiv 2601.10378). The text of the chunks in progress stands at the end of
the KV cache; when a chunk is full its text is cropped away, and its visual tokens are appended
where it began.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vist2_memory.engine.answer import Answer, finish_reason
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.engine.catalog import find_geometry
from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.decoding import decode
from vist2_memory.engine.grammar import CallForm
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.loading import encoder_digest, find_device, load_model
from vist2_memory.engine.sampling import Picker, logprob_of
from vist2_memory.engine.steering import Grammars
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.errors import ContextOverflowError
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import DType, TensorFormat
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.tools import write_pinned
from vist2_memory.text.transcript import CALL
from vist2_memory.tracing import span
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationParams,
    Timing,
    Usage,
    VisualTokens,
)

ENCODE_BATCH = 64
"""Sketches that go through the tower at once."""


class TorchEngine(Engine):
    """A VIST2 checkpoint in this process, on a GPU if there is one."""

    def __init__(
        self,
        folder: Path,
        *,
        ratio: float | None = None,
        device: str | None = None,
        keep_recent_chunks: int | None = None,
        tensors_dtype: DType = "bfloat16",
    ) -> None:
        """Load the checkpoint in ``folder``.

        ``ratio``: which of its geometries to draw in, by about how many text tokens a visual token
        stands for; the default one if None. ``tensors_dtype``: what visual tokens are rounded to,
        and stored in. Raises ``ModelError``, or ``InvalidInputError`` for a
        ratio that it does not offer or a device that cannot be used.
        """
        self.device = find_device(device)
        geometry = None if ratio is None else find_geometry(folder, ratio)
        dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        self.model: Vist2ForConditionalGeneration = load_model(folder, self.device, dtype)
        self.processor = Vist2Processor.from_pretrained(folder, geometry)
        self.chunker = self.processor.chunker
        config = self.model.config
        text: Any = config.text_config
        keep = config.keep_recent_chunks if keep_recent_chunks is None else keep_recent_chunks
        digest = encoder_digest(self.model, config, self.processor.geometry)
        tensors = TensorFormat(tensors_dtype)
        identity = (digest, self.processor.layout, str(dtype)[6:], tensors.code)
        self.spec = EngineSpec(
            model=folder.name,
            fingerprint="-".join(identity),
            layout=self.processor.layout,
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
        unknown = range(len(self.processor.tokenizer), text.vocab_size)
        suppressed = getattr(self.model.generation_config, "suppress_tokens", None) or ()
        never = {*self.processor.silent_ids, *suppressed, *unknown}
        self._never = torch.tensor(sorted(never), device=self.device)
        self._form = CallForm(self.processor.tokenizer.id(CALL))
        self._marks = self.processor.stop_ids | self.processor.silent_ids
        self._positions: int = text.max_position_embeddings
        self._cost = lru_cache(maxsize=65_536)(self._cost_of)

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """Draw ``chunks`` and run the tower and the aligner, a batch at a time.

        A chunk that would cost more drawn than written stays text: its values are then the
        embeddings of its tokens.
        """
        out: list[VisualTokens] = []
        for start in range(0, len(chunks), ENCODE_BATCH):
            out += self._encode_batch(chunks[start : start + ENCODE_BATCH])
        return out

    def cost(self, chunk: Chunk) -> int:
        """See :meth:`Engine.cost`; drawn or written, whatever is less."""
        return self._cost(chunk.text)

    def _cost_of(self, text: str) -> int:
        return min(self.chunker.count(text), self.processor.renderer.visual_tokens(text))

    def _encode_batch(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        processor = self.processor
        with span("draw", chunks=len(chunks)):
            sketches = processor.renderer.draw(chunks)
        with span("encode", chunks=len(chunks)):
            patches, mask = processor.patches(sketches)
            encoded = self.model.encode(
                patches.to(self.device), mask.to(self.device), processor.geometry
            )
            values = encoded.float().cpu().numpy()
        out = []
        for chunk, sketch, drawn in zip(chunks, sketches, values, strict=True):
            own = drawn[: sketch.visual_tokens]
            if self.cost(chunk) < sketch.visual_tokens:
                written = self._embed(processor.tokenizer.encode(chunk.text))
                own = written.float().cpu().numpy()
            own = self.spec.tensors.rounded(own)
            out.append(VisualTokens(chunk.id, own, self.spec.fingerprint, chunk.tokens))
        return out

    def _embed(self, ids: Sequence[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""
        table = self.model.get_input_embeddings()
        embeds: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.device))
        return embeds

    def _visual(self, visual: Sequence[VisualTokens]) -> Tensor:
        """Visual tokens end to end, shape (tokens, hidden size)."""
        weight: Any = self.model.get_input_embeddings().weight
        empty = np.empty((0, weight.shape[1]), dtype=np.float32)
        values = np.concatenate([empty, *(tokens.values for tokens in visual)])
        return torch.from_numpy(values).to(device=weight.device, dtype=weight.dtype)

    @torch.inference_mode()
    def prefill(self, pinned: str, visual: Sequence[VisualTokens]) -> KVCache:
        """The KV cache after the pinned text and the memory; fork it to ask several questions."""
        cache = KVCache(self.model.language_model)
        embeds = torch.cat(
            [self._embed(self.processor.tokenizer.encode(pinned)), self._visual(visual)]
        )
        if len(embeds):
            cache.append(embeds)
        return cache

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`."""
        self._grammars.steer(params)

    def generate(
        self, context: Context, params: GenerationParams, memory: KVCache | None = None
    ) -> Iterator[GenerationEvent]:
        """See :meth:`Engine.generate`. ``memory``: a prefilled cache of this context's memory,
        after pinned text that has the tools and the schema of ``params``."""
        started = time.perf_counter()
        tokenizer, spec = self.processor.tokenizer, self.spec
        recent = tokenizer.encode(context.tail)
        pinned = write_pinned(context.pinned, params.tools, params.schema)
        prompt_text = len(tokenizer.encode(pinned)) + len(recent)
        if prompt_text > spec.max_text_tokens:
            raise ContextOverflowError(
                f"the text that must stay text has {prompt_text} tokens, the model reads "
                f"{spec.max_text_tokens}: shorten the system prompt, the tools or the question"
            )
        steering = self._grammars.steer(params)
        choose = Chooser(self._picker(params), steering, ahead=params.logprobs is None)
        with span("prefill", visual_tokens=sum(map(len, context.visual)), text_tokens=prompt_text):
            cache = self.prefill(pinned, context.visual) if memory is None else memory.fork()
            base = len(cache)  # tokens before the recent text
            logits = self._append(cache, recent)
        answer = Answer(tokenizer, params, self._form)
        limit = spec.fold_at(len(recent))
        new = folds = 0
        first_token_s = 0.0
        reason: FinishReason = "length"
        waiting: list[int] = []  # tokens that are decided but not run yet
        while (
            room := min(params.max_tokens - new, self._positions - len(cache) - len(waiting))
        ) > 0:
            token = choose.next(logits, room)
            first_token_s = first_token_s or time.perf_counter() - started
            if token in self.processor.stop_ids:
                reason = "stop"
                break
            new += 1
            recent.append(token)
            waiting.append(token)
            told = params.logprobs
            known = None if told is None else logprob_of(logits, token, told, tokenizer)
            yield from answer.push(token, known)
            if answer.stopped:
                reason = "stop"
                break
            if len(recent) >= limit:
                chunk, kept = self.first_chunk(recent)
                visual = self.encode([chunk])[0]
                logits = self._fold(cache, base, visual, kept)
                base, recent, folds = base + len(visual), kept, folds + 1
                waiting = []
                yield ChunkFolded(chunk, visual)
            elif not choose.decides(room - 1):
                logits, waiting = self._append(cache, waiting), []
        yield from answer.flush()
        reason = finish_reason(reason, answer, params, choose.may_end)
        stood_for = sum(tokens.text_tokens for tokens in context.visual)
        yield Finished(
            text=answer.text,
            reason=reason,
            usage=Usage(
                text_tokens=stood_for,
                visual_tokens=sum(len(tokens) for tokens in context.visual),
                prompt_text_tokens=prompt_text,
                full_prompt_tokens=prompt_text + stood_for,
                new_tokens=new,
                folds=folds,
            ),
            timing=Timing(first_token_s=first_token_s, total_s=time.perf_counter() - started),
            calls=answer.calls,
        )

    def _picker(self, params: GenerationParams) -> Picker:
        """What picks from logits; a call is opened only where tools are offered."""
        never = self._never
        return Picker(params, never[never != self._form.opens] if params.offered else never)

    @cached_property
    def _grammars(self) -> Grammars:
        tokenizer = self.processor.tokenizer
        special = set(self._never.tolist()) & set(range(len(tokenizer)))
        tokens = [tokenizer.bytes_of(i) for i in range(len(tokenizer))]
        vocabulary = Vocabulary(tokens, special, self.processor.stop_ids, tokenizer.encode)
        return Grammars(vocabulary, self._form)

    @torch.inference_mode()
    def _append(self, cache: KVCache, ids: Sequence[int]) -> Tensor:
        return cache.append(self._embed(ids))

    @torch.inference_mode()
    def _fold(self, cache: KVCache, base: int, visual: VisualTokens, kept: Sequence[int]) -> Tensor:
        """The visual tokens take the place of all recent text, the kept part of it is run again."""
        logits = cache.fold(base, self._visual([visual]))
        return cache.append(self._embed(kept)) if kept else logits

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
