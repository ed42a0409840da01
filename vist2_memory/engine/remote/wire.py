"""What passes between an engine and who uses it elsewhere: JSON, and tensors as they are stored.

A *packet* is a safetensors file whose metadata has one JSON object, and whose tensors are the bytes
that a store would keep of visual tokens, checksum and all. Nothing is unpickled.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, get_args

import numpy as np
import safetensors
from safetensors.numpy import save

from vist2_memory.engine.base import EngineSpec
from vist2_memory.errors import CodecError, InvalidInputError
from vist2_memory.store.base import Scope
from vist2_memory.store.codec import decode, encode
from vist2_memory.store.formats import DType, TensorFormat
from vist2_memory.types import (
    Chunk,
    ChunkFolded,
    Context,
    Finished,
    GenerationEvent,
    GenerationParams,
    TextDelta,
    Timing,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
    VisualTokens,
)

_WIRE = Scope("wire", "session", "wire")
_META = "vist2"


def packed(header: Mapping[str, Any], visual: Sequence[VisualTokens], form: TensorFormat) -> bytes:
    """A packet of ``header`` and ``visual``, stored in ``form``."""
    arrays = {
        str(place): np.frombuffer(encode(tokens, _WIRE, form), np.uint8)
        for place, tokens in enumerate(visual)
    }
    ids = [tokens.chunk_id for tokens in visual]
    told = {_META: json.dumps({"header": header, "ids": ids})}
    return bytes(save(arrays or {"none": np.zeros(0, np.uint8)}, told))


_WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


def unpacked(data: bytes, fingerprint: str) -> tuple[dict[str, Any], list[VisualTokens]]:
    """The header and the visual tokens of a packet.

    Raises ``CodecError`` for what is none, and for tensors that ``fingerprint`` did not make.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        told = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_META])
        header, ids = told["header"], told["ids"]
        found = dict(safetensors.deserialize(data))
        parts = [bytes(found[str(place)]["data"]) for place in range(len(ids))]
    except (*_WRONG, safetensors.SafetensorError) as error:
        raise CodecError(f"what was sent is no packet: {error!r}") from error
    visual = [
        decode(part, scope=_WIRE, fingerprint=fingerprint, chunk_id=chunk_id)
        for part, chunk_id in zip(parts, ids, strict=True)
    ]
    return header, visual


def told_spec(spec: EngineSpec) -> dict[str, Any]:
    """``spec`` as JSON."""
    told = {part.name: getattr(spec, part.name) for part in fields(spec)}
    return {**told, "tensors": {"dtype": spec.tensors.dtype, "layers": spec.tensors.layers}}


def read_spec(told: Mapping[str, Any]) -> EngineSpec:
    """What :func:`told_spec` told; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    tensors = TensorFormat(told["tensors"]["dtype"], told["tensors"]["layers"])
    if tensors.dtype not in get_args(DType):
        raise ValueError(f"tensors of dtype {tensors.dtype!r} are not known")
    known = {part.name for part in fields(EngineSpec)}
    return EngineSpec(**{**{k: v for k, v in told.items() if k in known}, "tensors": tensors})


def told_context(context: Context) -> dict[str, Any]:
    """``context`` as JSON; visual tokens are named, not told."""
    return {
        "pinned": context.pinned,
        "tail": context.tail,
        "speaks": context.speaks,
        "salt": context.cache_salt,
        "owner": context.owner,
        "visual": [tokens.chunk_id for tokens in context.visual],
        "sources": [asdict(chunk) for chunk in context.sources],
    }


def read_context(told: Mapping[str, Any], visual: Mapping[str, VisualTokens], salt: str) -> Context:
    """What :func:`told_context` told, with ``visual`` by chunk id, kept apart by ``salt``."""
    return Context(
        str(told["pinned"]),
        tuple(visual[chunk_id] for chunk_id in told["visual"]),
        str(told["tail"]),
        tuple(Chunk(**chunk) for chunk in told["sources"]),
        told["speaks"],
        f"{salt}/{told['salt']}",
        owner_of(salt, str(told.get("owner", ""))),
    )


def owner_of(salt: str, owner: str) -> str:
    """How an engine knows an ``owner`` from elsewhere: kept apart by ``salt`` from those of others,
    and from the sessions that are kept here. Empty where none is named."""
    return owner and f"{salt}//{owner}"


def told_params(params: GenerationParams) -> dict[str, Any]:
    """``params`` as JSON."""
    return asdict(params)


def read_params(told: Mapping[str, Any]) -> GenerationParams:
    """What :func:`told_params` told; raises ``InvalidInputError``."""
    try:
        tools = tuple(Tool(**tool) for tool in told["tools"])
        return GenerationParams(**{**told, "tools": tools, "stop": tuple(told["stop"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"these are no parameters of a generation: {error}") from error


def told_event(event: GenerationEvent, form: TensorFormat) -> dict[str, Any]:
    """``event`` as JSON."""
    if isinstance(event, TextDelta):
        return {"text": event.text, "logprobs": [_told_logprob(one) for one in event.logprobs]}
    if isinstance(event, ToolCallDelta):
        return {"call": asdict(event)}
    if isinstance(event, ChunkFolded):
        data = base64.b64encode(encode(event.visual, _WIRE, form)).decode("ascii")
        return {"fold": asdict(event.chunk), "visual": data}
    return {"finished": asdict(event)}


def read_event(told: Mapping[str, Any], fingerprint: str) -> GenerationEvent:
    """What :func:`told_event` told; raises ``KeyError``, ``TypeError`` or ``CodecError``."""
    if "text" in told:
        return TextDelta(told["text"], tuple(map(_read_logprob, told["logprobs"])))
    if "call" in told:
        return ToolCallDelta(**told["call"])
    if "fold" in told:
        chunk, data = Chunk(**told["fold"]), base64.b64decode(told["visual"])
        visual = decode(data, scope=_WIRE, fingerprint=fingerprint, chunk_id=chunk.id)
        return ChunkFolded(chunk, visual)
    end = told["finished"]
    return Finished(
        text=end["text"],
        reason=end["reason"],
        usage=Usage(**_known(Usage, end["usage"])),
        timing=Timing(**_known(Timing, end["timing"])),
        degraded=tuple(end["degraded"]),
        calls=tuple(ToolCall(**call) for call in end["calls"]),
    )


def lines(data: Iterator[str]) -> Iterator[Any]:
    """The JSON values of server-sent events, given line by line."""
    for line in data:
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _known(kind: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``told`` that this release knows: a newer server may tell more."""
    names = {part.name for part in fields(kind)}
    return {name: value for name, value in told.items() if name in names}


def _told_logprob(one: TokenLogprob) -> list[Any]:
    top = [_told_logprob(other) for other in one.top]
    return [one.token, one.bytes.hex(), one.logprob, top]


def _read_logprob(told: Sequence[Any]) -> TokenLogprob:
    token, data, logprob, top = told
    return TokenLogprob(token, bytes.fromhex(data), logprob, tuple(map(_read_logprob, top)))
