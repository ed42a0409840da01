"""The engine of a server, used from here: text is cut here, encoded and answered there.

The server keeps visual tokens for a while by namespace and chunk, so that those of a memory are
sent once and named afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from vist2_memory.engine.base import Engine
from vist2_memory.engine.pictures import sketch_of
from vist2_memory.engine.remote import wire
from vist2_memory.engine.remote.client import Client, LackingError
from vist2_memory.errors import (
    CodecError,
    EncodingError,
    EngineUnavailableError,
    ModelError,
    Vist2Error,
)
from vist2_memory.model.layout import layout_of
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.text.chunking import Chunker
from vist2_memory.types import (
    Chunk,
    Context,
    GenerationEvent,
    GenerationParams,
    VisualTokens,
)

log = logging.getLogger(__name__)

BINARY = {"Content-Type": "application/octet-stream"}
ENCODE_BATCH = 64
FORGET_S = 10.0
"""Seconds that the server may take to drop what it keeps."""


class RemoteEngine(Engine):
    """Encodes and generates on the server at a URL; needs neither torch nor the checkpoint."""

    at_once = 64
    reads_back = True

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float | None = None
    ) -> None:
        """``api_key``: the server's, or ``VIST2_API_KEY``. ``timeout``: seconds that it may take to
        say anything.

        Raises ``EngineUnavailableError`` where none answers, and ``ModelError`` for a server of
        another kind, or one that cuts text otherwise than this release does.
        """
        self._client = Client(url, api_key, timeout)
        try:
            self._read(self._client.json("GET", "/v1/engine"))
        except BaseException:
            self._client.close()
            raise
        self._cost = lru_cache(maxsize=65_536)(self._cost_of)
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="vist2-forget")

    def _read(self, told: Any) -> None:
        try:
            self.spec = wire.read_spec(told["spec"])
            tokenizer = Vist2Tokenizer(Tokenizer.from_str(told["tokenizer"]))
            geometry = SketchGeometry(**told["geometry"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the server at {self._client.url} is no vist2 server: {error!r}"
            ) from error
        self._renderer = SketchRenderer(geometry)
        chunk_tokens = self.spec.chunk_tokens
        self.chunker = Chunker(tokenizer, chunk_tokens, self._renderer.fits)
        if layout_of(tokenizer, chunk_tokens, self._renderer) != self.spec.layout:
            raise ModelError(
                f"the server at {self._client.url} cuts text otherwise than this release does: "
                "install the same version of vist2-memory on both sides"
            )

    def encode(self, chunks: Sequence[Chunk]) -> list[VisualTokens]:
        """See :meth:`Engine.encode`; raises ``EncodingError`` for an answer that cannot be used."""
        found: list[VisualTokens] = []
        for start in range(0, len(chunks), ENCODE_BATCH):
            batch = chunks[start : start + ENCODE_BATCH]
            body = {"chunks": [{"text": chunk.text, "tokens": chunk.tokens} for chunk in batch]}
            data = self._client.request("POST", "/v1/engine/encode", json=body).content
            try:
                _, visual = wire.unpacked(data, self.spec.fingerprint)
            except CodecError as error:
                raise EncodingError(
                    f"the server at {self._client.url} sent visual tokens that cannot be used: "
                    f"{error}"
                ) from error
            if [tokens.chunk_id for tokens in visual] != [chunk.id for chunk in batch]:
                raise EncodingError(f"the server at {self._client.url} encoded other chunks")
            found += visual
        return found

    def cost(self, chunk: Chunk) -> int:
        """See :meth:`Engine.cost`; drawn or written, whatever is less."""
        return self._cost(chunk.text)

    def _cost_of(self, text: str) -> int:
        return min(self.chunker.count(text), self._renderer.visual_tokens(text))

    def picture(self, chunk: Chunk) -> bytes | None:
        """See :meth:`Engine.picture`; None for a chunk that takes fewer tokens as text."""
        return sketch_of(self._renderer, chunk, self.cost(chunk))

    def check(self, params: GenerationParams) -> None:
        """See :meth:`Engine.check`."""
        if params.tools or params.schema is not None:
            told = wire.told_params(params)
            self._client.request("POST", "/v1/engine/check", json=told)

    def generate(self, context: Context, params: GenerationParams) -> Iterator[GenerationEvent]:
        """See :meth:`Engine.generate`; closing it early hangs up, which ends the generation."""
        header = {"context": wire.told_context(context), "params": wire.told_params(params)}
        known = {tokens.chunk_id: tokens for tokens in context.visual}
        body = {"ids": list(known)}
        missing = self._client.json("POST", "/v1/engine/missing", json=body)["missing"]
        sent = [known[chunk_id] for chunk_id in missing if chunk_id in known]
        try:
            yield from self._generated(header, sent)
        except LackingError:  # told before the first event
            yield from self._generated(header, list(known.values()))

    def _generated(
        self, header: dict[str, Any], sent: Sequence[VisualTokens]
    ) -> Iterator[GenerationEvent]:
        data = wire.packed(header, sent, self.spec.tensors)
        path = "/v1/engine/generate"
        with self._client.stream("POST", path, content=data, headers=BINARY) as response:
            ended = False
            for told in wire.lines(response.iter_lines()):
                if "error" in told:
                    raise self._client.failed(told["error"]["message"], told["error"].get("code"))
                event = wire.read_event(told, self.spec.fingerprint)
                ended = "finished" in told
                yield event
            if not ended:
                raise EngineUnavailableError(
                    f"the server at {self._client.url} broke off in the middle of an answer: ask "
                    "again"
                )

    def forget(self, owner: str) -> None:
        """See :meth:`Engine.forget`; also what was sent of this namespace's memories is dropped.

        The server is told in a thread, as whoever deletes need not wait for it. One that cannot be
        told is a warning in the log: it drops what it keeps when it needs the room, or ends.
        """
        self._telling.submit(self._tell_to_forget, owner)

    def _tell_to_forget(self, owner: str) -> None:
        body = {"owner": owner}
        try:
            self._client.request("POST", "/v1/engine/forget", json=body, timeout=FORGET_S)
        except Vist2Error as error:
            log.warning("what was deleted may be kept on the server for a while: %s", error)

    def close(self) -> None:
        """Tell what is left to tell, and close the connections; the server runs on."""
        self._telling.shutdown()
        self._client.close()
