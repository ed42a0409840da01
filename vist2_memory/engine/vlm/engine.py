"""Any stock vision-language model as an engine: its tower sees each page once.

What the tower and projector make of a page is what is stored; later turns hand it to the language
model without pixels. Source of reading pages in place of text without training: Glyph (arXiv
2510.17800). The newest text stays text, and strings that such readers misread stand beside the
pages.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vist2_memory import verbatim
from vist2_memory.engine.answer import Answer, finish_reason
from vist2_memory.engine.base import Engine, EngineSpec
from vist2_memory.engine.catalog import read_config
from vist2_memory.engine.choosing import Chooser
from vist2_memory.engine.loading import find_device, weights_digest
from vist2_memory.engine.sampling import Picker
from vist2_memory.engine.steering import Grammars, Steering
from vist2_memory.engine.tokens import Vocabulary
from vist2_memory.engine.vlm.calls import told
from vist2_memory.engine.vlm.chat import ChatTemplate, Item
from vist2_memory.engine.vlm.families import find_family
from vist2_memory.engine.vlm.loading import Parts, load_parts, model_name
from vist2_memory.engine.vlm.pages import open_press
from vist2_memory.engine.vlm.reader import CachedReader, Reader
from vist2_memory.engine.vlm.words import turns
from vist2_memory.errors import ContextOverflowError, InvalidInputError, ModelError
from vist2_memory.sketch.page import PageGeometry
from vist2_memory.store.formats import DType, TensorFormat
from vist2_memory.text.transcript import speaker
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

ENCODE_BATCH = 8
"""Pages that go through the tower at once."""
KEEP_RECENT = 1024
VERBATIM_TOKENS = 512
_QUESTION = 256
"""Text tokens that there must be room for beside a full tail: a question, and its answer."""
_COSTS = 4096
"""Pages whose cost is remembered, by their text."""
DTYPES = ("float32", "bfloat16", "float16")


class VLMEngine(Engine):
    """A published vision-language model in this process, on a GPU if there is one."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        page: PageGeometry | None = None,
        chunk_tokens: int | None = None,
        keep_recent: int = KEEP_RECENT,
        verbatim_tokens: int = VERBATIM_TOKENS,
        tensors_dtype: DType = "bfloat16",
    ) -> None:
        """Load the model in ``folder``.

        ``dtype``: of weights and sums (default: float32 on a CPU, else bfloat16). ``page``: how
        text is printed (default: the family's own). ``chunk_tokens``: text tokens a page (default:
        about what it holds). ``keep_recent``: newest text tokens that stay text.
        ``verbatim_tokens``: room for strings beside the pages, 0 for none. ``tensors_dtype``: what
        visual tokens are rounded to, and stored in. Raises ``ModelError`` for a model without
        adapter or without its parts, and ``InvalidInputError`` for a device, a dtype or a number of
        tokens that cannot be used, also by a model that reads so little.
        """
        _check(dtype, chunk_tokens, keep_recent, verbatim_tokens)
        press = open_press(folder, page, chunk_tokens)
        self.tokenizer, self.renderer, self.chunker = (
            press.tokenizer,
            press.renderer,
            press.chunker,
        )
        on = find_device(device)
        kind = dtype or ("float32" if on.type == "cpu" else "bfloat16")
        parts = self._load(folder, on, kind)
        adapter = find_family(read_config(folder)).load()
        self.family = adapter(parts.model, parts.image_processor, self.renderer.geometry)
        tensors = TensorFormat(tensors_dtype, self.family.layers)
        self._template = ChatTemplate(
            folder, parts.tokenizer, self.tokenizer, adapter.image, adapter.around
        )
        seeing = (parts.image_processor.to_dict(), _settings(parts.model.config))
        weights = weights_digest(self.family.tower_modules)
        text: Any = parts.model.config.get_text_config()
        positions = self._reads(text)
        tokens = press.chunker.chunk_tokens
        text_tokens = min(positions // 2, max(8192, 2 * (tokens + keep_recent)))
        if text_tokens < tokens + keep_recent + _QUESTION:
            raise InvalidInputError(
                f"{model_name(folder)} reads {positions} positions, of which half are text: too "
                f"few for pages of {tokens} tokens beside keep_recent={keep_recent} and a question "
                f"of {_QUESTION}; give fewer as keep_recent or chunk_tokens"
            )
        heads = text.num_key_value_heads * (
            getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        )
        self.spec = EngineSpec(
            model=model_name(folder),
            fingerprint="-".join((weights, _digest(*seeing), press.layout, kind, tensors.code)),
            layout=press.layout,
            chunk_tokens=tokens,
            keep_recent=keep_recent,
            max_visual_tokens=positions - text_tokens,
            max_text_tokens=text_tokens,
            kv_bytes_per_token=2 * text.num_hidden_layers * heads * parts.model.dtype.itemsize,
            tensors=tensors,
        )
        self._verbatim_tokens = verbatim_tokens
        self._strings = lru_cache(maxsize=4096)(verbatim.find)
        self._stop_ids = parts.stop_ids
        self._grammars = Grammars(self._vocabulary, self._template.form)
        unknown = range(len(self.tokenizer), text.vocab_size)
        steering = {*self.tokenizer.special_ids, self.family.image_token_id}
        never = {*steering, *unknown} - self._stop_ids
        self._never = torch.tensor(sorted(never), device=on)
        self._unknown = torch.tensor([*unknown], dtype=torch.long, device=on)
        self._positions = positions
        self._cost = lru_cache(maxsize=_COSTS)(self._cost_of)

    def _load(self, folder: Path, device: torch.device, dtype: str) -> Parts:
        """What is run here of the model in ``folder``."""
        return load_parts(folder, device, dtype)

    def _reads(self, text: Any) -> int:
        """Tokens that the language model of config ``text`` reads."""
        return int(text.max_position_embeddings)

    @torch.inference_mode()
    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """Draw ``chunks``, a page each, and run the tower and the projector, a batch at a time."""
        out: list[VisualTokens] = []
        for start in range(0, len(chunks), ENCODE_BATCH):
            batch = chunks[start : start + ENCODE_BATCH]
            with span("draw", chunks=len(batch)):
                pages = self.renderer.draw(batch)
            with span("encode", chunks=len(batch)):
                encoded = self.family.encode(pages)
            for chunk, seen in zip(batch, encoded, strict=True):
                values = self.spec.tensors.rounded(seen.float().cpu().numpy())
                out.append(VisualTokens(chunk.id, values, self.spec.fingerprint, chunk.tokens))
        return out

    def picture(self, chunk: Chunk) -> bytes:
        """See :meth:`Engine.picture`."""
        return self.renderer.draw([chunk])[0].to_png()

    def cost(self, chunk: Chunk) -> int:
        """See :meth:`Engine.cost`; only the lines are counted, nothing is drawn."""
        return self._cost(chunk.text)

    def _cost_of(self, text: str) -> int:
        drawn = self.renderer.geometry.page_height(len(self.renderer.lines(text)))
        return self.family.visual_tokens(self.family.height(drawn))

    def text_tokens(self, pinned: str, tail: str, params: GenerationParams) -> int:
        """See :meth:`Engine.text_tokens`; what the chat template writes is counted too."""
        return len(self.items(Context(pinned, (), tail), params))

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`."""
        self._grammars.steer(params)

    def items(self, context: Context, params: GenerationParams | None = None) -> list[Item]:
        """What the model reads of ``context`` and of the tools and schema of ``params``: text
        tokens, and pages in their places."""
        visual, sources = context.visual, [chunk.text for chunk in context.sources]
        for tokens in visual:
            if tokens.fingerprint != self.spec.fingerprint:
                raise ModelError(
                    f"the visual tokens of chunk {tokens.chunk_id} were made by "
                    f"{tokens.fingerprint!r}, not by {self.spec.fingerprint!r}: encode it again"
                )
        strings = [self._strings(text) for text in sources] if self._verbatim_tokens else []
        note = verbatim.note(strings, self._verbatim_tokens, self.chunker.count) if strings else ""
        asked = params or GenerationParams()
        tools = asked.tools if self._template.tells(asked.tools) else ()
        pinned = context.pinned + told(asked, template_tells=bool(tools))
        said, answer = turns(pinned, len(visual), note, context.tail, context.speaks)
        return self._template.items(said, visual, answer, tools)

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        """See :meth:`Engine.generate`."""
        started = time.perf_counter()
        steering = self._grammars.steer(params)
        items = self.items(context, params)
        prompt_text = sum(isinstance(item, int) for item in items)
        if prompt_text > self.spec.max_text_tokens:
            raise ContextOverflowError(
                f"the text that must stay text has {prompt_text} tokens, the model reads "
                f"{self.spec.max_text_tokens}: shorten the system prompt, the tools or the question"
            )
        reader = self._begin(items, context, params, steering)
        try:
            yield from self._events(reader, context, params, prompt_text, started)
        finally:
            reader.close()

    def _begin(
        self,
        items: Sequence[Item],
        context: Context,
        params: GenerationParams,
        steering: Steering | None,
    ) -> Reader:
        """Read ``items``, which are those of ``context``."""
        pick = Picker(params, self._suppressed(steering))
        choose = Chooser(pick, steering, ahead=params.logprobs is None)
        return CachedReader(self.family, items, choose, self.tokenizer, params.logprobs)

    def _suppressed(self, steering: Steering | None) -> Tensor:
        """Ids that an answer held to ``steering`` never has."""
        return self._never if steering is None else self._unknown

    def _events(
        self,
        reader: Reader,
        context: Context,
        params: GenerationParams,
        prompt_text: int,
        started: float,
    ) -> Iterator[GenerationEvent]:
        answer = Answer(self.tokenizer, params, self._template.form)
        now, written = context, 0  # the first ``written`` characters of the answer are in ``now``
        recent = self.chunker.count(context.tail)
        limit = self.spec.fold_at(recent)
        new = folds = 0
        first_token_s = 0.0
        reason: FinishReason = "length"
        while (room := min(params.max_tokens - new, self._positions - len(reader))) > 0:
            decoded = reader.next(room, limit - recent)
            first_token_s = first_token_s or time.perf_counter() - started
            if decoded.token in self._stop_ids:
                reason = "stop"
                break
            new, recent = new + 1, recent + 1
            yield from answer.push(decoded.token, decoded.logprob)
            if answer.stopped:
                reason = "stop"
                break
            if recent >= limit and answer.whole:
                tail = now.tail + answer.so_far[written:]
                now, written = replace(now, tail=tail), len(answer.so_far)
                if chunk := self.chunker.first(tail):
                    visual = self.encode([chunk])[0]
                    now = replace(
                        now,
                        visual=(*now.visual, visual),
                        tail=tail.removeprefix(chunk.text),
                        sources=(*now.sources, chunk),
                        speaks=speaker(chunk.text) or now.speaks,
                    )
                    reader.fold(self.items(now, params))
                    recent, folds = self.chunker.count(now.tail), folds + 1
                    yield ChunkFolded(chunk, visual)
                    continue
                recent = self.chunker.count(tail)  # fewer, when written down, than were generated
        yield from answer.flush()
        stood_for = sum(tokens.text_tokens for tokens in context.visual)
        yield Finished(
            text=answer.text,
            reason=finish_reason(reason, answer, params, reader.may_end),
            usage=Usage(
                text_tokens=stood_for,
                visual_tokens=sum(map(len, context.visual)),
                prompt_text_tokens=prompt_text,
                full_prompt_tokens=prompt_text + stood_for,
                new_tokens=new,
                folds=folds,
                reused_tokens=reader.reused,
            ),
            timing=Timing(first_token_s=first_token_s, total_s=time.perf_counter() - started),
            calls=answer.calls,
        )

    def _vocabulary(self) -> Vocabulary:
        tokenizer = self.tokenizer
        tokens = [tokenizer.bytes_of(i) for i in range(len(tokenizer))]
        stops = [token for token in self._stop_ids if token < len(tokens)]
        return Vocabulary(tokens, tokenizer.controls, stops, tokenizer.encode)


def _check(
    dtype: str | None, chunk_tokens: int | None, keep_recent: int, verbatim_tokens: int
) -> None:
    """Raise ``InvalidInputError`` for options of no sense, before anything is loaded."""
    if dtype not in (None, *DTYPES):
        raise InvalidInputError(f"dtype={dtype!r} is not allowed: give one of {', '.join(DTYPES)}")
    numbers = (
        ("chunk_tokens", chunk_tokens, 1),
        ("keep_recent", keep_recent, 0),
        ("verbatim_tokens", verbatim_tokens, 0),
    )
    for name, value, least in numbers:
        if value is not None and value < least:
            raise InvalidInputError(f"{name}={value!r} is not allowed: it must be {least} or more")


def _settings(config: Any) -> dict[str, Any]:
    """All of a model's config but its language model's: what is pooled, shuffled and taken from
    which layer stands beside the tower's own part."""
    settings: dict[str, Any] = config.to_dict()
    for name in ("text_config", "transformers_version", "_name_or_path"):
        settings.pop(name, None)
    return settings


def _digest(*parts: object) -> str:
    written = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(written.encode(), digest_size=8).hexdigest()
