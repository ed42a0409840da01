"""What vLLM finds of this package in each of its processes: how a VIST2 checkpoint is read.

It is named in the entry points ``vllm.general_plugins``, so that ``vllm serve CHECKPOINT`` works
too wherever this package is installed. Registering imports no model.
"""

from __future__ import annotations

ARCHITECTURE = "Vist2ForConditionalGeneration"
_LANGUAGE = "vist2_memory.engine.vllm.language:Vist2Language"


def register() -> None:
    """Tell vLLM of VIST2 checkpoints; more than once does no harm."""
    from transformers import AutoConfig
    from vllm.model_executor.models import ModelRegistry

    from vist2_memory.model.config import Vist2Config

    AutoConfig.register("vist2", Vist2Config, exist_ok=True)
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, _LANGUAGE)
