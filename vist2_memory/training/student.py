"""The model in training: its embeddings, its auxiliary head, and which of its parts are trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from vist2_memory.errors import InvalidInputError, Vist2Error
from vist2_memory.model.masks import additive
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.training.attention import SEEN_ONLY, tiles_of
from vist2_memory.training.batches import Batch, Form
from vist2_memory.training.finding import attention_on_sought, finders_of
from vist2_memory.training.forms import VISUAL, Sketches, make_form
from vist2_memory.training.spelling import SpelledEmbedding

SPELLED_MOST = 32_768
"""The largest vocabulary whose letters are held as one matrix."""
NAMED_EVERY = 4
"""Of so many visual tokens one has its glyphs named; the head has more outputs than the rest."""
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of the language model that get LoRA adapters."""


class Student(nn.Module):
    """The model in training: with spelled embeddings or its own, and a head that names glyphs.

    Where chunks are not drawn (see ``forms``) it has no such head, vision tower and aligner.
    """

    def __init__(
        self,
        model: Vist2ForConditionalGeneration,
        tokenizer: Vist2Tokenizer,
        spelled: bool | None = None,
        memory: str = VISUAL,
    ) -> None:
        """``memory``: one of ``forms.MEMORIES``; ``model`` loses its tower if it is not visual.
        ``spelled``: whether spelled embeddings stand in for the model's table.

        None: where they can, that is with a head tied to a small table that the tokenizer fills,
        as models trained from scratch have; a pretrained table is trained as it is. Raises
        ``InvalidInputError`` where they are asked for and cannot.
        """
        super().__init__()
        self.model = model
        text: Any = model.config.text_config
        table, head = self._own_tables()
        fits = head is table and len(tokenizer) == len(table) <= SPELLED_MOST
        if spelled and not fits:
            raise InvalidInputError(
                f"spelled embeddings need a tied head and a table of at most {SPELLED_MOST} rows, "
                f"all used: the table has {len(table)} rows, the tokenizer {len(tokenizer)} tokens"
            )
        use = fits if spelled is None else spelled
        self.spelled: SpelledEmbedding | None = (
            SpelledEmbedding(tokenizer.tokens(), text.hidden_size) if use else None
        )
        self.renderers = {
            geometry.patches_per_strip: SketchRenderer(geometry)
            for geometry in model.config.sketch_geometries
        }
        self.renderer = self.renderers[model.config.sketch_geometry.patches_per_strip]
        self.memory = memory
        self.finders = finders_of(text)
        self.tokens = make_form(memory, self.renderer, tokenizer, text.hidden_size)
        if self.tokens is None:
            self.glyphs = len(self.renderer.atlas.pixels)
            # The characters of a short strip are named by the same rows as the first of a long one.
            cells = max(own.geometry.cells_per_strip for own in self.renderers.values())
            self.glyph_head = nn.Linear(text.hidden_size, cells * self.glyphs)
        else:
            del model.vision_tower, model.aligner
        self._adapters: tuple[Any, ...] = ()  # in a tuple, so that it is no part of the module

    def _own_tables(self) -> tuple[Any, Any]:
        embeddings: Any = self.model.get_input_embeddings()
        return embeddings.weight, self.model.get_output_embeddings().weight

    def forward(
        self, batch: Batch, table: Tensor | None = None, find: bool = False
    ) -> dict[str, Tensor]:
        """Sums over a batch, with ``table`` as the embeddings of all tokens, or the model's own.

        The weighted loss of its ``text`` and how many tokens are ``right``; the loss of its
        ``glyph`` names and how many ``glyphs_right``; with ``find``, the weighted loss of looking
        at what answers are about, as ``find``, and how many times most of the attention is there:
        on all that is said as ``found``, on what is said next as ``found_next``.
        """
        model = self.model
        vectors, head = self._own_tables() if table is None else (table, table)
        memory = self._remember(batch, vectors)
        embeds = F.embedding(batch.input_ids, vectors)
        places = batch.input_ids == model.config.visual_token_id
        embeds = embeds.masked_scatter(places[..., None], memory.to(embeds.dtype))
        dtype = torch.bfloat16 if torch.is_autocast_enabled(embeds.device.type) else embeds.dtype
        language_model, allowed = model.language_model.model, batch.allowed
        seen_only = language_model.config._attn_implementation == SEEN_ONLY
        find = find and len(batch.seekers) > 0
        out = language_model(
            inputs_embeds=embeds,
            attention_mask=additive(allowed, dtype),
            position_ids=batch.position_ids,
            use_cache=False,
            output_hidden_states=find,
            **({"tiles": tiles_of(allowed)} if seen_only else {}),
        )
        hidden = out.last_hidden_state
        logits = (hidden.flatten(0, 1)[batch.queries] @ head.T).float()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        return {
            "text": (losses * batch.weights).sum(),
            "right": (logits.detach().argmax(-1) == batch.targets).sum(),
            **self._name_glyphs(memory, batch),
            **self._find(out.hidden_states if find else None, batch, allowed),
        }

    def _find(
        self, states: Sequence[Tensor] | None, batch: Batch, allowed: Tensor
    ) -> dict[str, Tensor]:
        """The loss of looking at what is sought; nothing without ``states``, of every layer."""
        if states is None:
            return dict.fromkeys(("find", "found", "found_next"), batch.weights.new_zeros(()))
        model = self.model.language_model.model
        whole, following = (
            attention_on_sought(model, states[finder.layer], batch, allowed, finder.layer, sought)[
                :, finder.heads
            ]
            for finder, sought in zip(self.finders, batch.sought.unbind(1), strict=True)
        )
        missed = -(whole + following).mean(-1)
        return {
            "find": (missed * batch.seeking).sum(),
            "found": _mostly(whole).sum(),
            "found_next": _mostly(following).sum(),
        }

    def _remember(self, batch: Batch, table: Tensor) -> Tensor:
        """The vectors of all chunks of ``batch``, shape (vectors, hidden size)."""
        if self.tokens is not None:
            vectors: Tensor = self.tokens(batch.chunk_ids, batch.runs, batch.windows, table)
            return vectors
        assert batch.geometry is not None
        paper, ink = self.model.config.ink
        patches = batch.patches.float().mul_((ink - paper) / 255).add_(paper)
        strips = batch.patch_mask[:, :: batch.geometry.patches_per_strip]
        return self.model.encode(patches, batch.patch_mask, batch.geometry)[strips]

    def _name_glyphs(self, visual: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss of naming what each visual token shows; nothing where chunks are not drawn."""
        if batch.geometry is None:
            return dict.fromkeys(("glyph", "glyphs_right"), visual.new_zeros(()))
        named = batch.geometry.cells_per_strip * self.glyphs
        weight, bias = self.glyph_head.weight[:named], self.glyph_head.bias[:named]
        first = int(torch.randint(min(NAMED_EVERY, len(visual)), ()))
        some = torch.arange(first, len(visual), NAMED_EVERY, device=visual.device)
        shown = F.linear(visual[some], weight, bias).float().view(-1, self.glyphs)
        drawn = batch.glyphs[some].reshape(-1)
        times = len(visual) / len(some)
        return {
            "glyph": F.cross_entropy(shown, drawn, reduction="sum") * times,
            "glyphs_right": (shown.detach().argmax(-1) == drawn).sum() * times,
        }

    def fits(self, text: str) -> bool:
        """Whether ``text`` fits a sketch in every geometry of the model."""
        return all(renderer.fits(text) for renderer in self.renderers.values())

    def form(self, renderer: SketchRenderer) -> Form:
        """How samples become batches for this model, drawn by ``renderer`` if they are drawn."""
        return self.tokens or Sketches(renderer)

    @property
    def backbone(self) -> PreTrainedModel:
        """The part that runs: the whole model, or its language model where nothing is drawn."""
        return self.model if self.tokens is None else self.model.language_model

    def trains(self, parts: Collection[str]) -> bool:
        """Whether the model has any of ``parts``, beside the head that names glyphs."""
        if "adapters" in parts:
            return True
        return any(part_of(name) in parts for name, _ in self.named_parameters())

    def train_only(self, parts: Collection[str], lora_rank: int = 16) -> None:
        """Freeze all but ``parts`` (see ``stages.PARTS``) and the head that names glyphs.

        LoRA adapters are put in where ``adapters`` are to be trained, and merged into the weights
        where they no longer are. Raises ``Vist2Error`` where peft is not installed.
        """
        if "adapters" in parts and not self._adapters:
            self._adapt(lora_rank)
        if "adapters" not in parts:
            self._merge()
        for name, parameter in self.named_parameters():
            part = part_of(name)
            replaced = part == "embeddings" and self.spelled is not None and "spelled" not in name
            parameter.requires_grad_(not replaced and (part == "glyphs" or part in parts))

    def _adapt(self, rank: int) -> None:
        """LoRA (arXiv 2106.09685): a trained product of two narrow matrices beside each matrix."""
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError as error:
            raise Vist2Error(
                f"LoRA adapters need peft ({error}): pip install 'vist2-memory[lora]'"
            ) from error
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(ADAPTED))
        language_model: Any = self.model.language_model
        self._adapters = (LoraModel(language_model, config, "default"),)

    def _merge(self) -> None:
        for adapters in self._adapters:
            adapters.merge_and_unload()
        self._adapters = ()

    def finish(self) -> Vist2ForConditionalGeneration:
        """The model alone: adapters merged, spelled embeddings added up into its own table."""
        self._merge()
        if self.spelled is not None:
            with torch.no_grad():
                self._own_tables()[0].copy_(self.spelled())
        return self.model


def _mostly(on: Tensor) -> Tensor:
    """Where heads spend most of their attention on what is sought; ``on``: its logarithm."""
    return on.detach().exp().mean(-1) > 0.5


def part_of(name: str) -> str:
    """The part of a student that its parameter ``name`` belongs to: of ``PARTS``, or "glyphs"."""
    if "lora_" in name:
        return "adapters"
    if name.startswith("glyph_head."):
        return "glyphs"
    if name.startswith("spelled.") or "embed_tokens" in name or "lm_head" in name:
        return "embeddings"
    if "vision_tower" in name:
        return "vision"
    return "aligner" if ".aligner." in name else "language"


def make_optimizers(student: Student, kind: str) -> list[torch.optim.Optimizer]:
    """Optimizers of what is trained.

    ``muon``: Muon for the matrices inside the towers, AdamW for embeddings, heads, norms and
    biases. ``adamw``: AdamW for all, as pretrained weights are used to. Each group names its
    ``part``, one of ``stages.RATED``.
    """
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for name, parameter in student.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim == 2 and (".layers." in name or "aligner" in name)
            part = "language" if "language_model" in name else "vision"
            # What is in shards and what is not cannot be stepped together.
            key = part if matrix else "rest", isinstance(parameter, DTensor)
            groups.setdefault(key, []).append(parameter)
    named: list[dict[str, Any]] = [
        {"params": groups[key], "part": key[0]} for key in sorted(groups)
    ]
    inside = [group for group in named if group["part"] != "rest"]
    rest = [group for group in named if group["part"] == "rest"]
    made: list[torch.optim.Optimizer] = []
    if inside and kind == "muon":
        made.append(
            torch.optim.Muon(inside, lr=0.0, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        )
    elif inside:
        made.append(torch.optim.AdamW(inside, lr=0.0, betas=(0.9, 0.95), weight_decay=0.01))
    if rest:
        made.append(torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0))
    return made
