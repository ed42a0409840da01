"""Perplexity of running text whose history is in visual tokens, and in other forms of memory.

The next chunk stands where it stands in training (see ``model.masks``): right after the visual
tokens of all chunks before it. Knows no conversations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3ForCausalLM

from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.training.evaluate.scores import (
    Part,
    Progress,
    Report,
    bootstrap,
    compression,
    ratio,
    silent,
)
from vist2_memory.training.evaluate.text_model import ARMS, TextModel, load_arms, why_missing
from vist2_memory.training.evaluate.texts import draw_chunks, prose
from vist2_memory.types import Chunk

OWN = ("visual", "truncated", "without_history")
TWIN = "text_twin"
TWIN_TRUNCATED = "text_twin_truncated"


@torch.inference_mode()
def losses(model: Qwen3ForCausalLM, history: Tensor, ids: Sequence[int]) -> Tensor:
    """Nats of ``ids[1:]`` after ``history`` (tokens, hidden size); shape (len(ids) - 1,), float32.

    The first token is only read: in training nothing before a block predicts it.
    """
    tokens = torch.tensor(ids, dtype=torch.long, device=history.device)
    text = model.get_input_embeddings()(tokens[:-1])
    logits = model(
        inputs_embeds=torch.cat([history, text])[None],
        use_cache=False,
        logits_to_keep=len(ids) - 1,
    ).logits[0]  # (tokens, vocabulary)
    return F.cross_entropy(logits.float(), tokens[1:], reduction="none")


def evaluate_perplexity(
    engine: TorchEngine,
    data: Path,
    *,
    history: int = 1000,
    passages: int = 200,
    seed: int = 0,
    twin: Path | None = None,
    mean_pooled: Path | None = None,
    convolution: Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Perplexity of the chunk that follows ``history`` text tokens, over passages of ``data``.

    ``visual``: with the history in visual tokens. ``truncated``: the same model with the newest of
    it as text, in as many tokens; ``without_history``: with none. ``text_twin``: the text model in
    the folder ``twin`` with all of it as text. ``mean_pooled`` and ``convolution``: the models in
    those folders with all of it in as many vectors. Raises ``InvalidInputError`` for texts too
    short or a history longer than a model reads, and ``ModelError`` for a folder that does not fit.
    """
    spec, own = engine.spec, TextModel.inside(engine)
    arms = load_arms(engine, text_twin=twin, mean_pooled=mean_pooled, convolution=convolution)
    each = max(1, round(history / spec.chunk_tokens)) + 1
    rng = random.Random(seed)
    name = f"the text at {data}"
    runs = draw_chunks(engine.chunker, prose(data), rng, passages, each=each, name=name)
    _check_fits(engine, runs, history, arms)
    parts: dict[str, list[Part]] = {}
    for done, run in enumerate(runs, 1):
        for way, nats in _passage(engine, run[:-1], run[-1], own, arms).items():
            parts.setdefault(way, []).append((float(nats.sum()), len(nats)))
        progress(done, passages)
    report = Report()
    scored = [run[-1] for run in runs]
    _score(report, parts, sum(_characters(engine, chunk) for chunk in scored))
    past = [chunk for run in runs for chunk in run[:-1]]
    report.note(
        tokens=round(sum(of for _, of in parts["visual"])),
        passages=passages,
        history_text_tokens=sum(chunk.tokens for chunk in past) / passages,
        **compression(past, sum(map(engine.cost, past))),
        seed=seed,
        data=data.name,
        model=spec.model,
        twin=arms[TWIN].name if TWIN in arms else None,
        arms={name: arm.name for name, arm in arms.items()},
    )
    return report.finish("visual")


def _check_fits(
    engine: TorchEngine,
    runs: Sequence[Sequence[Chunk]],
    history: int,
    arms: Mapping[str, TextModel],
) -> None:
    """Raise ``InvalidInputError`` for a history longer than the model, or an arm, reads."""
    most = max(sum(map(engine.cost, run[:-1])) for run in runs)
    if most > engine.spec.max_visual_tokens:
        raise InvalidInputError(
            f"--history {history} takes up to {most} visual tokens, {engine.spec.model} reads "
            f"{engine.spec.max_visual_tokens}: ask for a shorter one"
        )
    for arm in arms.values():
        lengths = (sum(arm.form.length(c.text) for c in run[:-1]) + run[-1].tokens for run in runs)
        arm.check_reads(max(lengths))


def _passage(
    engine: TorchEngine,
    history: Sequence[Chunk],
    chunk: Chunk,
    own: TextModel,
    arms: Mapping[str, TextModel],
) -> Mapping[str, Tensor]:
    """The nats of each token of ``chunk`` but the first, for each form of memory."""
    encode = engine.processor.tokenizer.encode
    ids = encode(chunk.text)
    past = [token for older in history for token in encode(older.text)]
    visual = torch.cat([torch.from_numpy(v.values) for v in engine.encode(history)])
    weight = own.embed(past[:1])
    newest = past[max(0, len(past) - len(visual)) :]
    memories = (visual.to(weight), own.embed(newest), own.embed([]))
    found = {way: losses(own.model, memory, ids) for way, memory in zip(OWN, memories, strict=True)}
    for name, arm in arms.items():
        found[name] = losses(arm.model, arm.remember(history), ids)
    if twin := arms.get(TWIN):
        found[TWIN_TRUNCATED] = losses(twin.model, twin.embed(newest), ids)
    return found


def _characters(engine: TorchEngine, chunk: Chunk) -> int:
    """Characters of the tokens of ``chunk`` that are scored."""
    return len(chunk.text) - engine.chunker.tokenizer.spans(chunk.text)[0][1]


def _score(report: Report, parts: Mapping[str, Sequence[Part]], characters: int) -> None:
    nats_per_token: dict[str, float] = {}
    bits_per_character: dict[str, float] = {}
    arm_of = {TWIN_TRUNCATED: TWIN} | {name: name for name in ARMS}
    for way in (*OWN, *arm_of):
        nats = ratio(parts.get(way, ()))
        if nats is None:
            report.leave_out(why_missing(arm_of[way]), way)
            continue
        low, high = bootstrap(parts[way])
        report.measure(way, math.exp(nats), (math.exp(low), math.exp(high)))
        nats_per_token[way] = nats
        bits = math.fsum(part for part, _ in parts[way]) / math.log(2)
        bits_per_character[way] = bits / characters
    report.note(nats_per_token=nats_per_token, bits_per_character=bits_per_character)
