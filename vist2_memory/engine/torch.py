"""The in-process engine: the embedded default, and the reference for every other one.

The text of the chunks in progress stands at the end of the KV cache; at a fold it is cropped away,
and the chunk's visual tokens are appended where it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vist2_memory.engine.answer import Answer
from vist2_memory.engine.attention import read_cached
from vist2_memory.engine.batch import Batch
from vist2_memory.engine.batch_decoder import RowDecoder
from vist2_memory.engine.batch_kv import Rows
from vist2_memory.engine.catalog import find_geometry
from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.generation import Decoded, Decoder, Prompt, Waiting, generate, steps
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.loading import find_device, load_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.sampling import Picker, logprob_of
from vist2_memory.engine.vist2 import Vist2Engine
from vist2_memory.engine.weights import quantise
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import DType, TensorFormat
from vist2_memory.tracing import span
from vist2_memory.types import Context, GenerationEvent, GenerationParams, VisualTokens


class TorchEngine(Vist2Engine):
    """A VIST2 checkpoint in this process, on a GPU if there is one."""

    def __init__(
        self,
        folder: Path,
        *,
        ratio: float | None = None,
        device: str | None = None,
        keep_recent_chunks: int | None = None,
        tensors_dtype: DType | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        """Load the checkpoint in ``folder``.

        ``ratio``: which of its geometries to draw in, by about how many text tokens a visual token
        stands for; the default one if None. ``device`` and ``tensors_dtype``: instead of those of
        ``options``. Raises ``ModelError``, or ``InvalidInputError`` for a ratio that it does not
        offer or a device that cannot be used.
        """
        self.options = options or EngineOptions()
        _check_options(self.options)
        self.device = find_device(device or self.options.device)
        geometry = None if ratio is None else find_geometry(folder, ratio)
        exact = "float32" if self.device.type == "cpu" else "bfloat16"
        dtype: torch.dtype = getattr(torch, self.options.dtype or exact)
        tensors = TensorFormat(tensors_dtype or self.options.tensors_dtype)
        self.model: Vist2ForConditionalGeneration = load_model(folder, self.device, dtype)
        read_cached(self.model.language_model)
        processor = Vist2Processor.from_pretrained(folder, geometry)
        super().__init__(folder, self.model, processor, tensors, keep_recent_chunks)
        if self.options.weights is not None:
            quantise(self.model.language_model, self.options.weights)

    @torch.inference_mode()
    def prefill(self, pinned: str, visual: Sequence[VisualTokens]) -> KVCache:
        """The KV cache after the pinned text and the memory; fork it to ask several questions."""
        return self._prefilled(self.processor.tokenizer.encode(pinned), visual)

    def generate(
        self, context: Context, params: GenerationParams, memory: KVCache | None = None
    ) -> Iterator[GenerationEvent]:
        """See :meth:`Engine.generate`. ``memory``: a prefilled cache of this context's memory,
        after pinned text that has the tools and the schema of ``params``."""
        prompt = self._prompt(context, params)
        answer = Answer(self.processor.tokenizer, params, self._form)
        yield from generate(prompt, partial(self._begin, memory=memory), self, answer)

    def generate_batch(
        self, contexts: Sequence[Context], params: Sequence[GenerationParams]
    ) -> Batch:
        """See :meth:`Engine.generate_batch`: each step runs the model once, for all contexts."""
        rows = Rows(self.model.language_model, self.encoder.embed)
        pairs = zip(contexts, params, strict=True)
        return Batch([self._row(rows, context, own) for context, own in pairs], rows.step)

    def _row(
        self, rows: Rows, context: Context, params: GenerationParams
    ) -> Iterator[GenerationEvent | Waiting]:
        prompt = self._prompt(context, params)
        answer = Answer(self.processor.tokenizer, params, self._form)
        yield from steps(prompt, partial(self._enter, rows), self, answer)

    def _enter(self, rows: Rows, prompt: Prompt) -> Decoder:
        choose = self._chooser(prompt.params)
        return RowDecoder(rows, self.encoder, prompt, choose)

    def _chooser(self, params: GenerationParams) -> Chooser:
        steering = self._grammars.steer(params)
        never = torch.tensor(sorted(self._never_said(params)), device=self.device)
        return Chooser(Picker(params, never), steering, ahead=params.logprobs is None)

    def _begin(self, prompt: Prompt, memory: KVCache | None = None) -> Decoder:
        choose = self._chooser(prompt.params)
        visual = sum(map(len, prompt.visual))
        text = len(prompt.pinned) + len(prompt.recent)
        with span("prefill", visual_tokens=visual, text_tokens=text):
            if memory is None:
                cache = self._prefilled(prompt.pinned, prompt.visual)
            else:
                cache = memory.fork()
            return TorchDecoder(self, cache, prompt, choose)

    @torch.inference_mode()
    def _prefilled(self, pinned: Sequence[int], visual: Sequence[VisualTokens]) -> KVCache:
        cache = KVCache(self.model.language_model)
        embeds = torch.cat([self.encoder.embed(pinned), self.encoder.join(visual)])
        if len(embeds):
            cache.append(embeds)
        return cache


def _check_options(options: EngineOptions) -> None:
    """Raises ``InvalidInputError`` for what this engine cannot do."""
    if options.compile:
        raise InvalidInputError(
            "compile=True is not offered by the engine in this process yet: leave it out, or "
            "take engine='vllm', which compiles by itself"
        )


class TorchDecoder(Decoder):
    """Decodes in this process. ``cache`` has all of ``prompt`` but the recent text."""

    def __init__(
        self, engine: TorchEngine, cache: KVCache, prompt: Prompt, choose: Chooser
    ) -> None:
        self._engine, self._encoder = engine, engine.encoder
        self._cache, self._choose = cache, choose
        self._told = prompt.params.logprobs
        self._base = len(cache)  # tokens before the recent text
        self._waiting: list[int] = []  # tokens that are decided but not run yet
        self._logits = self._append(prompt.recent)

    def next(self, room: int) -> Decoded:
        """See :meth:`Decoder.next`."""
        if self._waiting and not self._choose.decides(room):
            self._logits, self._waiting = self._append(self._waiting), []
        token = self._choose.next(self._logits, room)
        self._waiting.append(token)
        if self._told is None:
            return Decoded(token)
        tokenizer = self._engine.processor.tokenizer
        return Decoded(token, logprob_of(self._logits, token, self._told, tokenizer))

    @torch.inference_mode()
    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.fold`."""
        self._logits = self._cache.fold(self._base, self._encoder.join([visual]))
        self._base += len(visual)
        self._waiting = []
        if kept:
            self._logits = self._append(kept)

    @property
    def may_end(self) -> bool:
        """See :attr:`Decoder.may_end`."""
        return self._choose.may_end

    @torch.inference_mode()
    def _append(self, ids: Sequence[int]) -> Tensor:
        return self._cache.append(self._encoder.embed(ids))
