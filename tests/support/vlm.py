"""What a family's own processor and ``forward`` make of page images: the reference.

Nothing of the engine is used here but the words of the chat and the pages' pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer

from tests.support.vlm_families import SAMPLES
from vist2_memory import verbatim
from vist2_memory.engine.sampling import Picker
from vist2_memory.engine.vlm.cache import PageCache
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.engine.vlm.words import Turn, turns
from vist2_memory.text.transcript import speaker
from vist2_memory.types import Chunk, Context, GenerationEvent, GenerationParams, VisualTokens


class SmallVLM(VLMEngine):
    """The real engine with small pages; remembers what it encoded and what it was asked."""

    def __init__(self, folder: Path, kind: str, **options: Any) -> None:
        settings = {"page": SAMPLES[kind].page, "chunk_tokens": 24, "keep_recent": 16}
        super().__init__(folder, device="cpu", **(settings | options))
        self.kind = kind
        self.folder = folder
        self.encoded: list[str] = []
        self.contexts: list[Context] = []

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        self.encoded += [chunk.text for chunk in chunks]
        return super().encode(chunks)

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        self.contexts.append(context)
        return super().generate(context, params)

    def logits(self, context: Context) -> Tensor:
        """Logits of the first token of the answer, shape (vocabulary,)."""
        with torch.inference_mode():
            return PageCache(self.family).become(self.items(context))


class Reference:
    """The family's own processor and model, given page images."""

    def __init__(self, engine: SmallVLM) -> None:
        self._engine = engine
        self.model = engine.family.model
        # Without torchvision there is no video processor, which the processors insist on.
        kind: Any = type("Images", (SAMPLES[engine.kind].processor,), {"_check": None})
        kind.check_argument_for_proper_class = lambda self, name, value: None
        self.tokenizer = AutoTokenizer.from_pretrained(engine.folder)
        self.tokenizer.padding_side = "left"
        processor = AutoImageProcessor.from_pretrained(engine.folder, backend="pil")
        parts = {"image_processor": processor, "tokenizer": self.tokenizer}
        parts["chat_template"] = self.tokenizer.chat_template
        if engine.kind in ("gemma3", "internvl"):
            parts["image_seq_length"] = 16
        if engine.kind != "gemma3":
            parts["video_processor"] = None
        self._processor = kind(**parts)

    def inputs(self, contexts: Sequence[Context]) -> Any:
        """A batch of contexts, padded on the left, as the family's processor makes it."""
        texts, images = [], []
        for context in contexts:
            pages = self._engine.renderer.draw(context.sources)
            images.append(self._engine.family.images(pages))
            said, answer = self._turns(context)
            written = self._processor.apply_chat_template(
                [_message(turn) for turn in said], tokenize=False, add_generation_prompt=True
            )
            texts.append(written + answer.text)
        given: Any = images if self._engine.kind == "gemma3" else list(chain(*images))
        return self._processor(
            text=texts,
            images=given or None,
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            input_data_format="channels_last",
        )

    @torch.inference_mode()
    def logits(self, *contexts: Context) -> Tensor:
        """Logits of the first token of each answer, shape (contexts, vocabulary)."""
        logits: Tensor = self.model(**self.inputs(contexts)).logits[:, -1].float()
        return logits

    def generate(self, context: Context, tokens: int, never: Sequence[int]) -> list[int]:
        """The ids of the family's own greedy answer."""
        inputs = self.inputs([context])
        with torch.inference_mode():
            ids = self.model.generate(
                **inputs, max_new_tokens=tokens, do_sample=False, suppress_tokens=list(never)
            )
        return list(ids[0, inputs["input_ids"].shape[1] :].tolist())

    def _turns(self, context: Context) -> tuple[list[Turn], Turn]:
        texts = [chunk.text for chunk in context.sources]
        found = [verbatim.find(text) for text in texts]
        note = verbatim.note(found, 512, self._engine.chunker.count)
        return turns(context.pinned, len(texts), note, context.tail, context.speaks)


def _message(turn: Turn) -> dict[str, Any]:
    if not turn.pages:
        return {"role": turn.role, "content": turn.text}
    before, after = ({"type": "text", "text": text} for text in (turn.before, turn.text))
    return {"role": turn.role, "content": [before, *[{"type": "image"}] * turn.pages, after]}


@contextmanager
def rounded(model: Any) -> Iterator[None]:
    """What the tower and projector make, rounded as it is stored."""
    core = model.model
    real = core.get_image_features

    @wraps(real)  # ``generate`` asks for the names of its arguments
    def features(*args: Any, **options: Any) -> Any:
        output = real(*args, **options)
        output.pooler_output = _rounded(output.pooler_output)
        if hasattr(output, "deepstack_features"):
            output.deepstack_features = [_rounded(layer) for layer in output.deepstack_features]
        return output

    core.get_image_features = features
    try:
        yield
    finally:
        del core.get_image_features


def _rounded(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.to(torch.bfloat16).to(values.dtype)
    return tuple(map(_rounded, values))


class Recorder:
    """Stands in for the choice of tokens: says given ones, and keeps what it chose from."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = list(ids)
        self.logits: list[Tensor] = []

    def __call__(self, params: GenerationParams, never: Tensor) -> Any:
        real, left = Picker(params, never), iter(self._ids)

        def pick(logits: Tensor) -> int:
            self.logits.append(logits.clone())
            return next(left, real(logits))

        return pick


def after_fold(context: Context, chunk: Chunk, visual: VisualTokens, said: str) -> Context:
    """What an answer goes on from when ``said`` was written and the oldest ``chunk`` folded."""
    return replace(
        context,
        visual=(*context.visual, visual),
        sources=(*context.sources, chunk),
        speaks=speaker(chunk.text) or context.speaks,
        tail=(context.tail + said).removeprefix(chunk.text),
    )
