"""How a model is run: which engine, in what precision, with how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from vist2_memory.errors import InvalidInputError
from vist2_memory.store.formats import DType

KVType: TypeAlias = Literal["int8", "fp8"]
WeightType: TypeAlias = Literal["int8", "int4", "fp8"]
ComputeType: TypeAlias = Literal["float32", "bfloat16"]

KV_CACHE_BYTES = 2**30
"""Of keys and values that are kept between turns, unless said otherwise."""
VLLM = "vllm"
REMOTE = ("http://", "https://")
"""How the URL of a server of this library begins."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run a model; what is None is chosen by the engine for its model and device."""

    device: str | None = None
    """As torch names it; a GPU if there is one."""
    dtype: ComputeType | None = None
    """What is computed in."""
    tensors_dtype: DType = "bfloat16"
    """What visual tokens are rounded to, and stored in."""
    kv_cache_bytes: int = KV_CACHE_BYTES
    """Of keys and values to be kept between turns and shared between contexts with the same
    beginning, beside those of the answers in progress; 0 for none."""
    kv_dtype: KVType | None = None
    """What keys and values are rounded to, for less memory; None: what is computed in."""
    weights: WeightType | None = None
    """What the language model's weights are rounded to, for less memory; None: not at all."""
    compile: bool = False
    """Whether decode steps are compiled: slow to open (minutes the first time on a machine, then
    seconds), then faster. In this process by torch, but not for batches; that needs a C++ compiler
    on a CPU, Triton on a GPU, and is refused with ``kv_dtype="fp8"``."""
    places: int | None = None
    """How many places of the memory a model that answers by quoting weighs before it quotes one;
    1: the likeliest word decides, each time. None: 4 in this process, 1 in vLLM, which offers no
    other."""
    vllm: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of vLLM's own engine, as ``{"tensor_parallel_size": 2}``."""

    def __post_init__(self) -> None:
        """Raise ``InvalidInputError`` for a value that is not allowed."""
        choices: tuple[tuple[str, Any, Any], ...] = (
            ("dtype", self.dtype, ComputeType),
            ("tensors_dtype", self.tensors_dtype, DType),
            ("kv_dtype", self.kv_dtype, KVType),
            ("weights", self.weights, WeightType),
        )
        for name, value, allowed in choices:
            if value is not None and value not in get_args(allowed):
                raise InvalidInputError(
                    f"{name}={value!r} is not allowed: give one of {', '.join(get_args(allowed))}"
                )
        if self.places is not None and self.places < 1:
            raise InvalidInputError(f"places={self.places} is not allowed: give 1 or more")
        if self.kv_cache_bytes < 0:
            raise InvalidInputError(
                f"kv_cache_bytes={self.kv_cache_bytes} is not allowed: bytes, 0 or more"
            )

    @classmethod
    def of(cls, asked: Mapping[str, Any], **known: Any) -> EngineOptions:
        """The options that ``asked`` names, with those that are ``known`` otherwise.

        Raises ``InvalidInputError`` for a name or a value that is none.
        """
        names = [part.name for part in fields(cls) if part.name not in known]
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise InvalidInputError(
                f"engine_options has {unknown[0]!r}, which is none: give {', '.join(names)}"
            )
        return cls(**asked, **known)


def check_engine(name: str) -> str:
    """``name`` if it is an engine's: ``torch``, ``vllm``, or where a server is, vLLM's or ours.

    Raises ``InvalidInputError``.
    """
    if name not in ("torch", VLLM) and not name.startswith(
        ("vllm+http://", "vllm+https://", *REMOTE)
    ):
        raise InvalidInputError(
            f"engine={name!r} is not known: give 'torch' (this process), 'vllm' (vLLM in this "
            "process), 'vllm+http://host:8000' (a vLLM server), or 'http://host:8000' (`vist2 "
            "serve`)"
        )
    return name
