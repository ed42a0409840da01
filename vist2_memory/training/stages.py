"""The stages of training, as a table; ``trainer`` is the one loop that runs them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

PARTS = ("vision", "aligner", "language", "embeddings", "adapters")
"""What can be trained: the vision tower, the aligner, the layers of the language model, its tables
of embeddings and head, LoRA adapters on its layers. The auxiliary head is always trained."""
OPTIMIZERS = ("muon", "adamw")
RATED = ("vision", "language", "rest")
"""What can have a rate of its own: the matrices of vision tower and aligner, those of the language
model, and the rest (embeddings, heads, norms, biases)."""


def parts_of(trainable: str) -> frozenset[str]:
    """The parts that a stage's ``trainable`` names, joined by "+"."""
    names = frozenset(trainable.split("+"))
    return names - {"all"} | (frozenset(PARTS) - {"adapters"} if "all" in names else set())


@dataclass(frozen=True)
class Stage:
    """One stage: what is learned, on what, how long."""

    name: str
    """What logs and checkpoints call it."""
    tasks: Mapping[str, float]
    """The tasks of ``tasks.TASKS`` in every step: each one's share of the tokens and of the loss,
    relative to the others."""
    steps: int
    """Optimizer steps."""
    chunks: tuple[int, int]
    """Fewest and most chunks in a memory; drawn log-uniformly for each sample."""
    learning_rate: float
    """Peak of the schedule: warm-up, flat, and a linear decay over the last part."""
    decay: float = 0.2
    """Share of the steps in which the rate falls to a tenth."""
    warmup: int = 50
    """Steps over which the rate rises from nothing."""
    glyph_weight: float = 0.5
    """Weight of the auxiliary loss: name the glyphs under each visual token."""
    find_weight: float = 0.0
    """Weight of the auxiliary loss: look at what an answer is about, see ``finding``."""
    tokens: int = 4096
    """About how many tokens, visual ones included, an optimizer step reads, on all devices."""
    trainable: str = "all"
    """The parts that are trained, joined by "+", of ``PARTS``; "all": all but adapters."""
    optimizer: str = "muon"
    """"muon" from random weights, "adamw" for pretrained ones; a new one where this or
    ``trainable`` changes from stage to stage, else the moments are kept."""
    lora_rank: int = 16
    """Rank of the adapters, where they are trained."""
    growth: float = 0.0
    """Share of the steps over which all that is scheduled goes from its beginning to its end: the
    most chunks (from the fewest), and what ``first_...`` fields say. 0: at its end from the start.
    """
    first_tasks: Mapping[str, float] = field(default_factory=dict)
    """The mix at the beginning, which moves to ``tasks``; empty: ``tasks`` all along."""
    first_chunk_share: float = 1.0
    """Tokens of a chunk at the beginning, as a share of the model's, to which they grow."""
    strips: Mapping[int, float] = field(default_factory=dict)
    """The model's geometries, by their patches a strip, with the share of the micro-batches that
    are drawn in each; empty: all that it has, alike."""
    first_strips: Mapping[int, float] = field(default_factory=dict)
    """The shares at the beginning, which move to ``strips``; empty: ``strips`` all along."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Rates of what ``RATED`` names, relative to ``learning_rate``; 1 for what is left out."""

    def __post_init__(self) -> None:
        unknown = self.parts - set(PARTS)
        if unknown:
            raise ValueError(
                f"stage {self.name}: trainable={self.trainable!r} names no part of the model: "
                f"{', '.join(sorted(unknown))}; there are all, {', '.join(PARTS)}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"stage {self.name}: optimizer={self.optimizer!r} is none of {OPTIMIZERS}"
            )
        if self.find_weight < 0:
            raise ValueError(
                f"stage {self.name}: find_weight={self.find_weight!r} must not be negative"
            )
        if self.lora_rank < 1 or not 0 <= self.growth <= 1:
            raise ValueError(
                f"stage {self.name}: lora_rank={self.lora_rank!r} must be at least 1 and "
                f"growth={self.growth!r} a share"
            )
        if not 1 <= self.chunks[0] <= self.chunks[1]:
            raise ValueError(f"stage {self.name}: chunks={self.chunks!r} must rise from at least 1")
        if not set(self.rates) <= set(RATED):
            raise ValueError(f"stage {self.name}: rates={self.rates!r} may name only {RATED}")
        if self.steps < 1 or not self.tasks:
            raise ValueError(f"stage {self.name}: it has no steps or no tasks")
        if not 0 < self.first_chunk_share <= 1:
            raise ValueError(
                f"stage {self.name}: first_chunk_share={self.first_chunk_share!r} must be a share"
            )
        for name in ("tasks", "first_tasks", "strips", "first_strips"):
            mix = getattr(self, name)
            if mix and (min(mix.values()) < 0 or not sum(mix.values())):
                raise ValueError(f"stage {self.name}: {name}={mix!r} must be shares, some above 0")
        if self.first_strips and not self.strips:
            raise ValueError(f"stage {self.name}: first_strips needs strips to move to")
        if not self.growth and (
            self.first_tasks or self.first_strips or self.first_chunk_share < 1
        ):
            raise ValueError(f"stage {self.name}: growth=0 leaves no step for what comes first")

    @property
    def parts(self) -> frozenset[str]:
        """``trainable`` as a set of ``PARTS``."""
        return parts_of(self.trainable)

    def grown(self, step: int) -> float:
        """How far what is scheduled has come at ``step``, from 0 to 1."""
        return min(1.0, step / (self.steps * self.growth)) if self.growth else 1.0

    def most_chunks(self, step: int) -> int:
        """The most chunks in a memory at ``step``."""
        fewest, most = self.chunks
        grown = self.grown(step)
        return most if grown == 1 else round(fewest * (most / fewest) ** grown)

    def chunk_tokens(self, step: int, full: int) -> int:
        """Tokens of a chunk at ``step``, for a model whose chunks have ``full``."""
        first = self.first_chunk_share
        return max(1, round(full * (first + (1 - first) * self.grown(step))))

    def task_shares(self, step: int) -> dict[str, float]:
        """The tasks of ``step`` and the share of each, together 1."""
        return _between(self.first_tasks or self.tasks, self.tasks, self.grown(step))

    def strip_shares(self, step: int, offered: Sequence[int]) -> dict[int, float]:
        """The patches a strip of ``step`` and the share of each, together 1.

        ``offered``: those that the model has. Raises ``ValueError`` where the stage names another.
        """
        end = self.strips or dict.fromkeys(offered, 1.0)
        missing = {*end, *self.first_strips} - set(offered)
        if missing:
            raise ValueError(
                f"stage {self.name}: strips of {sorted(missing)} patches are to be trained, the "
                f"model has geometries of {sorted(offered)}"
            )
        return _between(self.first_strips or end, end, self.grown(step))

    def shrunk(self) -> Stage:
        """Itself in a few short steps, to see that all which it needs is there."""
        fewest, most = self.chunks
        chunks = (min(fewest, 2), min(most, 4))
        return replace(self, steps=2, tokens=min(self.tokens, 256), chunks=chunks, warmup=1)

    def rate(self, step: int, part: str = "language") -> float:
        """The learning rate of ``part``, one of ``RATED``, at ``step`` of this stage."""
        falling = max(1.0, self.steps * self.decay)
        left = min(1.0, (self.steps - step) / falling)
        peak = self.learning_rate * self.rates.get(part, 1.0)
        return peak * min(1.0, (step + 1) / self.warmup) * (0.1 + 0.9 * left)


_Key = TypeVar("_Key")


def _between(
    first: Mapping[_Key, float], last: Mapping[_Key, float], way: float
) -> dict[_Key, float]:
    """The shares ``way`` (0 to 1) from one mix to another; those of nothing are left out."""
    of_first, of_last = sum(first.values()), sum(last.values())
    shares = {
        key: (1 - way) * first.get(key, 0) / of_first + way * last.get(key, 0) / of_last
        for key in dict.fromkeys((*last, *first))
    }
    return {key: share for key, share in shares.items() if share}


_LOOSE = {"vision": 0.3, "rest": 0.5}
_SETTLED = {"vision": 0.1, "rest": 0.25}
"""Rates when sketches can be read: what the language model reads should hold still."""
_FIND = {"read": 0.25, "recite": 0.25, "recall_plain": 0.3, "recall": 0.2}
_REREAD = {"read": 0.5, "recite": 0.35, "recall": 0.15}
_RECALL = {"read": 0.2, "recite": 0.2, "recall_plain": 0.05, "recall": 0.4,
           "recall_dialogues": 0.15}  # fmt: skip
_LENGTHEN = {"read": 0.2, "recite": 0.2, "recall": 0.42, "recall_dialogues": 0.18}
_CALLS = {"calls": 0.5, "formats": 0.06, "recall": 0.18, "read": 0.1, "recite": 0.09,
          "recall_dialogues": 0.07}  # fmt: skip
_PRACTISE = {"calls": 0.42, "formats": 0.06, "recall": 0.2, "read": 0.14, "recite": 0.1,
             "recall_dialogues": 0.08}  # fmt: skip
_NEARLY_STILL = {"vision": 0.1, "rest": 0.3}
_CONVERSE = {"read": 0.12, "recite": 0.1, "recall_text": 0.36, "recall_dialogues_text": 0.1,
             "recall": 0.24, "recall_dialogues": 0.08}  # fmt: skip
_REMEMBER = {"read": 0.14, "recite": 0.13, "recall": 0.36, "recall_dialogues": 0.13,
             "recall_text": 0.06, "recall_dialogues_text": 0.03, "calls": 0.13,
             "formats": 0.02}  # fmt: skip
_SEEK = {"recall": 0.46, "recall_dialogues": 0.25, "recall_text": 0.06,
         "recall_dialogues_text": 0.05, "calls": 0.07, "read": 0.05, "recite": 0.06}  # fmt: skip
_TRACE = {"recall": 0.44, "recall_dialogues": 0.26, "recall_text": 0.04,
          "recall_dialogues_text": 0.04, "calls": 0.06, "read": 0.08, "recite": 0.08}  # fmt: skip
_REACH = {"recall": 0.42, "recall_dialogues": 0.24, "recall_text": 0.03, "topics": 0.06,
          "recall_dialogues_text": 0.03, "calls": 0.06, "read": 0.08, "recite": 0.08}  # fmt: skip
_ALL_RATIOS = {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0}
"""The geometries of the preset nano, for about 2, 4, 6, 8 and 10 text tokens a visual token."""
_TALK = {"read": 0.1, "ocr": 0.1, "recite": 0.1, "continue": 0.15, "recall": 0.28, "topics": 0.02,
         "recall_text": 0.1, "recall_dialogues": 0.12, "recall_dialogues_text": 0.03}  # fmt: skip
_MIX = {"read": 0.15, "recite": 0.2, "continue": 0.35, "recall_plain": 0.15, "recall": 0.15}

RECIPES: dict[str, tuple[Stage, ...]] = {
    "tiny": (
        Stage("read", {"read": 1}, 1150, (1, 1), 2e-3, decay=0.3, glyph_weight=1.0),
        Stage("find", _FIND, 380, (1, 6), 1e-3, decay=0, glyph_weight=0.3, tokens=6144),
        Stage("reread", _REREAD, 780, (1, 4), 1e-3, decay=0.4, glyph_weight=0.3, tokens=6144,
              rates=_LOOSE),
        Stage("ask", _RECALL, 520, (1, 8), 8e-4, decay=0.6, warmup=20, glyph_weight=0.1,
              tokens=6144, rates=_SETTLED),
        Stage("settle", _RECALL, 480, (1, 40), 6e-4, decay=1, warmup=20, glyph_weight=0.1,
              tokens=6144, rates=_SETTLED),
        Stage("lengthen", _LENGTHEN, 620, (1, 80), 6e-4, decay=1, warmup=30, glyph_weight=0,
              tokens=6144, rates=_SETTLED | {"vision": 0.15}),
        Stage("calls", _CALLS, 221, (1, 24), 8e-4, decay=0, warmup=20, glyph_weight=0,
              tokens=5120, rates=_NEARLY_STILL),
        Stage("practise", _PRACTISE, 270, (1, 40), 8e-4, decay=1, warmup=1, glyph_weight=0,
              tokens=5120, rates=_NEARLY_STILL),
        Stage("converse", _CONVERSE, 400, (1, 10), 8e-4, decay=0.3, warmup=30, glyph_weight=0.1,
              tokens=8192, rates={"vision": 0.15, "rest": 0.3}),
        Stage("remember", _REMEMBER, 560, (1, 80), 6e-4, decay=1, warmup=20, glyph_weight=0,
              tokens=8192, rates=_SETTLED | {"vision": 0.15}),
        Stage("seek", _SEEK, 600, (2, 24), 8e-4, decay=0, warmup=20, glyph_weight=0,
              find_weight=0.3, tokens=8192, rates=_SETTLED | {"vision": 0.15}),
        Stage("hold", _SEEK, 600, (1, 80), 8e-4, decay=1, warmup=1, glyph_weight=0,
              find_weight=0.3, tokens=8192, rates=_SETTLED | {"vision": 0.15}),
        Stage("trace", _TRACE, 400, (2, 32), 8e-4, decay=0, warmup=20, glyph_weight=0,
              find_weight=0.3, tokens=8192, rates={"vision": 0.3, "rest": 0.3}),
        Stage("reach", _REACH, 600, (1, 240), 8e-4, decay=1, warmup=1, glyph_weight=0,
              find_weight=0.3, tokens=8192, rates={"vision": 0.2, "rest": 0.25}),
    ),
    "nano": (
        Stage("glyphs", {"read": 1}, 800, (1, 1), 2e-3, glyph_weight=1.0, tokens=16_384,
              growth=0.6, strips=_ALL_RATIOS, first_strips={1: 1}, first_chunk_share=0.5),
        Stage("ocr", {"read": 0.2, "ocr": 0.4, "recite": 0.4}, 1000, (1, 16), 2e-3, decay=0,
              warmup=1, tokens=16_384, growth=0.5, first_tasks={"read": 0.7, "ocr": 0.3}),
        Stage("optical-lm", {"continue": 0.6, "recite": 0.2, "ocr": 0.1, "read": 0.1}, 500, (1, 64),
              1.5e-3, decay=0, warmup=1, glyph_weight=0.3, tokens=32_768, growth=0.5,
              first_tasks={"continue": 0.3, "recite": 0.4, "ocr": 0.2, "read": 0.1}),
        Stage("instruct", _TALK, 800, (1, 64), 1e-3, decay=0, warmup=1, glyph_weight=0.3,
              find_weight=0.3, tokens=32_768, growth=0.5, rates=_SETTLED,
              first_tasks={"recall_plain": 0.4, "recite": 0.3, "ocr": 0.2, "read": 0.1}),
        Stage("extend", _TALK, 150, (1, 256), 7e-4, decay=1, warmup=1, glyph_weight=0.3,
              find_weight=0.3, tokens=32_768, rates=_SETTLED),
    ),
    "comparison": (
        Stage("read", {"read": 1}, 900, (1, 1), 2e-3, decay=0.3, glyph_weight=1.0),
        Stage("find", _FIND, 300, (1, 6), 1e-3, decay=0, glyph_weight=0.3),
        Stage("mix", _MIX, 300, (1, 12), 1e-3, decay=1, warmup=1, glyph_weight=0.3),
    ),
    "twin": (
        Stage("twin", {"read": 0.06, "recite": 0.14, "recall": 0.56, "recall_dialogues": 0.24}, 170,
              (1, 60), 6e-4, decay=1, warmup=10, glyph_weight=0, rates={"rest": 0.25}),
    ),
    "smoke": (
        Stage("read", {"read": 1.0}, 4, (1, 1), 1e-3, tokens=256),
        Stage("recall", {"read": 1, "recite": 1, "continue": 1, "recall": 1}, 4, (2, 4), 1e-3,
              tokens=256),
    ),
    "paper": (
        Stage("warm-up", {"read": 1}, 3000, (1, 1), 1e-3, decay=0.5, warmup=200, glyph_weight=1.0,
              tokens=131_072, trainable="aligner", optimizer="adamw"),
        Stage("ocr", {"read": 0.2, "ocr": 0.5, "recite": 0.3}, 8000, (1, 8), 2e-4, decay=0.2,
              warmup=200, tokens=131_072, trainable="vision+aligner+embeddings", optimizer="adamw",
              growth=0.3, first_tasks={"read": 0.8, "ocr": 0.2}, first_chunk_share=0.5),
        Stage("optical-lm", {"continue": 0.7, "recite": 0.2, "read": 0.1}, 12_000, (1, 64), 5e-5,
              decay=0.3, warmup=500, glyph_weight=0.1, tokens=262_144, optimizer="adamw",
              growth=0.6, first_tasks={"continue": 0.3, "recite": 0.4, "ocr": 0.2, "read": 0.1}),
        Stage("instruct", {"recall": 0.35, "recall_dialogues": 0.25, "recite": 0.1, "read": 0.1,
              "continue": 0.2}, 3000, (1, 64), 1e-4, decay=1.0, warmup=100, glyph_weight=0.1,
              tokens=131_072, trainable="vision+aligner+adapters", optimizer="adamw"),
    ),
}  # fmt: skip
"""The stages of a run by its name. ``paper``: the four of VIST2 (arXiv 2601.10378), for a model
composed of pretrained towers, at sizes chosen here; it was not run. ``nano``: for one GPU and half
an hour, by arithmetic (docs/training.md); it was not run either. ``comparison``: one small budget
for every form of memory, see benchmarks/compare_arms.py; too short to read well. ``twin``: what a
trained model needs to read its memory in another form (docs/quality.md)."""

PRESET_OF = {"nano": "nano"}
"""The preset whose random weights a recipe begins with; "tiny" where it is not named."""
