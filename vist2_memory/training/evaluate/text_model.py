"""A language model that reads its history as text, or as vectors made of its tokens.

The baselines, the text-only twin, and the direct methods at the ratio of visual memory. Nothing is
drawn, and nothing is folded while an answer grows. Knows no conversations and no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.decoding import AnswerText
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.loading import load_language_model
from vist2_memory.engine.sampling import Picker
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError, ModelError
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.training.arms import is_arm, load_form
from vist2_memory.training.forms import Convolution, MeanPooled, Tokens
from vist2_memory.training.synthetic.scoring import MOST_WORDS
from vist2_memory.types import Chunk, GenerationParams

ANSWER_TOKENS = 48
"""Text tokens of an answer at the most."""


ARMS = {
    "text_twin": (Tokens.name, "--twin"),
    "mean_pooled": (MeanPooled.name, "--mean-pooled"),
    "convolution": (Convolution.name, "--convolution"),
}
"""What is compared with visual memory, as figures call it: its form of memory and its option."""


def settled(answer: str) -> bool:
    """Whether an answer is so long that it is wrong however it goes on."""
    return len(answer.split()) > MOST_WORDS


def load_arms(engine: TorchEngine, **folders: Path | None) -> dict[str, TextModel]:
    """The models in ``folders``, by their names in ``ARMS``; None where there is none.

    Raises ``ModelError`` for one that cannot be compared with ``engine``.
    """
    given = {name: folder for name, folder in folders.items() if folder is not None}
    return {name: TextModel.load(folder, engine, ARMS[name][0]) for name, folder in given.items()}


def why_missing(arm: str) -> str:
    """Why there are no figures of an arm, of ``ARMS``, that was not given."""
    memory, option = ARMS[arm]
    return f"needs a model trained by vist2 train --memory {memory}: {option} FOLDER"


class TextModel:
    """A Qwen3 over the tokenizer of a VIST2 model."""

    def __init__(
        self,
        model: Qwen3ForCausalLM,
        processor: Vist2Processor,
        name: str,
        form: Tokens | None = None,
    ) -> None:
        """``form``: how it remembers chunks, their tokens if None."""
        form = form or Tokens(processor.renderer, processor.tokenizer)
        self.form: Tokens = form.to(model.device, model.dtype)
        self.model = model
        self.name = name
        self._tokenizer = processor.tokenizer
        self._stop = processor.stop_ids
        config: Any = model.config
        self._positions: int = config.max_position_embeddings
        unknown = range(len(processor.tokenizer), config.vocab_size)
        suppressed = getattr(model.generation_config, "suppress_tokens", None) or ()
        never = {*processor.silent_ids, *suppressed, *unknown}
        self._pick = Picker(GenerationParams(), torch.tensor(sorted(never), device=model.device))

    @classmethod
    def inside(cls, engine: TorchEngine) -> TextModel:
        """The language model of ``engine`` itself, which shares its weights."""
        return cls(engine.model.language_model, engine.processor, engine.spec.model)

    @classmethod
    def load(cls, folder: Path, engine: TorchEngine, memory: str = Tokens.name) -> TextModel:
        """The Qwen3 checkpoint in ``folder``, trained with the tokenizer of ``engine``.

        ``memory``: the form of memory that it was trained with; a text model may be any Qwen3.
        Raises ``ModelError`` when it is none, has another form or vocabulary, or joins chunks into
        other numbers of vectors than ``engine`` does.
        """
        dtype = engine.model.get_input_embeddings().weight.dtype
        assert isinstance(dtype, torch.dtype)
        model = load_language_model(folder, engine.device, dtype)
        ours, config = engine.processor.tokenizer, model.config
        own = folder / "tokenizer.json"
        theirs = Vist2Tokenizer.load(folder) if own.is_file() else ours
        if len(ours) > config.vocab_size or ours.backend.get_vocab() != theirs.backend.get_vocab():
            raise ModelError(
                f"the text model in {folder} has another vocabulary than {engine.spec.model}: a "
                "twin is trained with the same tokenizer"
            )
        form: Tokens | None = None
        if memory != Tokens.name or is_arm(folder):
            arm, form = load_form(folder, ours)
            if form.name != memory:
                raise ModelError(
                    f"the model in {folder} was trained with --memory {form.name}, {memory} is "
                    "asked for"
                )
            visual = engine.model.config
            if form.compresses and (arm.geometry, arm.chunk_tokens) != (
                visual.geometry,
                visual.chunk_tokens,
            ):
                raise ModelError(
                    f"the model in {folder} was trained for sketches of {arm.geometry} and chunks "
                    f"of {arm.chunk_tokens} tokens, {engine.spec.model} has {visual.geometry} and "
                    f"{visual.chunk_tokens}: they are compared at the same ratio"
                )
        return cls(model, engine.processor, folder.name, form)

    def check_reads(self, tokens: int) -> None:
        """Raise ``InvalidInputError`` unless the model has so many positions."""
        if tokens > self._positions:
            raise InvalidInputError(
                f"the text model {self.name} has {self._positions} positions, histories go up to "
                f"{tokens} tokens: ask for a shorter history, or leave it out"
            )

    @torch.inference_mode()
    def embed(self, ids: list[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""
        table = self.model.get_input_embeddings()
        embeds: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.model.device))
        return embeds

    @torch.inference_mode()
    def remember(self, chunks: Sequence[Chunk]) -> Tensor:
        """The vectors that stand for ``chunks``, end to end, shape (vectors, hidden size)."""
        inputs = self.form.inputs([chunk.text for chunk in chunks])
        device, table = self.model.device, self.model.get_input_embeddings().weight
        vectors: Tensor = self.form(**{k: v.to(device) for k, v in inputs.items()}, table=table)
        return vectors

    @torch.inference_mode()
    def prefill(self, text: str, chunks: Sequence[Chunk] = ()) -> KVCache:
        """The KV cache after the vectors of ``chunks`` and ``text``; :meth:`answer` forks it."""
        cache = KVCache(self.model)
        embeds = torch.cat([self.remember(chunks), self.embed(self._tokenizer.encode(text))])
        if len(embeds):
            cache.append(embeds)
        return cache

    @torch.inference_mode()
    def answer(self, memory: KVCache, prompt: str) -> str:
        """The greedy answer to ``prompt`` after what ``memory`` holds."""
        cache = memory.fork()
        logits = cache.append(self.embed(self._tokenizer.encode(prompt)))
        answer = AnswerText(self._tokenizer)
        for _ in range(ANSWER_TOKENS):
            token = self._pick(logits)
            if token in self._stop:
                break
            answer.push(token)
            if settled(answer.text) or len(cache) == self._positions:
                break
            logits = cache.append(self.embed([token]))
        answer.flush()
        return answer.text
