"""Stock families that go on in requests, with a transport that answers them in this process."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.on_vllm import Recording, said
from tests.support.vlm import SmallVLM
from tests.support.vlm_families import SAMPLES
from tests.vllm.stories import context_of
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.sampling import Picker
from vist2_memory.engine.vllm import pages
from vist2_memory.engine.vllm.requests import Image, Paged, Request, Tokens, Told, Transport
from vist2_memory.engine.vllm.server_pages import body_of, told_by
from vist2_memory.engine.vlm.cache import PageCache
from vist2_memory.engine.vlm.chat import Item
from vist2_memory.errors import InvalidInputError
from vist2_memory.types import GenerationParams, VisualTokens

pytest_plugins = ("tests.support.vlm_fixtures",)


class Local(Transport):
    """Answers as vLLM does, by transformers."""

    def __init__(self, engine: SmallVLM) -> None:
        self.engine = engine

    def send(self, request: Request) -> Tokens:
        return LocalTokens(self._go_on(request))

    def close(self) -> None:
        """Nothing was started."""

    def _go_on(self, request: Request) -> Iterator[Told]:
        assert isinstance(request.read, Paged)
        cache = PageCache(self.engine.family)
        logits = cache.become(self._items(request.read))
        for _ in range(request.max_tokens):
            masked = logits.clone()
            masked[list(request.shunned)] = -torch.inf
            if request.allowed is not None:
                masked[[i for i in range(len(masked)) if i not in set(request.allowed)]] = -1e9
            token = Picker(GenerationParams(), torch.tensor([], dtype=torch.long))(masked)
            scores = logits.log_softmax(-1)
            best = scores.topk(max(request.logprobs or 0, 1))
            top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            yield Told(token, float(scores[token]), top)
            if token in request.stop_ids:
                return
            logits = cache.append([token])

    def _items(self, read: Paged) -> list[Item]:
        """Text and pages again, and whether each stands where its placeholders are."""
        items: list[Item] = []
        place, spec = 0, self.engine.spec
        for image in read.images:
            items += read.ids[place : image.offset]
            place = image.offset + len(image.embeds)
            assert set(read.ids[image.offset : place]) == {self.engine.family.image_token_id}
            values = image.embeds.numpy()
            page = VisualTokens(image.name, values, spec.fingerprint, 1)
            assert image.grid == self.engine.family.grid(page)
            items.append(page)
        return [*items, *read.ids[place:]]


class LocalTokens(Tokens):
    def __init__(self, steps: Iterator[Told]) -> None:
        self.steps = steps

    def __next__(self) -> Told:
        return next(self.steps)

    def close(self) -> None:
        self.steps.close()  # type: ignore[attr-defined]


@pytest.fixture
def requesting(
    vlm: Callable[[str], SmallVLM], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[pages.VLLMPagesEngine, SmallVLM]]:
    """An engine that asks, and the one that its transport asks."""

    def pair(kind: str) -> tuple[pages.VLLMPagesEngine, SmallVLM]:
        here = vlm(kind)
        monkeypatch.setattr(pages, "open_transport", lambda *_: Local(here))
        settings: dict[str, Any] = {"page": SAMPLES[kind].page, "chunk_tokens": 24}
        where = "vllm+http://host"
        engine = pages.VLLMPagesEngine(here.folder, where=where, keep_recent=16, **settings)
        return engine, here

    return pair


@pytest.mark.parametrize("kind", ["qwen3_vl", "glm4v", "internvl"])
def test_tokens_and_folds_are_those_of_the_in_process_engine(
    requesting: Callable[[str], tuple[pages.VLLMPagesEngine, SmallVLM]], kind: str
) -> None:
    asking, here = requesting(kind)
    assert asking.spec == here.spec
    context, params = context_of(here, 2), GenerationParams(max_tokens=60, logprobs=2)
    ours, theirs = said(asking, context, params), said(here, context, params)
    assert ours.text == theirs.text
    assert ours.folded == theirs.folded
    assert [one.logprob for one in ours.logprobs] == pytest.approx(
        [one.logprob for one in theirs.logprobs], abs=1e-4
    )


def test_nothing_of_the_language_model_is_kept_here(
    requesting: Callable[[str], tuple[pages.VLLMPagesEngine, SmallVLM]],
) -> None:
    asking, here = requesting("qwen2_vl")
    seeing = sum(
        p.numel() for part in here.family.tower_modules.values() for p in part.parameters()
    )
    assert sum(p.numel() for p in asking.family.model.parameters()) == seeing


def test_pages_are_named_by_content_and_for_those_who_may_share_them(
    requesting: Callable[[str], tuple[pages.VLLMPagesEngine, SmallVLM]],
) -> None:
    asking, here = requesting("qwen2_vl")
    recording = Recording(asking.transport)
    asking.transport = recording

    def names(salt: str, first: str = "") -> list[str]:
        said(asking, context_of(here, 2, salt=salt, first=first), GenerationParams(max_tokens=2))
        read = recording.requests[-1].read
        assert isinstance(read, Paged)
        return [image.name for image in read.images]

    assert names("a") == names("a")
    assert not {*names("a")} & {*names("b")}
    assert not {*names("a")} & {*names("a", "Not so. ")}
    before, context = names("a"), context_of(here, 2, salt="a")
    asking._salts.of("a", "session")
    asking.forget("session")
    said(asking, context, GenerationParams(max_tokens=2))
    assert recording.requests[-1].cache_salt != "a"
    assert not {*names("a")} & {*before}


def test_a_server_may_read_less_than_the_model_could(
    vlm: Callable[[str], SmallVLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = vlm("qwen2_vl")
    told: list[Any] = []
    monkeypatch.setattr(pages, "open_transport", lambda *args: told.append(args))
    options = EngineOptions(vllm={"max_model_len": 2048, "timeout": 5})
    settings: dict[str, Any] = {"page": SAMPLES["qwen2_vl"].page, "chunk_tokens": 24}
    engine = pages.VLLMPagesEngine(
        here.folder, where="vllm+http://host", options=options, keep_recent=16, **settings
    )
    [(_, served, asked, _)] = told
    assert served.positions == 2048
    assert engine.spec.max_text_tokens + engine.spec.max_visual_tokens == 2048
    assert asked.vllm == {"timeout": 5}
    with pytest.raises(InvalidInputError, match="is no number of tokens"):
        pages.VLLMPagesEngine(here.folder, options=EngineOptions(vllm={"max_model_len": "2k"}))


def test_the_body_for_a_server() -> None:
    embeds = torch.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
    read = Paged((1, 9, 9, 4), (Image(1, embeds, "name", (1, 2, 4)),))
    body = body_of(Request(read, 5, (7,), shunned=(3,), logprobs=2, cache_salt="s"), read, "m")
    assert body["token_ids"] == [1, 9, 9, 4]
    assert body["cache_salt"] == "s"
    assert body["sampling_params"]["logprobs"] == 3
    assert body["sampling_params"]["logit_bias"] == {"3": -100.0}
    assert "seed" not in body["sampling_params"]
    assert body["features"]["mm_placeholders"] == {"image": [{"offset": 1, "length": 2}]}
    data = base64.b64decode(body["features"]["kwargs_data"]["image"][0])
    assert embeds.numpy().tobytes() in data
    assert np.array([1, 2, 4], dtype="<i8").tobytes() in data
    assert "features" not in body_of(Request(Paged((1,), ()), 5, ()), Paged((1,), ()), "m")


def test_what_a_server_tells() -> None:
    best = [{"token_id": 5, "logprob": -0.5}, {"token_id": 8, "logprob": -0.1}]
    choice = {
        "token_ids": [5],
        "logprobs": {"content": [{"token_id": 5, "logprob": -0.5, "top_logprobs": best}]},
    }
    assert list(told_by(choice)) == [Told(5, -0.5, ((8, -0.1), (5, -0.5)))]
    assert list(told_by({"token_ids": [5, 6], "logprobs": None})) == [Told(5), Told(6)]
