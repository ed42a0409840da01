"""A stock vision-language model that sees here, and is decoded by vLLM.

Tower and projector run in torch; what they made of a page goes to vLLM in place of the page
(``image_embeds``). So the two agree on what is stored: an engine in one process reads what that of
another stored.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vist2_memory.engine.catalog import read_config
from vist2_memory.engine.generation import Decoded
from vist2_memory.engine.options import VLLM, EngineOptions
from vist2_memory.engine.steering import Steering
from vist2_memory.engine.vllm.arguments import LORA, check_installed, refuse_heat
from vist2_memory.engine.vllm.asking import Allowed, Asking
from vist2_memory.engine.vllm.decoded import DecodedByVLLM
from vist2_memory.engine.vllm.opening import Served, device_for, open_transport
from vist2_memory.engine.vllm.requests import Image, Paged
from vist2_memory.engine.vllm.salts import Salts
from vist2_memory.engine.vllm.server_pages import NEEDS
from vist2_memory.engine.vlm.chat import Item
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.engine.vlm.families import find_family
from vist2_memory.engine.vlm.family import Family
from vist2_memory.engine.vlm.loading import Parts, load_eyes
from vist2_memory.engine.vlm.reader import Reader
from vist2_memory.errors import InvalidInputError
from vist2_memory.types import Context, GenerationParams, VisualTokens

LENGTH = "max_model_len"
"""The option that says how many tokens are read, where they are fewer than the model could."""
_NO_IMAGES = {"image": 0, "video": 0}
_LIMITS: dict[str, dict[str, int]] = {
    "qwen2_vl": _NO_IMAGES,
    "qwen2_5_vl": _NO_IMAGES,
    "qwen3_vl": {"video": 0},  # without its tower vLLM leaves out the features of DeepStack
    "glm4v": _NO_IMAGES,
    "internvl": _NO_IMAGES,
}
"""Of images that are no embeddings; where there are none vLLM does not load its own tower."""


class VLLMPagesEngine(DecodedByVLLM, VLMEngine):
    """A published vision-language model whose language model runs in vLLM."""

    def __init__(
        self,
        folder: Path,
        *,
        where: str = VLLM,
        options: EngineOptions | None = None,
        **settings: Any,
    ) -> None:
        """Load what sees of the model in ``folder``, and start or find vLLM.

        ``where``: ``vllm``, or ``vllm+http://host:8000``. ``settings``: of :class:`VLMEngine`, as
        ``page``. Raises ``ModelError`` and ``InvalidInputError`` as that does, also for a family of
        which vLLM takes no encoded images, and ``EngineUnavailableError`` for a server that does
        not answer.
        """
        self.options = options or EngineOptions()
        limits = _limits_of(folder)
        if LORA in self.options.vllm:
            raise InvalidInputError(
                f"vllm={{{LORA!r}: ...}} is for VIST2 checkpoints: merge the adapter into "
                f"{folder.name}"
            )
        self._longest = _read_length(self.options)
        asked = self.options
        if where == VLLM:
            _check_vision()
        else:  # a server was told so when it was started
            own = {name: value for name, value in asked.vllm.items() if name != LENGTH}
            asked = replace(asked, vllm=own)
        device = device_for(where, asked)
        super().__init__(
            folder,
            device=str(device),
            dtype=self.options.dtype,
            tensors_dtype=self.options.tensors_dtype,
            **settings,
        )
        text: Any = self.family.model.config.get_text_config()
        self._ids: int = text.vocab_size
        reads = {"enable_mm_embeds": True, "limit_mm_per_prompt": limits}
        # Images come as embeddings, and with each request: nothing of them is worth a rehearsal or
        # a cache beside that of keys and values.
        reads |= {"skip_mm_profiling": True, "mm_processor_cache_gb": 0}
        served = Served(
            folder,
            self.spec,
            reads=reads,
            positions=self._positions,
            hidden_size=text.hidden_size,
            encode=self.tokenizer.encode,
            needs=NEEDS,
        )
        self._salts = Salts()
        self.transport = open_transport(where, served, asked, device)

    def _load(self, folder: Path, device: torch.device, dtype: str) -> Parts:
        return load_eyes(folder, device, dtype)

    def _reads(self, text: Any) -> int:
        positions = super()._reads(text)
        return positions if self._longest is None else min(positions, self._longest)

    def _begin(
        self,
        items: Sequence[Item],
        context: Context,
        params: GenerationParams,
        steering: Steering | None,
    ) -> Reader:
        refuse_heat(params)
        never = frozenset(self._suppressed(steering).tolist())
        allowed = Allowed(steering, self._stop_ids, never, self._ids)
        salt = self._salts.of(context.cache_salt, context.owner)
        asking = Asking(self.transport, self.tokenizer, params, allowed, salt)
        return _AskingReader(self.family, items, asking, salt)


class _AskingReader(Reader):
    """Goes on from one sequence, in requests."""

    def __init__(
        self, family: Family, items: Sequence[Item], asking: Asking, cache_salt: str
    ) -> None:
        self._family, self._asking, self._salt = family, asking, cache_salt
        self._came: list[int] = []
        self._paged = self._as_paged(items)
        text = sum(isinstance(item, int) for item in items)
        asking.begin(self._read, pages=len(items) - text, text_tokens=text)

    def __len__(self) -> int:
        return len(self._paged) + len(self._came)

    def next(self, room: int, until_fold: int) -> Decoded:
        """See :meth:`Reader.next`; raises ``EngineUnavailableError``."""
        decoded = self._asking.next(room, until_fold)
        self._came.append(decoded.token)
        self.reused = self._asking.reused
        return decoded

    def fold(self, items: Sequence[Item]) -> None:
        """See :meth:`Reader.fold`."""
        self._asking.leave()
        self._paged, self._came = self._as_paged(items), []

    @property
    def may_end(self) -> bool:
        """See :attr:`Reader.may_end`."""
        return self._asking.may_end

    def close(self) -> None:
        """Abort the request that is under way."""
        self._asking.leave()

    def _read(self) -> Paged:
        return Paged((*self._paged.ids, *self._came), self._paged.images)

    def _as_paged(self, items: Sequence[Item]) -> Paged:
        ids: list[int] = []
        images: list[Image] = []
        for item in items:
            if isinstance(item, int):
                ids.append(item)
                continue
            embeds, grid = self._family.features(item), self._family.grid(item)
            images.append(Image(len(ids), embeds, self._name(item), grid))
            ids += [self._family.image_token_id] * len(item)
        return Paged(tuple(ids), tuple(images))

    def _name(self, page: VisualTokens) -> str:
        """By content, and one's own: what vLLM keeps of an image is shared by its name."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self._salt, page.fingerprint, page.chunk_id):
            digest.update(f"{len(part)} {part}".encode())
        return digest.hexdigest()


def _read_length(options: EngineOptions) -> int | None:
    """How many tokens are read; None: as many as the model can."""
    length = options.vllm.get(LENGTH)
    if length is not None and (not isinstance(length, int) or length < 1):
        raise InvalidInputError(f"vllm={{{LENGTH!r}: {length!r}}} is no number of tokens")
    return length


def _check_vision() -> None:
    """Raise ``InvalidInputError`` where vLLM could not load models of such families."""
    check_installed()
    if importlib.util.find_spec("torchvision") is None:
        raise InvalidInputError(
            "vLLM needs torchvision to decode a vision-language model, and it is not installed: "
            "see docs/vllm.md"
        )


def _limits_of(folder: Path) -> dict[str, int]:
    """How many images vLLM may be sent as such; raises ``InvalidInputError`` where it takes no
    encoded ones."""
    config = read_config(folder)
    kind, family = str(config.get("model_type")), find_family(config)
    if kind not in _LIMITS:
        served = ", ".join(find_family({"model_type": name}).title for name in _LIMITS)
        raise InvalidInputError(
            f"vLLM takes no encoded images for {family.title}, so it cannot decode {folder.name}: "
            f"take engine='torch', or a model of {served}"
        )
    return _LIMITS[kind]
