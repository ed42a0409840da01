"""The language model of a VIST2 checkpoint as vLLM runs it: vLLM's own Qwen3, and nothing else.

Weights are read from the checkpoint itself, so that none are written to disk twice. Imported by
vLLM alone, in its processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

PREFIX = "language_model."
"""What the names of the language model's weights begin with in a checkpoint."""


class Vist2Language(Qwen3ForCausalLM):  # type: ignore[misc]
    """Reads visual tokens as ``prompt_embeds``; tower and aligner run elsewhere."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        text = vllm_config.model_config.hf_text_config
        language = vllm_config.with_hf_config(text, architectures=["Qwen3ForCausalLM"])
        super().__init__(vllm_config=language, prefix=prefix)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Those of the language model, under the names that a Qwen3 checkpoint has."""
        own = ((n.removeprefix(PREFIX), w) for n, w in weights if n.startswith(PREFIX))
        loaded: set[str] = super().load_weights(own)
        return loaded
