"""Decode steps compiled by torch: one call in place of some hundred operations.

Where a step writes and reads keys and values is told by tensors and one length, so that its two
kinds (one token, and several under a mask) are compiled once each, for all lengths: a session that
grows compiles nothing.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.kv import KVCache, KVLayer
from vist2_memory.engine.layers import run_layers
from vist2_memory.engine.steps import Buffered, PlainSteps, Steps, Tokens
from vist2_memory.engine.weights import FEW
from vist2_memory.errors import ModelError

MOST = 64
"""Tokens of a compiled step; what is longer takes its time in arithmetic."""
BACKEND = "inductor"
"""torch's compiler."""
CPU_OPTIONS: dict[str, Any] = {"cpp_wrapper": True}
"""Of inductor on a CPU: what calls the kernels is C++ too."""

_log = logging.getLogger(__name__)


class CompiledSteps(Steps):
    """The steps of one model, for keys and values of one kind; one runs at a time.

    torch looks up what it compiled by checks that share state: in two threads at once they may fail
    for nothing, and compile it all again.
    """

    def __init__(self, model: Qwen3ForCausalLM, layer: Callable[[], KVLayer] = KVLayer) -> None:
        """``layer``: makes an empty layer of the kind. Nothing is compiled yet."""
        self._model, self._layer, self._form = model, layer, layer()
        self._plain, self._lock = PlainSteps(model), threading.Lock()
        how: dict[str, Any] = {"backend": BACKEND, "dynamic": True, "fullgraph": True}
        if BACKEND == "inductor" and model.device.type == "cpu":
            how["options"] = CPU_OPTIONS
        if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
            how["isolate_recompiles"] = True  # what other models compile does not count here
        self._compiled: Any = torch.compile(self._pass, **how)

    def warm_up(self) -> None:
        """Compile both kinds of steps now, and log how long it took.

        Raises ``ModelError`` where torch cannot compile them.
        """
        began = time.perf_counter()
        cache = KVCache(self._model, self._layer, self)
        like: dict[str, Any] = {"dtype": self._model.dtype, "device": self._model.device}
        try:
            # The first are no step, as nothing is before them; rounded weights count tokens.
            for tokens in (FEW + 1, 1, FEW - 1, 4 * FEW):
                cache.append(torch.zeros(tokens, self._model.config.hidden_size, **like))
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split("\n")[:2]).strip() or type(error).__name__
            raise ModelError(
                f"compile=True: torch cannot compile decode steps here ({reason}). On a CPU it "
                "needs a C++ compiler and Python's headers (apt-get install g++ python3-dev), on a "
                "GPU Triton; or leave compile out"
            ) from error
        _log.info("decode steps compiled in %.1f s", time.perf_counter() - began)

    @torch.inference_mode()
    def run(self, tokens: Tokens, layers: Sequence[Buffered]) -> Tensor:
        """See :meth:`Steps.run`; what is longer than a step, or stands first, is run plainly."""
        if len(tokens) > MOST or tokens.end <= len(tokens):
            return self._plain.run(tokens, layers)
        # A tensor of its own: where it came from, and where in another it lies, would be checked.
        embeds = tokens.embeds.clone()
        return self._take(tokens, embeds, layers)

    def _take(self, tokens: Tokens, embeds: Tensor, layers: Sequence[Buffered]) -> Tensor:
        """A step that is compiled."""
        last = tokens.positions.new_tensor([tokens.last])
        buffers = [layer.buffers for layer in layers]
        where = tokens.positions[None], tokens.places, tokens.mask, last
        with self._lock:
            logits: Tensor = self._compiled(embeds[None], *where, buffers, tokens.end)
        return logits

    def _pass(
        self,
        embeds: Tensor,
        positions: Tensor,
        places: Tensor,
        mask: Tensor | None,
        last: Tensor,
        buffers: list[list[Tensor]],
        end: int,
    ) -> Tensor:
        """What is compiled; nothing in it depends on the values of tensors."""
        held = [_Placed(self._form, own, places, end) for own in buffers]
        hidden = run_layers(self._model, embeds, positions, mask, held)
        logits: Tensor = self._model.lm_head(hidden.index_select(1, last))
        return logits[0, 0].float()


@dataclass(frozen=True)
class _Placed:
    """The buffers of one layer, and where in them new tokens are put."""

    form: KVLayer
    buffers: list[Tensor]
    places: Tensor
    end: int

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Held.update`."""
        new = self.form.coded(key_states, value_states)
        for held, part in zip(self.buffers, new, strict=True):
            held.index_copy_(2, self.places, part)
        read = [held[:, :, : self.end] for held in self.buffers]
        return self.form.decoded(read, key_states.dtype)
