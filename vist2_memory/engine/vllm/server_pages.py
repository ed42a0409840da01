"""Encoded images to a vLLM server, by the route that takes token ids and gives them back.

What goes there is what vLLM's processors would make of a chat: ids with placeholders, and for each
image its tensors in msgpack, as vLLM 0.32 passes them between its processes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import pack
from typing import Any

import torch
from torch import Tensor

from vist2_memory.engine.vllm.requests import Image, Paged, Request, Told

PATH = "/inference/v1/generate"
NEEDS = "--enable-mm-embeds --enable-scale-out"
"""How a server is started that takes encoded images."""
_RAW = 3
"""vLLM's type of an extension that holds the bytes of a tensor."""


@dataclass(frozen=True, slots=True)
class _Raw:
    data: bytes


def body_of(request: Request, read: Paged, model: str) -> dict[str, Any]:
    """The body of a request to :data:`PATH` that reads ``read``."""
    sampling: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        # One more: a token that is none of the likeliest takes the place of the last.
        "logprobs": None if request.logprobs is None else request.logprobs + 1,
        "stop_token_ids": list(request.stop_ids),
        "ignore_eos": True,
        "logit_bias": {str(token): -100.0 for token in request.shunned} or None,
        "allowed_token_ids": None if request.allowed is None else list(request.allowed),
        "detokenize": False,
    }
    body: dict[str, Any] = {
        "model": model,
        "token_ids": list(read.ids),
        "sampling_params": {name: value for name, value in sampling.items() if value is not None},
        "stream": True,
    }
    if request.cache_salt:
        body["cache_salt"] = request.cache_salt
    if read.images:
        places = [{"offset": one.offset, "length": len(one.embeds)} for one in read.images]
        body["features"] = {
            "mm_hashes": {"image": [one.name for one in read.images]},
            "mm_placeholders": {"image": places},
            "kwargs_data": {"image": [_packed(one) for one in read.images]},
        }
    return body


def told_by(choice: Mapping[str, Any]) -> Iterator[Told]:
    """The tokens of one event."""
    scores = (choice.get("logprobs") or {}).get("content")
    for place, token in enumerate(choice.get("token_ids") or ()):
        if scores is None:
            yield Told(int(token))
            continue
        own = scores[place]
        best = [(int(one["token_id"]), float(one["logprob"])) for one in own["top_logprobs"]]
        top = tuple(sorted(best, key=lambda one: -one[1]))
        yield Told(int(token), float(own["logprob"]), top)


def _packed(image: Image) -> str:
    """``image`` as the server reads it, in base64."""
    embeds = image.embeds.detach().cpu().contiguous()
    kind = str(embeds.dtype).removeprefix("torch.")
    tensor = [kind, list(embeds.shape), _Raw(_bytes_of(embeds))]
    if image.grid is None:
        item: dict[str, Any] = {"image_embeds": _field(tensor, "batched", keep_on_cpu=False)}
    else:
        whole = [[0, len(embeds), None]]
        grid = ["int64", [3], _Raw(pack("<3q", *image.grid))]
        item = {
            "image_embeds": _field(tensor, "flat", keep_on_cpu=False, slices=whole, dim=0),
            "image_grid_thw": _field(grid, "batched", keep_on_cpu=True),
        }
    return base64.b64encode(b"".join(_msgpack(item))).decode()


def _field(tensor: list[Any], how: str, **settings: Any) -> dict[str, Any]:
    return {"data": tensor, "field": [how, settings]}


def _msgpack(value: Any) -> Iterator[bytes]:
    """``value`` in msgpack, of which each length is written in four bytes."""
    if value is None:
        yield b"\xc0"
    elif isinstance(value, bool):
        yield b"\xc3" if value else b"\xc2"
    elif isinstance(value, int):
        yield pack(">Bq", 0xD3, value)
    elif isinstance(value, str):
        data = value.encode()
        yield pack(">BI", 0xDB, len(data)) + data
    elif isinstance(value, _Raw):
        yield pack(">BIb", 0xC9, len(value.data), _RAW) + value.data
    elif isinstance(value, dict):
        yield pack(">BI", 0xDF, len(value))
        for name, inner in value.items():
            yield from _msgpack(name)
            yield from _msgpack(inner)
    else:
        yield pack(">BI", 0xDD, len(value))
        for inner in value:
            yield from _msgpack(inner)


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
