"""A vLLM server elsewhere, by its completions API: embeddings go there, token ids come back.

Before anything is sent the server is asked what it serves, since embeddings of another width can
stop it.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from torch import Tensor

from vist2_memory.engine.vllm import server_pages
from vist2_memory.engine.vllm.requests import Paged, Request, Tokens, Told, Transport
from vist2_memory.errors import EngineUnavailableError, ModelError

CONNECT_S = 10.0
TOKEN_S = 120.0
"""Seconds that the server may take for the next token, unless said otherwise."""
_PROBE = "Miso is 7 years old, naïve & ünruly."


@dataclass(frozen=True, slots=True)
class Expected:
    """What the server has to serve."""

    name: str
    """The checkpoint's, or the one that it is served under."""
    hidden_size: int
    positions: int
    """Tokens that it reads at once."""
    probe: tuple[int, ...]
    """Ids of the text that tells tokenizers apart."""
    needs: str = "--enable-prompt-embeds"
    """How it is started."""


class Server(Transport):
    """A server that takes embeddings, or encoded images."""

    def __init__(self, url: str, expected: Expected, *, timeout: float = TOKEN_S) -> None:
        """``url``: with http or https; its key is that in ``VLLM_API_KEY``. ``timeout``: seconds
        for the next token. Raises ``EngineUnavailableError`` where none answers, and ``ModelError``
        where it serves another model.
        """
        self.url = url.rstrip("/").removesuffix("/v1")
        self._needs = expected.needs
        key = os.environ.get("VLLM_API_KEY")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None),
        )
        try:
            self.model = self._check(expected)
        except BaseException:
            self._client.close()
            raise

    def send(self, request: Request) -> Tokens:
        """See :meth:`Transport.send`."""
        if isinstance(request.read, Paged):
            body = server_pages.body_of(request, request.read, self.model)
            return _Streamed(self, self._client, server_pages.PATH, body, server_pages.told_by)
        body = _body(request, request.read, self.model)
        return _Streamed(self, self._client, "/v1/completions", body, _told)

    def close(self) -> None:
        """Close the connections; the server runs on."""
        self._client.close()

    def failed(self, error: Exception) -> EngineUnavailableError:
        """``error`` of the connection in words."""
        if isinstance(error, httpx.TimeoutException):
            said = f"did not answer in time ({type(error).__name__})"
        else:
            said = f"cannot be reached or broke off ({error or type(error).__name__})"
        return EngineUnavailableError(
            f"the vLLM server at {self.url} {said}: see whether it runs, and ask again"
        )

    def refused(self, response: httpx.Response) -> EngineUnavailableError:
        """What the server said in place of an answer."""
        if response.status_code in (401, 403):
            hint = "set VLLM_API_KEY to the key that it was started with"
        else:
            hint = f"it must be started with {self._needs}; see docs/vllm.md"
        return EngineUnavailableError(
            f"the vLLM server at {self.url} refused with {response.status_code}: "
            f"{_said(response.text)}; {hint}"
        )

    def _check(self, expected: Expected) -> str:
        """The name under which the model is served."""
        listed = self._json("GET", "/v1/models")
        cards = [card for card in listed.get("data") or () if isinstance(card, dict)]
        found = [card for card in cards if expected.name in _names(card)]
        if not found:
            served = ", ".join(repr(card.get("id")) for card in cards) or "nothing"
            raise ModelError(
                f"the vLLM server at {self.url} serves {served}, not {expected.name!r}: serve that "
                "checkpoint, or name what it is served as, as in engine_options={'vllm': "
                "{'model': NAME}}"
            )
        card = found[0]
        reads = card.get("max_model_len")
        if reads is not None and reads < expected.positions:
            raise ModelError(
                f"the vLLM server at {self.url} reads {reads} tokens, the model "
                f"{expected.positions}: start it with --max-model-len {expected.positions}"
            )
        self._check_width(card, expected)
        model = str(card["id"])
        self._check_tokens(model, expected)
        return model

    def _check_width(self, card: Mapping[str, Any], expected: Expected) -> None:
        """Where the served folder can be seen from here, it says how wide embeddings are."""
        try:
            path = Path(str(card.get("root"))) / "config.json"
            config = json.loads(path.read_text(encoding="utf-8"))
            width = config.get("text_config", config)["hidden_size"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if width != expected.hidden_size:
            raise ModelError(
                f"the vLLM server at {self.url} serves a model of hidden size {width}, this one "
                f"has {expected.hidden_size}: serve the checkpoint that is opened here"
            )

    def _check_tokens(self, model: str, expected: Expected) -> None:
        body = {"model": model, "prompt": _PROBE, "add_special_tokens": False}
        try:
            response = self._client.post("/tokenize", json=body)
        except httpx.HTTPError as error:
            raise self.failed(error) from error
        if response.status_code != 200:  # it was started without a tokenizer
            return
        if tuple(response.json().get("tokens") or ()) != expected.probe:
            raise ModelError(
                f"the vLLM server at {self.url} cuts text into other tokens than the checkpoint "
                f"{expected.name!r} does: it serves another model under this name"
            )

    def _json(self, method: str, path: str) -> Any:
        try:
            response = self._client.request(method, path)
        except httpx.HTTPError as error:
            raise self.failed(error) from error
        if response.status_code != 200:
            raise self.refused(response)
        try:
            return response.json()
        except ValueError as error:
            raise ModelError(f"{self.url}{path} is no vLLM server's: {error}") from error


class _Streamed(Tokens):
    """The server-sent events of one request."""

    def __init__(
        self,
        server: Server,
        client: httpx.Client,
        path: str,
        body: dict[str, Any],
        told: Callable[[Mapping[str, Any]], Iterator[Told]],
    ) -> None:
        """``told``: the tokens of a choice."""
        self._server, self._open, self._read = server, ExitStack(), told
        try:
            stream = client.stream("POST", path, json=body)
            response = self._open.enter_context(stream)
            if response.status_code != 200:
                response.read()
                raise server.refused(response)
        except httpx.HTTPError as error:
            raise server.failed(error) from error
        except BaseException:
            self._open.close()
            raise
        self._told = self._events(response)

    def __next__(self) -> Told:
        return next(self._told)

    def close(self) -> None:
        """Hang up, which aborts the request. See :meth:`Tokens.close`."""
        self._told.close()
        self._open.close()

    def _events(self, response: httpx.Response) -> Generator[Told, None, None]:
        ended = False
        try:
            for line in response.iter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    return
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    raise EngineUnavailableError(
                        f"the vLLM server at {self._server.url} failed while it answered: "
                        f"{_said(json.dumps(event))}"
                    )
                for choice in event.get("choices") or ():
                    ended = ended or choice.get("finish_reason") is not None
                    yield from self._read(choice)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._server.failed(error) from error
        if not ended:
            raise self._server.failed(ConnectionError("the answer was cut off"))


def probe_text() -> str:
    """The text whose ids :attr:`Expected.probe` are."""
    return _PROBE


def _names(card: Mapping[str, Any]) -> set[str]:
    """What the model of ``card`` can be called."""
    names = {str(card.get(part)) for part in ("id", "root")}
    return names | {name.rstrip("/").rpartition("/")[2] for name in names}


def _body(request: Request, embeds: Tensor, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "prompt_embeds": _packed(embeds),
        "stream": True,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_token_ids": list(request.stop_ids),
        "ignore_eos": True,
        "return_token_ids": True,
    }
    optional = {
        "seed": request.seed,
        "logprobs": request.logprobs,
        "return_tokens_as_token_ids": None if request.logprobs is None else True,
        "logit_bias": {str(token): -100.0 for token in request.shunned} or None,
        "allowed_token_ids": None if request.allowed is None else list(request.allowed),
        "cache_salt": request.cache_salt or None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _packed(embeds: Tensor) -> str:
    """``embeds`` as the server reads them: a tensor file in base64."""
    buffer = io.BytesIO()
    torch.save(embeds.detach().cpu().clone(), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _told(choice: Mapping[str, Any]) -> Iterator[Told]:
    ids = choice.get("token_ids")
    if ids is None:
        raise EngineUnavailableError(
            "the vLLM server sends no token ids: it is older than return_token_ids; update it"
        )
    logprobs = choice.get("logprobs")
    for place, token in enumerate(ids):
        if logprobs is None:
            yield Told(int(token))
            continue
        best = (logprobs.get("top_logprobs") or [{}] * len(ids))[place] or {}
        top = [(int(name.rpartition(":")[2]), float(score)) for name, score in best.items()]
        own = float(logprobs["token_logprobs"][place])
        yield Told(int(token), own, tuple(sorted(top, key=lambda one: -one[1])))


def _said(text: str) -> str:
    """The server's own words out of its answer, cut to a line."""
    try:
        found = json.loads(text)
        text = str(found.get("error", found).get("message", text))
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:300]
