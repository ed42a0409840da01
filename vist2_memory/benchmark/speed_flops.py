"""Floating-point operations, counted by torch's own counter on tensors that hold nothing.

On the meta device no number is computed, so that a model of any size is counted anywhere; attention
is counted there as its two matrix products, which the counter does not see in the CPU's fused one.
It counts all pairs of queries and keys, though half of them are masked: ``causal`` leaves those
out. Drawing has none: it moves bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from vist2_memory.benchmark.speed_text import random_kv
from vist2_memory.engine.loading import no_progress_bar
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations, as the counter counts them, and without pairs that the causal mask hides."""

    counted: float = 0.0
    causal: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.counted + other.counted, self.causal + other.causal)

    def __mul__(self, times: float) -> Flops:
        return Flops(self.counted * times, self.causal * times)

    def over(self, other: Flops) -> dict[str, float]:
        """The ratio to ``other``, both ways."""
        return {"counted": self.counted / other.counted, "causal": self.causal / other.causal}


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much both sides read and write."""

    visual: int
    """Visual tokens of the history."""
    text: int
    """Text tokens that the text twin reads."""
    tail: int
    """Of these, tokens that ours reads as text too."""
    chunks: int
    chunk_tokens: int
    keep_recent: int
    fold_at: int
    """Tokens of text at which ours folds."""
    patches: int
    """Of a sketch."""

    @property
    def visual_per_chunk(self) -> int:
        """Visual tokens that a chunk takes, rounded."""
        return round(self.visual / self.chunks)


class FlopCount:
    """Counts what a model of one configuration takes."""

    def __init__(self, config: Vist2Config) -> None:
        with torch.device("meta"), no_progress_bar():
            kind: Any = Vist2ForConditionalGeneration
            model = kind._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        self.model = model.train(False)
        self._read_once = lru_cache(maxsize=None)(self._count_read)
        self._encode_once = lru_cache(maxsize=None)(self._count_encode)

    def read(self, tokens: int, behind: int = 0) -> Flops:
        """The language model reads ``tokens`` behind so many others; logits of the last one.

        Linear in what it reads behind, so that two counts tell all.
        """
        if not behind:
            return self._read_once(tokens, 0)
        first, second = self._read_once(tokens, 1), self._read_once(tokens, 2)
        return first + (second + first * -1) * (behind - 1)

    def _count_read(self, tokens: int, behind: int) -> Flops:
        language = self.model.language_model
        cache = DynamicCache(config=language.config)
        if behind:
            keys, values = random_kv(language, behind)
            for number in range(language.config.num_hidden_layers):
                cache.update(keys, values, number)
        ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            language(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        total: int = counter.get_total_flops()
        pairs = counter.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0)
        seen = (behind + (tokens + 1) / 2) / (behind + tokens)
        return Flops(total, total - pairs * (1 - seen))

    def encode(self, chunks: int, patches: int) -> Flops:
        """Tower and aligner see ``chunks`` sketches of so many patches."""
        return self._encode_once(patches) * chunks

    def _count_encode(self, patches: int) -> Flops:
        tower, aligner = self.model.vision_tower, self.model.aligner
        embedding = tower.embeddings.patch_embedding
        joined = aligner.patches_per_strip
        size = -(-patches // joined) * joined
        pixels = torch.empty(1, size, embedding.in_features, dtype=torch.bfloat16, device="meta")
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            encoded = tower.encoder(inputs_embeds=embedding(pixels), attention_mask=None)
            aligner(tower.post_layernorm(encoded.last_hidden_state))
        total: int = counter.get_total_flops()
        return Flops(total, total)

    def steps(self, count: int, behind: int) -> Flops:
        """``count`` tokens one after the other; a step is linear in what it stands behind."""
        return (self.read(1, behind) + self.read(1, behind + count - 1)) * (count / 2)

    def generate_folding(self, tokens: int, lengths: Lengths) -> tuple[Flops, Flops]:
        """Ours writes ``tokens``; the steps, and the folds: drawn, encoded, read in place."""
        steps, folds = Flops(), Flops()
        base, text, left, fold_at = lengths.visual, lengths.tail, tokens, lengths.fold_at
        while left:
            run = min(left, fold_at - text)
            steps += self.steps(run, base + text)
            text, left = text + run, left - run
            if text < fold_at:
                break
            new, text = lengths.visual_per_chunk, text - lengths.chunk_tokens
            folds += self.encode(1, lengths.patches) + self.read(new, base)
            base += new
            if text:
                folds += self.read(text, base)
        return steps, folds


def count_flops(config: Vist2Config, lengths: Lengths, tokens: int) -> dict[str, Any]:
    """Ratios of ours to text, and the operations that they are made of.

    ``tokens``: of an answer. The bound is what would be left if folding took nothing: each token
    still costs its own pass.
    """
    count = FlopCount(config)
    text = count.read(lengths.text)
    ours = count.read(lengths.visual + lengths.tail)
    encoded = count.encode(lengths.chunks, lengths.patches)
    spoken = count.steps(tokens, lengths.text)
    steps, folds = count.generate_folding(tokens, lengths)
    ratios = {
        "warm": ours.over(text),
        "cold": (ours + encoded).over(text),
        "generation": (ours + steps + folds).over(text + spoken),
        "generation_cold": (ours + encoded + steps + folds).over(text + spoken),
        "generation_bound": (ours + steps).over(text + spoken),
        "step": count.read(1, lengths.visual + lengths.tail).over(count.read(1, lengths.text)),
    }
    parts = {
        "text_prefill": text,
        "text_generation": spoken,
        "prefill": ours,
        "encode": encoded,
        "generation": steps,
        "folds": folds,
        "fold": count.encode(1, lengths.patches)
        + count.read(lengths.visual_per_chunk, lengths.visual)
        + count.read(max(1, lengths.keep_recent), lengths.visual + lengths.visual_per_chunk),
    }
    return {
        "ratios": ratios,
        "operations": {name: asdict(part) for name, part in parts.items()},
        "generated_tokens": tokens,
        "how": "torch.utils.flop_counter on the meta device; drawing has no operations",
    }


def flops_figures(found: dict[str, Any]) -> dict[str, Any]:
    """What `count_flops` gives, with the ratios of the counter in front."""
    counted = {name: ratio["counted"] for name, ratio in found["ratios"].items()}
    return {
        "flops_ratio_warm": counted["warm"],
        "flops_ratio_cold": counted["cold"],
        "flops_ratio_generation": counted["generation"],
        "flops": found,
    }


def sized_lengths(config: Vist2Config, history: int, ratio: float) -> Lengths:
    """Of ``history`` text tokens in chunks that cost ``ratio`` times fewer visual tokens, with as
    much newest text beside them as a session keeps."""
    chunk, kept = config.chunk_tokens, config.keep_recent_chunks * config.chunk_tokens
    chunks = max(1, history // chunk)
    visual = round(chunks * chunk / ratio)
    return Lengths(
        visual=visual,
        text=chunks * chunk + max(kept, 1),
        tail=max(kept, 1),
        chunks=chunks,
        chunk_tokens=chunk,
        keep_recent=kept,
        fold_at=kept + chunk,
        patches=round(visual / chunks) * config.sketch_geometry.patches_per_strip,
    )
