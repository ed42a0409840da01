"""Where a run computes: one device or several processes, through accelerate.

Knows tensors and processes, nothing of models or stages. Gradients are averaged by one explicit
reduction a step and not by a wrapper of the model: ranks may then differ in their numbers of
micro-batches, and a part of the model may run outside of its forward pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vist2_memory.errors import InvalidInputError, Vist2Error

PRECISIONS = ("bf16", "no")
BUCKET = 32 * 1024 * 1024
"""Values that are sent at once when gradients are averaged."""


@dataclass(frozen=True)
class Execution:
    """How a run is carried out: speed and memory, not what is learned."""

    cpu: bool = False
    """Compute on the CPU also where there is a GPU."""
    precision: str = "bf16"
    """``bf16``: matrix products in bfloat16 (autocast), weights in float32; ``no``: all float32."""
    micro_tokens: int = 2048
    """Tokens that run at once on a device, padding included; the gradients of a step add up."""
    checkpointing: bool = False
    """Keep one activation a layer and compute the others again in the backward pass."""
    shard: bool = False
    """Weights, gradients and moments lie in shards over the processes (FSDP); see ``shards``."""
    compile: str | None = None
    """The backend of ``torch.compile``, such as ``inductor``, for the language model's layers."""
    workers: int = 0
    """Processes that draw the next steps while the device computes; 0: drawn between the steps."""
    save_every_s: float = 120.0
    """Seconds between checkpoints, at most; the end of a stage is always saved."""
    save_every_steps: int | None = None
    """Steps between checkpoints, for a run whose checkpoints are the same each time."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InvalidInputError(f"precision={self.precision!r} is none of {PRECISIONS}")
        if self.micro_tokens < 1 or min(self.workers, self.save_every_s) < 0:
            raise InvalidInputError(
                f"micro_tokens={self.micro_tokens!r} must be at least 1, "
                f"workers={self.workers!r} and save_every_s={self.save_every_s!r} not negative"
            )
        if self.shard and self.compile is not None:
            raise InvalidInputError("a model in shards is not compiled: take shard or compile")
        if self.save_every_steps is not None and self.save_every_steps < 1:
            raise InvalidInputError(f"save_every_steps={self.save_every_steps!r} must be 1 or more")


def workers_of_a_gpu() -> int:
    """How many processes draw ahead for each GPU: 8, or what its share of the CPU cores allows."""
    cores = len(os.sched_getaffinity(0)) // max(1, torch.cuda.device_count())
    return max(workers for workers in (1, 2, 4, 8) if workers <= max(1, cores - 1))


class Devices:
    """This process among those of a run, and its device."""

    def __init__(self, execution: Execution | None = None) -> None:
        """Join the processes that ``accelerate launch`` or ``torchrun`` started, if any.

        Raises ``Vist2Error`` where accelerate is not installed.
        """
        execution = execution or Execution()
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise Vist2Error(
                f"training needs accelerate ({error}): pip install 'vist2-memory[train]'"
            ) from error
        cpu = execution.cpu or not torch.cuda.is_available()
        self._state: Any = PartialState(cpu=cpu)  # one for all in this process
        self.device: torch.device = torch.device("cpu") if cpu else self._state.device
        self.rank: int = self._state.process_index
        self.world: int = self._state.num_processes
        self._reduced = execution.precision == "bf16"
        self._sharded = execution.shard

    @property
    def main(self) -> bool:
        """Whether this process logs and saves."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """The precision of the run."""
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self._reduced,
            cache_enabled=not self._sharded,  # it would hold a copy of every layer
        )

    def main_first(self) -> AbstractContextManager[None]:
        """The main process runs the block first, the others when it is done."""
        context: AbstractContextManager[None] = self._state.main_process_first()
        return context

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.world > 1:
            self._state.wait_for_everyone()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.world == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            mean = self._reduce(flat, "mean")
            for tensor, part in zip(bucket, mean.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def total(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over the processes."""
        return values if self.world == 1 else self._reduce(values, "sum")

    def _reduce(self, values: Tensor, how: str) -> Tensor:
        from accelerate.utils import reduce

        reduced: Tensor = reduce(values, reduction=how)
        return reduced

    def most(self, count: int) -> int:
        """The largest ``count`` of the processes."""
        if self.world == 1:
            return count
        counts = torch.tensor(count, device=self.device)
        torch.distributed.all_reduce(counts, torch.distributed.ReduceOp.MAX)
        return int(counts)

    def decide(self, wish: bool) -> bool:
        """What the main process wishes, on every process."""
        if self.world == 1:
            return wish
        vote = torch.tensor(float(wish and self.main), device=self.device)
        return bool(self.total(vote).item())

    def gather(self, value: Any) -> list[Any]:
        """The ``value`` of each process, in their order."""
        if self.world == 1:
            return [value]
        from accelerate.utils import gather_object

        values: list[Any] = gather_object([value])
        return values

    def align(self, module: nn.Module) -> None:
        """Give every process the main one's parameters and buffers, but for what is in shards."""
        if self.world == 1:
            return
        for tensor in (*module.parameters(), *module.buffers()):
            if not isinstance(tensor, DTensor):
                torch.distributed.broadcast(tensor.data, src=0)

    def random_state(self) -> dict[str, Any]:
        """The state of this process's random numbers in torch."""
        state = {"torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Go on with the random numbers of ``state``, as from :meth:`random_state`."""
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """``tensors`` of one dtype in groups of about ``BUCKET`` values."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(t.numel() for t in bucket) + tensor.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
