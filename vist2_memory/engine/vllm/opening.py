"""Where vLLM is: started in this process, or found on a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.base import EngineSpec
from vist2_memory.engine.loading import find_device
from vist2_memory.engine.options import VLLM, EngineOptions
from vist2_memory.engine.vllm.arguments import (
    LORA,
    check_installed,
    engine_arguments,
    server_options,
)
from vist2_memory.engine.vllm.requests import Transport
from vist2_memory.errors import InvalidInputError

AT_ONCE = 64
"""Answers that vLLM is best asked for at once; more of them wait in its own queue."""


@dataclass(frozen=True, slots=True)
class Served:
    """The model that vLLM is to decode."""

    folder: Path
    spec: EngineSpec
    reads: Mapping[str, Any]
    """See :func:`engine_arguments`."""
    positions: int
    """Tokens that it reads."""
    hidden_size: int
    encode: Callable[[str], Sequence[int]]
    """The ids of a text."""
    needs: str = "--enable-prompt-embeds"
    """How a server of it is started."""


def device_for(where: str, options: EngineOptions) -> torch.device:
    """Where the tower runs beside vLLM; raises ``InvalidInputError`` where vLLM is not to be had.

    ``where``: ``vllm``, or ``vllm+http://host:8000``.
    """
    if options.places not in (None, 1):
        raise InvalidInputError(
            f"places={options.places} is not offered with vLLM, which weighs one: leave it out, or "
            "answer in this process (engine='torch')"
        )
    if where != VLLM:
        server_options(options)
        return find_device(options.device)
    check_installed()
    # vLLM logs to standard output, which is the caller's; read when it is imported.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    from vllm.platforms import current_platform

    kind: str = current_platform.device_type
    asked = options.device
    if asked is not None and find_device(asked).type != kind:
        raise InvalidInputError(
            f"device={asked!r} cannot be used: the vLLM that is installed computes on {kind!r}; "
            "leave it out"
        )
    return find_device(asked or kind)


def open_transport(
    where: str, served: Served, options: EngineOptions, device: torch.device
) -> Transport:
    """Start or find vLLM; raises ``ModelError``, ``InvalidInputError``, and
    ``EngineUnavailableError`` for a server that does not answer."""
    if where != VLLM:
        return _server(where.removeprefix("vllm+"), served, server_options(options))
    from vist2_memory.engine.vllm.in_process import InProcess

    arguments = engine_arguments(
        served.folder,
        options,
        reads=served.reads,
        positions=served.positions,
        token_bytes=served.spec.kv_bytes_per_token,
        on_cpu=device.type == "cpu",
    )
    return InProcess(arguments, options.vllm.get(LORA))


def _server(url: str, served: Served, asked: dict[str, Any]) -> Transport:
    from vist2_memory.engine.vllm.server import TOKEN_S, Expected, Server, probe_text

    probe = served.encode(probe_text())
    name = asked.get("model") or served.spec.model
    expected = Expected(name, served.hidden_size, served.positions, tuple(probe), served.needs)
    timeout = float(asked.get("timeout", TOKEN_S))
    return Server(url, expected, timeout=timeout)
