"""The decoder that goes on in requests, with a transport that answers them in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.on_vllm import Recording, context_of, endless, said
from vist2_memory.engine.generation import Decoder, Prompt
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.sampling import Picker
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.engine.vllm.asking import Allowed, Asking, seed_of
from vist2_memory.engine.vllm.decoder import VLLMDecoder
from vist2_memory.engine.vllm.requests import Request, Tokens, Told, Transport
from vist2_memory.errors import EngineUnavailableError
from vist2_memory.types import GenerationParams

pytest_plugins = ("tests.support.fixtures",)


class Local(Transport):
    """Answers as vLLM does, by transformers."""

    def __init__(self, engine: TorchEngine, biased: bool = True) -> None:
        """``biased``: whether ids to be shunned are; without, they have to be told apart later."""
        self.engine, self.biased = engine, biased

    def send(self, request: Request) -> Tokens:
        return LocalTokens(self._go_on(request))

    def close(self) -> None:
        """Nothing was started."""

    @torch.inference_mode()
    def _go_on(self, request: Request) -> Iterator[Told]:
        cache = KVCache(self.engine.model.language_model)
        logits, masked = cache.append(request.read), torch.zeros(0)
        shunned = request.shunned if self.biased else ()
        for _ in range(request.max_tokens):
            masked = logits.clone()
            masked[list(shunned)] = -torch.inf
            if request.allowed is not None:
                masked[[i for i in range(len(masked)) if i not in set(request.allowed)]] = -1e9
            params = GenerationParams(temperature=request.temperature, seed=request.seed)
            token = Picker(params, torch.tensor([], dtype=torch.long))(masked)
            scores = logits.log_softmax(-1)
            best = scores.topk(max(request.logprobs or 0, 1))
            top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            yield Told(token, float(scores[token]), top)
            if token in request.stop_ids:
                return
            logits = cache.append(self.engine.encoder.embed([token]))


class LocalTokens(Tokens):
    def __init__(self, steps: Iterator[Told]) -> None:
        self.steps = steps

    def __next__(self) -> Told:
        return next(self.steps)

    def close(self) -> None:
        self.steps.close()  # type: ignore[attr-defined]


class InRequests(TorchEngine):
    """The in-process engine, decoding by requests."""

    transport: Transport

    def _begin(self, prompt: Prompt, memory: KVCache | None = None) -> Decoder:
        params = prompt.params
        allowed = Allowed(
            self._grammars.steer(params),
            self.stop_ids,
            self._never_said(params),
            self.model.config.text_config.vocab_size,
        )
        asking = Asking(self.transport, self.processor.tokenizer, params, allowed, "")
        return VLLMDecoder(prompt, self.encoder, asking)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> TorchEngine:
    return TorchEngine(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def requesting(checkpoint: Path) -> InRequests:
    engine = InRequests(checkpoint, device="cpu")
    engine.transport = Local(engine)
    return engine


@pytest.mark.parametrize("logprobs", [None, 2])
def test_tokens_and_folds_are_those_of_the_in_process_engine(
    reference: TorchEngine, requesting: InRequests, logprobs: int | None
) -> None:
    context, params = context_of(reference), GenerationParams(max_tokens=60, logprobs=logprobs)
    with endless(reference, requesting):
        ours, theirs = said(requesting, context, params), said(reference, context, params)
    assert ours.text == theirs.text
    assert ours.folded == theirs.folded
    assert len(ours.folded) > 3
    assert [one.bytes for one in ours.logprobs] == [one.bytes for one in theirs.logprobs]
    assert [one.logprob for one in ours.logprobs] == pytest.approx(
        [one.logprob for one in theirs.logprobs], abs=1e-4
    )


def test_requests_ask_for_what_fits_until_the_next_fold_and_no_more(
    requesting: InRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(requesting.transport)
    monkeypatch.setattr(requesting, "transport", recording)
    with endless(requesting):
        answer = said(requesting, context_of(requesting), GenerationParams(max_tokens=50))
    assert len(recording.requests) == len(answer.folded) + 1
    assert sum(request.max_tokens for request in recording.requests) == 50


@pytest.mark.parametrize("logprobs", [None, 1])
@pytest.mark.parametrize("max_tokens", [16, 60])
def test_json_is_that_of_the_in_process_engine(
    reference: TorchEngine, requesting: InRequests, max_tokens: int, logprobs: int | None
) -> None:
    """Random weights say what no grammar allows: nearly all tokens are asked for again."""
    schema = {"type": "array", "items": {"enum": ["a", "b", 7]}, "minItems": 2}
    params = GenerationParams(max_tokens=max_tokens, schema=schema, logprobs=logprobs)
    context = context_of(reference)
    ours, theirs = said(requesting, context, params), said(reference, context, params)
    assert ours.text == theirs.text
    assert len(json.loads(ours.text)) >= 2
    assert ours.finished.reason == theirs.finished.reason


def test_what_is_not_to_be_said_is_not_even_where_vllm_says_it(
    reference: TorchEngine, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = InRequests(checkpoint, device="cpu")
    engine.transport = Local(engine, biased=False)
    context, params = context_of(reference), GenerationParams(max_tokens=20)
    with endless(reference, engine):
        likeliest = said(reference, context, params)
        said_ids = set(reference.processor.tokenizer.encode(likeliest.text))
        for one in (reference, engine):
            monkeypatch.setattr(one, "_never", one._never | said_ids)
        assert said(engine, context, params).text == said(reference, context, params).text


def test_a_request_that_ends_without_a_token_is_an_error(
    requesting: InRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Local):
        def _go_on(self, request: Request) -> Iterator[Told]:
            yield from ()

    monkeypatch.setattr(requesting, "transport", Silent(requesting))
    with pytest.raises(EngineUnavailableError, match="without a token"):
        said(requesting, context_of(requesting), GenerationParams())


def test_each_request_of_a_seed_draws_by_another_one() -> None:
    seeds = [seed_of(7, number) for number in range(1, 50)]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [seed_of(7, number) for number in range(1, 50)]
    assert seed_of(8, 1) != seed_of(7, 1)
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)
    assert seed_of(None, 1) is None
