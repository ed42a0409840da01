"""Weights, gradients and moments in shards over the processes of a run, for large models.

FSDP2 of torch (``fully_shard``): a layer is whole in a process only while it runs. In shards are
the layers of both towers and, for the whole of a forward and backward pass, what lies around them:
tables, norms, the auxiliary head. Small things that a process may run without the others, or
outside of the forward pass, stay whole everywhere: aligners, spelled embeddings, LoRA adapters.

Knows nothing of stages. Every function but :func:`split` does as much for what is not in shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vist2_memory.errors import InvalidInputError
from vist2_memory.training.devices import Devices
from vist2_memory.training.stages import Stage
from vist2_memory.training.student import Student


def check(stages: Sequence[Stage]) -> None:
    """Raise ``InvalidInputError`` for stages that cannot be trained in shards."""
    adapted = False
    for stage in stages:
        if stage.optimizer != "adamw":
            raise InvalidInputError(
                f"stage {stage.name} is trained by {stage.optimizer}, which needs whole matrices: "
                "--shard is for recipes of adamw stages, such as paper; leave it away, or give the "
                "stage optimizer='adamw'"
            )
        if stage.find_weight:
            raise InvalidInputError(
                f"stage {stage.name} has find_weight={stage.find_weight}, whose loss looks into a "
                "layer that is in shards by then: leave --shard away, or give it find_weight=0"
            )
        if adapted and "adapters" not in stage.parts:
            raise InvalidInputError(
                f"stage {stage.name} merges the adapters of a stage before it, which a run with "
                "--shard does at its end only: end the recipe there and --start another from OUT"
            )
        adapted = "adapters" in stage.parts


def split(student: Student, devices: Devices) -> None:
    """Put ``student``, which is the same in every process, in shards.

    Weights are gathered in float32, and the run's autocast computes with them as with whole ones:
    so the curve is the same. Without checkpointed activations autograd keeps their bfloat16 copies.
    Raises ``InvalidInputError`` where there is one process only.
    """
    if devices.world == 1:
        raise InvalidInputError(
            "--shard spreads a model over processes, this run has one: start it by accelerate "
            "launch or torchrun, or leave --shard away"
        )
    mesh = init_device_mesh(devices.device.type, (devices.world,))
    model: Any = student.model
    whole = {*(student.spelled.parameters() if student.spelled is not None else ())}
    if student.tokens is None:
        whole |= set(model.aligner.parameters())
        for layer in model.vision_tower.encoder.layers:
            fully_shard(layer, mesh=mesh)
    else:
        whole |= set(student.tokens.parameters())
    for layer in model.language_model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(student, mesh=mesh, ignored_params=whole)


def gathered(state: Any, keep: bool) -> Any:
    """Nested dicts and lists with whole tensors, on the CPU, in place of shards.

    ``keep``: whether this process is one that wants them; each has to take part.
    """
    if isinstance(state, DTensor):
        whole = state.full_tensor()
        return whole.cpu() if keep else None
    if isinstance(state, Mapping):
        return {name: gathered(value, keep) for name, value in state.items()}
    if isinstance(state, list):
        return [gathered(value, keep) for value in state]
    return state


def load(student: Student, state: Mapping[str, Tensor]) -> None:
    """Take whole weights, as from :func:`gathered`, into ``student``."""
    own = student.state_dict()
    student.load_state_dict({name: _like(own[name], value) for name, value in state.items()})


def load_moments(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take the whole state of an optimizer, as from :func:`gathered`, into ``optimizer``."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    moments = {
        place: {name: _like(parameters[place], value) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})


def _like(own: Tensor, value: Any) -> Any:
    """``value`` in shards where ``own`` of the same shape is."""
    if not isinstance(own, DTensor) or getattr(value, "shape", None) != own.shape:
        return value
    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)


def join(student: Student, keep: bool) -> None:
    """Make ``student`` whole, to be saved; it cannot run any more.

    ``keep``: as in :func:`gathered`; elsewhere nothing is left of what was in shards.
    """
    found: dict[Tensor, nn.Parameter] = {}
    for module in student.modules():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, DTensor):
                if parameter not in found:  # a tied one is found twice
                    whole = parameter.detach().full_tensor()
                    whole = whole if keep else whole.new_empty(0)
                    found[parameter] = nn.Parameter(whole, parameter.requires_grad)
                module._parameters[name] = found[parameter]
        if isinstance(module, FSDPModule):
            module.__class__ = type(module).__mro__[2]  # its own: FSDP's are put before it


def clip(parameters: Iterable[nn.Parameter], most: float) -> float:
    """Scale the gradients down to a norm of ``most``; the norm of all of them before."""
    kinds: dict[bool, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            kinds.setdefault(isinstance(parameter, DTensor), []).append(parameter)
    norms = []
    for some in kinds.values():
        norm = nn.utils.get_total_norm([each.grad for each in some if each.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
    for some in kinds.values():
        nn.utils.clip_grads_with_norm_(some, most, norm)
    return float(norm)
