"""``Vist2ForConditionalGeneration``: vision tower, aligner, language model.

The towers are transformers' own. Knows nothing of fonts, chunks, stores or sessions: patches and
token ids come in, logits go out. Source of the idea: VIST2, arXiv 2601.10378; joining the patches
of a strip is ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    Cache,
    GenerationMixin,
    PreTrainedModel,
    Qwen3ForCausalLM,
    Siglip2VisionModel,
)
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import CausalLMOutputWithPast

from vist2_memory.model.config import Vist2Config
from vist2_memory.sketch.geometry import SketchGeometry


class Vist2Aligner(nn.Module):
    """Joins the patches of each strip into one visual token: ``v = tanh(x W + b)``.

    Each geometry of the model has a projection of its own. With one patch a strip this is the
    aligner of the paper.
    """

    def __init__(self, config: Vist2Config) -> None:
        super().__init__()
        vision: Any = config.vision_config
        text: Any = config.text_config
        self.patches_per_strip, *further = [
            geometry.patches_per_strip for geometry in config.sketch_geometries
        ]
        self.projection = nn.Linear(vision.hidden_size * self.patches_per_strip, text.hidden_size)
        self.further = nn.ModuleDict(
            {str(joined): nn.Linear(vision.hidden_size * joined, text.hidden_size)
             for joined in further}
        )  # fmt: skip

    def forward(self, hidden_states: Tensor, patches_per_strip: int | None = None) -> Tensor:
        """(batch, patches, vision hidden size) to (batch, strips, text hidden size).

        ``patches_per_strip``: of one of the model's geometries; None: of the default one. Raises
        ``ValueError`` for another.
        """
        joined = patches_per_strip or self.patches_per_strip
        if joined != self.patches_per_strip and str(joined) not in self.further:
            raise ValueError(
                f"patches_per_strip={joined}: the model has no aligner for such strips, only for "
                f"those of {', '.join([str(self.patches_per_strip), *self.further])} patches"
            )
        batch, patches, size = hidden_states.shape
        strips = hidden_states.reshape(batch, patches // joined, size * joined)
        own = joined == self.patches_per_strip
        return torch.tanh((self.projection if own else self.further[str(joined)])(strips))


class Vist2PreTrainedModel(PreTrainedModel):
    """What transformers wants to know of the family."""

    config: Vist2Config
    config_class = Vist2Config
    base_model_prefix = "vist2"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["Qwen3DecoderLayer", "Siglip2EncoderLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.get_text_config().initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Vist2ForConditionalGeneration(Vist2PreTrainedModel, GenerationMixin):
    """Reads sketches and text, writes text."""

    def __init__(self, config: Vist2Config) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        text: Any = config.text_config
        self.vision_tower = Siglip2VisionModel(vision)
        self.aligner = Vist2Aligner(config)
        self.language_model = Qwen3ForCausalLM(text)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        head: nn.Module = self.language_model.get_output_embeddings()
        return head

    def canvas(self, geometry: SketchGeometry | None = None) -> Tensor:
        """The tower's positions on a full sketch, shape (lines * patches a line, hidden size).

        Every sketch is the top left part of one canvas, so that a line has the same positions
        whatever stands below it; they equal the stock tower's for a sketch of all lines.
        """
        embeddings = self.vision_tower.embeddings
        geometry = geometry or self.config.sketch_geometry
        lines, across = geometry.max_lines, geometry.patches_per_line
        side = embeddings.position_embedding_size
        table = embeddings.position_embedding.weight.reshape(side, side, -1)
        if (side, side) == (lines, across):
            return table.reshape(lines * across, -1)
        shape: Any = torch.tensor([[lines, across]])
        return embeddings.resize_positional_embeddings(table, shape, lines * across)[0]

    def encode(
        self, patches: Tensor, patch_mask: Tensor, geometry: SketchGeometry | None = None
    ) -> Tensor:
        """Sketches to visual tokens.

        ``patches``: float, shape (sketches, patches, patch size), in raster order, padded on the
        right; ``patch_mask``: bool, shape (sketches, patches), true where there is a patch;
        ``geometry``: how they were drawn, by default in the model's default geometry.
        Returns shape (sketches, patches / patches a strip, text hidden size); the padded ones are
        without meaning.
        """
        tower, geometry = self.vision_tower, geometry or self.config.sketch_geometry
        weight = tower.embeddings.patch_embedding.weight
        hidden = tower.embeddings.patch_embedding(patches.to(weight.dtype))
        hidden = hidden + self.canvas(geometry)[: patches.shape[1]]
        mask = create_bidirectional_mask(
            config=tower.config, inputs_embeds=hidden, attention_mask=patch_mask
        )
        encoded = tower.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        visual_tokens: Tensor = self.aligner(
            tower.post_layernorm(encoded), geometry.patches_per_strip
        )
        return visual_tokens

    def embed(self, input_ids: Tensor, visual_tokens: Tensor | None) -> Tensor:
        """Token embeddings, with ``visual_tokens`` (count, hidden size) at the visual places."""
        embeds: Tensor = self.get_input_embeddings()(input_ids)
        places = input_ids == self.config.visual_token_id
        count = 0 if visual_tokens is None else visual_tokens.shape[0]
        if int(places.sum()) != count:
            raise ValueError(
                f"input_ids has {int(places.sum())} places for visual tokens, {count} were given"
            )
        if visual_tokens is None:
            return embeds
        return embeds.masked_scatter(places[..., None], visual_tokens.to(embeds.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        patches: Tensor | None = None,
        patch_mask: Tensor | None = None,
        visual_tokens: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits for interleaved visual tokens and text.

        ``input_ids`` (batch, length) holds ``visual_token_id`` where visual tokens go, in order:
        those of ``patches`` (see :meth:`encode`; of the default geometry), or ready-made ones,
        ``visual_tokens`` of shape (count, hidden size). A mask of four dimensions should be a float
        one. Raises ``ValueError`` when places and visual tokens do not match.
        """
        if inputs_embeds is None:
            if patches is not None and patch_mask is not None:
                strips = patch_mask[:, :: self.aligner.patches_per_strip]
                visual_tokens = self.encode(patches, patch_mask)[strips]
            if input_ids is None:
                raise ValueError("either input_ids or inputs_embeds must be given")
            inputs_embeds = self.embed(input_ids, visual_tokens)
        output: CausalLMOutputWithPast = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        return output

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """For transformers' own ``generate``: visual tokens go in once, with the prompt."""
        prepare: Any = super().prepare_inputs_for_generation  # type: ignore[misc]
        inputs: dict[str, Any] = prepare(*args, **kwargs)
        cache = inputs.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            inputs |= dict.fromkeys(("patches", "patch_mask", "visual_tokens"))
        return inputs


AutoConfig.register("vist2", Vist2Config)
AutoModel.register(Vist2Config, Vist2ForConditionalGeneration)
AutoModelForImageTextToText.register(Vist2Config, Vist2ForConditionalGeneration)
