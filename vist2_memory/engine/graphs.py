"""CUDA graphs of compiled decode steps: launches that are recorded once, and replayed as one.

A graph is bound to the buffers that it was recorded over and to how much of them it reads. So what
is read is rounded up, under a mask, and a step is recorded when it comes a second time: each answer
records a few. torch's own mode for this (``reduce-overhead``) leaves out what writes into buffers
that are given to it, and works in one thread alone. Not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.compiled import CompiledSteps
from vist2_memory.engine.kv import KVLayer
from vist2_memory.engine.steps import Buffered, Tokens

READ = 256
"""Places that are read are rounded up to a multiple of this, as far as there is room."""
KEPT = 32
"""Graphs that are kept, those used last."""

Replay: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
Record: TypeAlias = Callable[[Callable[..., Tensor], Sequence[Tensor]], Replay]


class GraphedSteps(CompiledSteps):
    """Compiled steps on a GPU, without the time that their launches take."""

    def __init__(
        self,
        model: Qwen3ForCausalLM,
        layer: Callable[[], KVLayer] = KVLayer,
        record: Record | None = None,
    ) -> None:
        """``record``: makes what replays a function of tensors; by default a CUDA graph."""
        super().__init__(model, layer)
        self._record = record or CudaRecorder()
        self._graphs: dict[tuple[int, ...], Replay | None] = {}  # the longest unused first

    def _take(self, tokens: Tokens, embeds: Tensor, layers: Sequence[Buffered]) -> Tensor:
        buffers = [layer.buffers for layer in layers]
        room = buffers[0][0].shape[2]
        end = min(-(-tokens.end // READ) * READ, room)
        mask = tokens.mask
        if mask is None:  # a single token, which sees all before it
            mask = embeds.new_zeros(1, 1, 1, tokens.end)
        mask = pad(mask, (0, end - tokens.end), value=-torch.inf)
        last = tokens.positions.new_tensor([tokens.last])
        given = (embeds[None], tokens.positions[None], tokens.places, mask, last)
        key = (len(tokens), end, room, *(part.data_ptr() for own in buffers for part in own))
        with self._lock:
            known, replay = key in self._graphs, self._graphs.pop(key, None)
            if known and replay is None:
                replay = self._record(lambda *held: self._compiled(*held, buffers, end), given)
            self._graphs[key] = replay
            if len(self._graphs) > KEPT:
                del self._graphs[next(iter(self._graphs))]
            return self._compiled(*given, buffers, end) if replay is None else replay(given)


class CudaRecorder:
    """Records functions of tensors as CUDA graphs, which share memory for what lies between."""

    def __init__(self) -> None:
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def __call__(self, run: Callable[..., Tensor], given: Sequence[Tensor]) -> Replay:
        """What replays ``run`` on tensors like those ``given``; it must have run before."""
        held = [tensor.clone() for tensor in given]
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on meanwhile: only what this one does is recorded.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            out = run(*held)

        def replay(now: Sequence[Tensor]) -> Tensor:
            for own, new in zip(held, now, strict=True):
                own.copy_(new)
            graph.replay()
            return out.clone()  # the next replay of any graph writes there

        return replay
