"""The in-process engine: the embedded default, and the reference for every other one.

The text of the chunks in progress stands at the end of the KV cache; at a fold it is cropped away,
and the chunk's visual tokens are appended where it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.answer import Answer
from vist2_memory.engine.batch import Batch, Waiting
from vist2_memory.engine.batch_decoder import RowDecoder
from vist2_memory.engine.batch_kv import Rows
from vist2_memory.engine.catalog import find_geometry
from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.compiled import CompiledSteps
from vist2_memory.engine.generation import Decoded, Decoder, Prompt, generate, steps
from vist2_memory.engine.graphs import GraphedSteps
from vist2_memory.engine.kv import Beside, KVCache, KVLayer
from vist2_memory.engine.loading import find_device, load_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.prefixes import Entry, Item, Prefixes
from vist2_memory.engine.rounded import SCALE_BYTES, rounded_to
from vist2_memory.engine.sampling import Picker, logprob_of
from vist2_memory.engine.steps import PlainSteps, Steps
from vist2_memory.engine.tree import Tree
from vist2_memory.engine.vist2 import Vist2Engine
from vist2_memory.engine.weighing import PLACES, Branches
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
        processor = Vist2Processor.from_pretrained(folder, geometry)
        super().__init__(folder, self.model, processor, tensors, keep_recent_chunks)
        if self.options.weights is not None:
            quantise(self.model.language_model, self.options.weights)

        if self.options.kv_dtype:
            self.spec = replace(self.spec, kv_bytes_per_token=self._rounded_bytes())
        self._steps = self._made_steps()
        kept = self.options.kv_cache_bytes
        self._prefixes = Prefixes(kept, self._empty_cache, self._goes_on)

    def prefill(self, pinned: str, visual: Sequence[VisualTokens]) -> KVCache:
        """The KV cache after the pinned text and the memory; fork it to ask several questions."""
        cache = self._empty_cache()
        embeds = self.encoder.read(self.processor.tokenizer.encode(pinned), visual)
        if len(embeds):
            cache.append(embeds)
        return cache

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
        """See :meth:`Engine.generate_batch`: each step runs the model once, for all contexts.

        All that they read is read anew, and not kept. With ``kv_dtype`` one comes after the other.
        """
        if self.options.kv_dtype is not None:
            return super().generate_batch(contexts, params)
        rows = Rows(self.model.language_model, self.encoder.embed)
        pairs = zip(contexts, params, strict=True)
        return Batch([self._row(rows, context, own) for context, own in pairs], rows.step)

    def forget(self, owner: str) -> None:
        """See :meth:`Engine.forget`."""
        self._prefixes.forget(owner)

    def close(self) -> None:
        """Drop the keys and values that are kept."""
        self._prefixes.close()

    def _row(
        self, rows: Rows, context: Context, params: GenerationParams
    ) -> Iterator[GenerationEvent | Waiting]:
        prompt = replace(self._prompt(context, params), lead=0)  # nothing is encoded beside
        answer = Answer(self.processor.tokenizer, params, self._form)
        yield from steps(prompt, partial(self._enter, rows), self, answer)

    def _enter(self, rows: Rows, prompt: Prompt) -> Decoder:
        choose = self._chooser(prompt)
        return RowDecoder(rows, self.encoder, prompt, choose)

    def _chooser(self, prompt: Prompt) -> Chooser:
        places = PLACES if self.options.places is None else self.options.places
        params, course = prompt.params, self._course(prompt, places=places)
        never = torch.tensor(sorted(self._never_said(params)), device=self.device)
        return Chooser(Picker(params, never), course, ahead=params.logprobs is None)

    def _begin(self, prompt: Prompt, memory: KVCache | None = None) -> Decoder:
        choose = self._chooser(prompt)
        visual = sum(map(len, prompt.visual))
        text = len(prompt.pinned) + len(prompt.recent)
        with span("prefill", visual_tokens=visual, text_tokens=text) as outcome:
            if memory is None:
                entry = self._prefixes.begin(prompt.cache_salt, prompt.owner, items_of(prompt))
            else:
                entry = Entry(prompt.cache_salt, prompt.owner, memory.fork())
            outcome["reused_tokens"] = len(entry.cache)
            try:
                return TorchDecoder(self, prompt, choose, entry)
            except BaseException:
                self._prefixes.finish(entry)
                raise

    def _empty_cache(self) -> KVCache:
        return KVCache(self.model.language_model, self._layer, self._steps)

    @property
    def _layer(self) -> Callable[[], KVLayer]:
        """Makes an empty layer of keys and values."""
        held = self.options.kv_dtype
        return rounded_to(held) if held else KVLayer

    def _made_steps(self) -> Steps:
        model = self.model.language_model
        if not self.options.compile:
            return PlainSteps(model)
        made = GraphedSteps if self.device.type == "cuda" else CompiledSteps
        steps = made(model, self._layer)
        steps.warm_up()
        return steps

    def _rounded_bytes(self) -> int:
        text: Any = self.model.language_model.config
        width = text.head_dim + SCALE_BYTES
        return int(2 * text.num_hidden_layers * text.num_key_value_heads * width)

    def _goes_on(self, held: Sequence[Item], now: Sequence[Item]) -> bool:
        """Whether ``now`` is what a session reads that had ``held``: it went on from it, or folded
        the oldest chunk of it."""
        ids = [item for item in held if isinstance(item, int)]
        if len(ids) < len(held) or not now:
            return False
        if not isinstance(now[0], int):
            return len(ids) >= self.spec.chunk_tokens and self.first_chunk(ids)[0].id == now[0][1]
        text = [item for item in now if isinstance(item, int)]
        said, wanted = (b"".join(map(self.processor.tokenizer.bytes_of, t)) for t in (ids, text))
        return wanted.startswith(said)


def items_of(prompt: Prompt) -> list[Item]:
    """``prompt`` as what its keys and values are found again by."""
    return [*prompt.pinned, *map(item_of, prompt.visual), *prompt.recent]


def item_of(visual: VisualTokens) -> Item:
    """Names the visual tokens of a chunk."""
    return visual.fingerprint, visual.chunk_id, len(visual)


def _check_options(options: EngineOptions) -> None:
    """Raises ``InvalidInputError`` for what this engine cannot do."""
    if options.compile and options.kv_dtype == "fp8":
        raise InvalidInputError(
            "compile=True is not offered with kv_dtype='fp8', which torch cannot put into buffers "
            "there: give kv_dtype='int8', or leave one of them out"
        )


READ_AHEAD = 24
"""Tokens that are read ahead with each that is decoded."""


class TorchDecoder(Decoder):
    """Decodes in this process, in the cache of ``entry``, which has a beginning of ``prompt``."""

    def __init__(self, engine: TorchEngine, prompt: Prompt, choose: Chooser, entry: Entry) -> None:
        self._engine, self._encoder = engine, engine.encoder
        self._cache, self._choose, self._entry = entry.cache, choose, entry
        self._told = prompt.params.logprobs
        self._base = prompt.base  # tokens before the recent text
        self._waiting: list[int] = []  # tokens that are decided but not run yet
        self.reused = len(self._cache)
        rest = self._encoder.read(prompt.pinned, prompt.visual, prompt.recent, self.reused)
        self._logits = self._cache.append(rest)
        self._most = prompt.fold_at  # tokens of recent text
        self._ahead: _Ahead | None = None
        self._folded = False  # what may be quoted no longer stands where it did
        if prompt.lead:
            self._cache.reserve(self._base + 2 * self._most)
        entry.items[:] = items_of(prompt)
        entry.fixed = len(prompt.pinned) + len(prompt.visual)

    def next(self, room: int) -> Decoded:
        """See :meth:`Decoder.next`."""
        if self._waiting and not self._choose.decides(room):
            self._run(self._waiting)
            self._entry.items.extend(self._waiting)
            self._waiting = []
        self._weigh(room)
        token = self._choose.next(self._logits, room)
        self._waiting.append(token)
        if self._told is None:
            return Decoded(token)
        tokenizer = self._engine.processor.tokenizer
        return Decoded(token, logprob_of(self._logits, token, self._told, tokenizer))

    def _weigh(self, room: int) -> None:
        length = len(self._cache)
        try:
            self._choose.weigh(self._logits, self._branches, room)
        finally:
            self._cache.crop(length)

    def _branches(self) -> Branches:
        """Behind the cache; on a copy of it where something lies there that was read ahead."""
        in_use = self._ahead is not None and self._ahead.beside.read
        cache = self._cache.fork() if in_use else self._cache
        return Tree(cache, self._encoder.embed, None if self._folded else self._encoder.finder)

    @torch.inference_mode()
    def _run(self, tokens: Sequence[int]) -> None:
        """Run ``tokens``, and with them a piece of what is read ahead."""
        embeds, ahead = self._encoder.embed(tokens), self._ahead
        if ahead is None or not ahead.beside.left:
            self._logits = self._cache.append(embeds)
        elif not ahead.begun:  # this token has waited for the tower already
            ahead.begun = True
            self._logits = self._cache.append(embeds)
        else:
            self._logits = self._cache.append_with(embeds, ahead.beside, READ_AHEAD)

    def read_ahead(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.read_ahead`: behind the room of the recent text, with the next tokens.

        The last tokens that a fold keeps are not there yet, and are run at the fold.
        """
        if len(visual) + len(kept) <= self._most:
            embeds = self._encoder.read((), (visual,), kept)
            beside = Beside(self._base, self._base + self._most, embeds)
            self._ahead = _Ahead(item_of(visual), list(kept), beside)

    def fold(self, visual: VisualTokens, kept: Sequence[int]) -> None:
        """See :meth:`Decoder.fold`."""
        entry, item = self._entry, item_of(visual)
        ahead, self._ahead = self._ahead, None
        del entry.items[entry.fixed :]
        if ahead is not None and ahead.goes_on(item, kept):
            self._cache.settle(ahead.beside)
            read = ahead.beside.read
            rest = self._encoder.read((), (visual,), kept)[read:]
            self._logits = self._cache.append(rest)
        else:
            self._logits = self._cache.fold(self._base, self._encoder.read((), (visual,), kept))
        entry.items.extend([item, *kept])
        entry.fixed += 1
        self._base += len(visual)
        self._waiting = []
        self._folded = True
        if ahead is not None:
            self._cache.reserve(self._base + 2 * self._most)

    @property
    def may_end(self) -> bool:
        """See :attr:`Decoder.may_end`."""
        return self._choose.may_end

    def close(self) -> None:
        """See :meth:`Decoder.close`; what was read is kept."""
        self._engine._prefixes.finish(self._entry)


@dataclass(slots=True)
class _Ahead:
    """What is read before its fold: visual tokens, and the kept text as far as it was there."""

    item: Item
    kept: list[int]
    beside: Beside
    begun: bool = False

    def goes_on(self, item: Item, kept: Sequence[int]) -> bool:
        """Whether the fold is the one that was meant, and leaves something to be run."""
        known = len(self.kept)
        return item == self.item and list(kept[:known]) == self.kept and known < len(kept)
