"""The configuration of a VIST2 model: two towers, an aligner, and how text is drawn for it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from transformers import PreTrainedConfig, Qwen3Config, Siglip2VisionConfig

from vist2_memory.model.finder import Finder
from vist2_memory.sketch.geometry import SketchGeometry


class Vist2Config(PreTrainedConfig):
    """What a checkpoint says about itself. The geometry of its sketches is part of it."""

    model_type = "vist2"
    has_no_defaults_at_init: ClassVar[bool] = True  # asked by transformers before 5.20 alone
    sub_configs: ClassVar[dict[str, Any]] = {
        "text_config": Qwen3Config,
        "vision_config": Siglip2VisionConfig,
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    """The language model, a Qwen3 configuration."""
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    """The vision tower, a Siglip2 vision configuration; its patches are the geometry's."""
    geometry: dict[str, Any] | None = None
    """Cells, lines, patches and strips of a sketch; see ``SketchGeometry``. The default one."""
    geometries: list[dict[str, Any]] | None = None
    """Further ones that the model was trained on: the same patches, joined to other strips."""
    chunk_tokens: int = 64
    """Text tokens that are drawn as one sketch."""
    keep_recent_chunks: int = 1
    """Full chunks of newest text that stay text, beside the one in progress."""
    max_visual_tokens: int = 1024
    """Visual tokens of history that the model was trained to read at once."""
    ink: tuple[float, float] | list[float] = (0.0, 1.0)
    """The pixel values of paper and of ink."""
    quotes: list[list[str]] | None = None
    """How a quote opens and closes in the answers that it was trained to give, in pairs; None for a
    model that does not answer by quoting."""
    finder: dict[str, int] | None = None
    """The heads that it was trained to look with at what it is about to quote, see ``Finder``: a
    ``layer``, and the ``first`` of them and the ``end`` behind the last; None for other models."""
    visual_token_id: int = 8
    """The token that stands where a visual token goes."""

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.text_config, PreTrainedConfig):
            self.text_config = Qwen3Config(**(self.text_config or {}))
        if not isinstance(self.vision_config, PreTrainedConfig):
            self.vision_config = Siglip2VisionConfig(**(self.vision_config or {}))
        try:
            self.geometry = SketchGeometry(**(self.geometry or {})).to_dict()
            self.geometries = [SketchGeometry(**g).to_dict() for g in self.geometries or ()]
        except TypeError as error:
            raise ValueError(
                f"geometry={self.geometry!r}, geometries={self.geometries!r}: {error}"
            ) from error
        kwargs.setdefault("tie_word_embeddings", self.text_config.tie_word_embeddings)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        self._check()

    def _check(self) -> None:
        self._check_geometries()
        vision: Any = self.vision_config
        patch = vision.num_channels * vision.patch_size**2
        if patch != self.sketch_geometry.patch_size:
            raise ValueError(
                f"the vision tower takes patches of {patch} values "
                f"(num_channels={vision.num_channels}, patch_size={vision.patch_size}), the "
                f"geometry draws patches of {self.sketch_geometry.patch_size} pixels"
            )
        if math.isqrt(vision.num_patches) ** 2 != vision.num_patches:
            raise ValueError(
                f"num_patches={vision.num_patches} must be a square: the tower's position table is"
            )
        text: Any = self.text_config
        if self.max_visual_tokens >= text.max_position_embeddings:
            raise ValueError(
                f"max_visual_tokens={self.max_visual_tokens} leaves no room for text: the language "
                f"model has {text.max_position_embeddings} positions"
            )
        if not 0 <= self.visual_token_id < text.vocab_size:
            raise ValueError(
                f"visual_token_id={self.visual_token_id} is not in the vocabulary of "
                f"{text.vocab_size} tokens"
            )
        for name in ("chunk_tokens", "max_visual_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1")
        if not all(len(pair) == 2 and all(pair) for pair in self.quotes or ()):
            raise ValueError(f"quotes={self.quotes!r} must be pairs: how a quote opens and closes")
        self._check_finder()
        if self.keep_recent_chunks < 0:
            raise ValueError(f"keep_recent_chunks={self.keep_recent_chunks!r} must be 0 or more")

    def _check_finder(self) -> None:
        text: Any = self.text_config
        try:
            finder = self.finding
        except TypeError as error:
            raise ValueError(
                f"finder={self.finder!r} must say layer, first and end: {error}"
            ) from error
        if finder is None:
            return
        group = text.num_attention_heads // text.num_key_value_heads
        if not 0 <= finder.layer < text.num_hidden_layers:
            raise ValueError(
                f"finder={self.finder!r}: the language model has {text.num_hidden_layers} layers"
            )
        if not 0 <= finder.first < finder.end <= text.num_attention_heads or (
            finder.first // group != (finder.end - 1) // group
        ):
            raise ValueError(
                f"finder={self.finder!r} must be heads that share keys: of the "
                f"{text.num_attention_heads} heads, each {group} do"
            )

    def _check_geometries(self) -> None:
        default, *further = self.sketch_geometries
        strips = [each.patches_per_strip for each in self.sketch_geometries]
        if len(set(strips)) < len(strips):
            raise ValueError(f"the geometries must differ in patches_per_strip, which are {strips}")
        for other in further:
            for name in ("cell_width", "cell_height", "cells_per_patch"):
                if getattr(other, name) != getattr(default, name):
                    raise ValueError(
                        f"all geometries of a model have the same patches: {name} is "
                        f"{getattr(default, name)} in the default one and {getattr(other, name)} "
                        f"in that of patches_per_strip={other.patches_per_strip}"
                    )

    @property
    def sketch_geometry(self) -> SketchGeometry:
        """``geometry`` as an object."""
        return SketchGeometry(**(self.geometry or {}))

    @property
    def sketch_geometries(self) -> list[SketchGeometry]:
        """All geometries that the model was trained on, the default first."""
        return [self.sketch_geometry, *(SketchGeometry(**g) for g in self.geometries or ())]

    @property
    def finding(self) -> Finder | None:
        """``finder`` as an object."""
        return None if self.finder is None else Finder(**self.finder)

    def get_text_config(self, *args: Any, **kwargs: Any) -> PreTrainedConfig:
        """The language model's part, which decides about generation."""
        assert isinstance(self.text_config, PreTrainedConfig)
        return self.text_config
