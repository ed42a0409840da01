"""``engine="vllm"``: a VIST2 checkpoint that sees here, and is decoded by vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.catalog import find_geometry
from vist2_memory.engine.generation import Decoder, Prompt
from vist2_memory.engine.loading import load_eyes
from vist2_memory.engine.options import VLLM, EngineOptions
from vist2_memory.engine.vist2 import Vist2Engine
from vist2_memory.engine.vllm.arguments import EMBEDDINGS, refuse_heat
from vist2_memory.engine.vllm.asking import Allowed, Asking
from vist2_memory.engine.vllm.decoded import DecodedByVLLM
from vist2_memory.engine.vllm.decoder import VLLMDecoder
from vist2_memory.engine.vllm.opening import Served, device_for, open_transport
from vist2_memory.engine.vllm.salts import Salts
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import TensorFormat


class VLLMEngine(DecodedByVLLM, Vist2Engine):
    """A VIST2 checkpoint whose language model runs in vLLM: in this process, or on a server."""

    def __init__(
        self,
        folder: Path,
        *,
        where: str = VLLM,
        ratio: float | None = None,
        keep_recent_chunks: int | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        """Load what sees of the checkpoint in ``folder``, and start or find vLLM.

        ``where``: ``vllm``, or ``vllm+http://host:8000``. ``ratio``: see :class:`TorchEngine`.
        Raises ``ModelError`` and ``InvalidInputError`` as that does, and
        ``EngineUnavailableError`` for a server that does not answer.
        """
        self.options = options or EngineOptions()
        device = device_for(where, self.options)
        geometry = None if ratio is None else find_geometry(folder, ratio)
        exact = "float32" if device.type == "cpu" else "bfloat16"
        dtype: torch.dtype = getattr(torch, self.options.dtype or exact)
        eyes = load_eyes(folder, device, dtype)
        processor = Vist2Processor.from_pretrained(folder, geometry)
        tensors = TensorFormat(self.options.tensors_dtype)
        super().__init__(folder, eyes, processor, tensors, keep_recent_chunks)
        table: Any = eyes.get_input_embeddings().weight
        self._ids: int = table.shape[0]
        served = Served(
            folder,
            self.spec,
            reads=EMBEDDINGS,
            positions=self._positions,
            hidden_size=table.shape[1],
            encode=processor.tokenizer.encode,
        )
        self._salts = Salts()
        self.transport = open_transport(where, served, self.options, device)

    def _begin(self, prompt: Prompt) -> Decoder:
        refuse_heat(prompt.params)
        params, tokenizer = prompt.params, self.processor.tokenizer
        course = self._course(prompt, ahead=False)  # each stretch that is decided ends a request
        allowed = Allowed(course, self.stop_ids, self._never_said(params), self._ids)
        salt = self._salts.of(prompt.cache_salt, prompt.owner)
        asking = Asking(self.transport, tokenizer, params, allowed, salt)
        return VLLMDecoder(prompt, self.encoder, asking)
