"""``engine="vllm"``: a VIST2 checkpoint that sees here, and is decoded by vLLM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.catalog import find_geometry
from vist2_memory.engine.generation import Decoder, Prompt
from vist2_memory.engine.loading import find_device, load_eyes
from vist2_memory.engine.options import VLLM, EngineOptions
from vist2_memory.engine.vist2 import Vist2Engine
from vist2_memory.engine.vllm.arguments import (
    LORA,
    check_installed,
    engine_arguments,
    server_options,
)
from vist2_memory.engine.vllm.decoder import VLLMDecoder
from vist2_memory.engine.vllm.requests import Transport
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.processor import Vist2Processor
from vist2_memory.store.formats import TensorFormat
from vist2_memory.types import GenerationParams

HOTTEST = 2.0


class VLLMEngine(Vist2Engine):
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
        remote, asked = where != VLLM, dict[str, Any]()
        if remote:
            asked = server_options(self.options)
            device = find_device(self.options.device)
        else:
            check_installed()
            # vLLM logs to standard output, which is the caller's; read when it is imported.
            os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
            device = _vllm_device(self.options.device)
        geometry = None if ratio is None else find_geometry(folder, ratio)
        exact = "float32" if device.type == "cpu" else "bfloat16"
        dtype: torch.dtype = getattr(torch, self.options.dtype or exact)
        eyes = load_eyes(folder, device, dtype)
        processor = Vist2Processor.from_pretrained(folder, geometry)
        tensors = TensorFormat(self.options.tensors_dtype)
        super().__init__(folder, eyes, processor, tensors, keep_recent_chunks)
        table: Any = eyes.get_input_embeddings().weight
        self._ids, self._width = table.shape
        self.transport: Transport
        if remote:
            self.transport = self._server(where.removeprefix("vllm+"), asked)
        else:
            self.transport = self._in_process(folder, device)

    def close(self) -> None:
        """Stop vLLM, where it was started here."""
        self.transport.close()

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`; vLLM knows no temperature above 2."""
        _refuse_heat(params)
        super().check(params)

    def _begin(self, prompt: Prompt) -> Decoder:
        _refuse_heat(prompt.params)
        return VLLMDecoder(
            prompt,
            self.transport,
            self.encoder,
            self.processor.tokenizer,
            steering=self._grammars.steer(prompt.params),
            stop_ids=self.stop_ids,
            never=self._never_said(prompt.params),
            vocabulary=self._ids,
        )

    def _in_process(self, folder: Path, device: torch.device) -> Transport:
        from vist2_memory.engine.vllm.in_process import InProcess

        arguments = engine_arguments(
            folder,
            self.options,
            positions=self._positions,
            token_bytes=self.spec.kv_bytes_per_token,
            on_cpu=device.type == "cpu",
        )
        return InProcess(arguments, self.options.vllm.get(LORA))

    def _server(self, url: str, asked: dict[str, Any]) -> Transport:
        from vist2_memory.engine.vllm.server import TOKEN_S, Expected, Server, probe_text

        probe = self.processor.tokenizer.encode(probe_text())
        name = asked.get("model") or self.spec.model
        expected = Expected(name, self._width, self._positions, tuple(probe))
        timeout = float(asked.get("timeout", TOKEN_S))
        return Server(url, expected, timeout=timeout)


def _refuse_heat(params: GenerationParams) -> None:
    if params.temperature > HOTTEST:
        raise InvalidInputError(
            f"temperature={params.temperature:g} is more than vLLM takes: give at most "
            f"{HOTTEST:g}, or take engine='torch'"
        )


def _vllm_device(asked: str | None) -> torch.device:
    """Where the tower runs: on the kind of device that this vLLM was built for."""
    from vllm.platforms import current_platform

    kind: str = current_platform.device_type
    if asked is not None and find_device(asked).type != kind:
        raise InvalidInputError(
            f"device={asked!r} cannot be used: the vLLM that is installed computes on {kind!r}; "
            "leave it out"
        )
    return find_device(asked or kind)
