"""A language model that reads its history as text: the baselines, and the text-only twin.

Nothing is drawn and nothing folded. Knows no conversations and no scores.
"""

from __future__ import annotations

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
from vist2_memory.training.synthetic.scoring import MOST_WORDS
from vist2_memory.types import GenerationParams

ANSWER_TOKENS = 48
"""Text tokens of an answer at the most."""


def settled(answer: str) -> bool:
    """Whether an answer is so long that it is wrong however it goes on."""
    return len(answer.split()) > MOST_WORDS


class TextModel:
    """A Qwen3 over the tokenizer of a VIST2 model."""

    def __init__(self, model: Qwen3ForCausalLM, processor: Vist2Processor, name: str) -> None:
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
    def load(cls, folder: Path, engine: TorchEngine) -> TextModel:
        """The Qwen3 checkpoint in ``folder``, trained with the tokenizer of ``engine``.

        Raises ``ModelError`` when it is none, or has another vocabulary.
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
        return cls(model, engine.processor, folder.name)

    def check_reads(self, tokens: int) -> None:
        """Raise ``InvalidInputError`` unless the model has so many positions."""
        if tokens > self._positions:
            raise InvalidInputError(
                f"the text model {self.name} has {self._positions} positions, histories go up to "
                f"{tokens} tokens: ask for a shorter history, or leave the twin out"
            )

    @torch.inference_mode()
    def embed(self, ids: list[int]) -> Tensor:
        """Embeddings of ``ids``, shape (tokens, hidden size)."""
        table = self.model.get_input_embeddings()
        embeds: Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.model.device))
        return embeds

    @torch.inference_mode()
    def prefill(self, text: str) -> KVCache:
        """The KV cache after ``text``; :meth:`answer` forks it."""
        cache = KVCache(self.model)
        if text:
            cache.append(self.embed(self._tokenizer.encode(text)))
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
