"""The families of vision-language models that can be engines, by the ``model_type`` of a config.

Loads no model: the catalog asks here whether a folder can be used, and the command line how large
its pages are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vist2_memory.errors import ModelError
from vist2_memory.sketch.page_geometry import PageGeometry

if TYPE_CHECKING:
    from vist2_memory.engine.vlm.family import Family

WIDTH, HEIGHT = 595, 842
"""Pixels of an A4 page at 72 dots an inch."""


def _grid_page(patch: int) -> Callable[[Mapping[str, Any]], PageGeometry]:
    """Glyph's page, rounded up to whole visual tokens of a tower with such patches."""

    def page(vision: Mapping[str, Any]) -> PageGeometry:
        side = vision.get("patch_size", patch) * vision.get("spatial_merge_size", 2)
        return PageGeometry(width=WIDTH, height=HEIGHT, multiple=side)

    return page


def _square_page(side: int, dpi: int) -> Callable[[Mapping[str, Any]], PageGeometry]:
    """A page that is always of the one size that the tower takes."""

    def page(vision: Mapping[str, Any]) -> PageGeometry:
        size = vision.get("image_size", side)
        pixels = size[0] if isinstance(size, list) else size
        return PageGeometry(dpi=dpi, width=pixels, height=pixels, multiple=pixels)

    return page


@dataclass(frozen=True, slots=True)
class Known:
    """A family that has an adapter."""

    title: str
    """Its name, for people."""
    adapter: tuple[str, str]
    """Module below this package, and class."""
    page: Callable[[Mapping[str, Any]], PageGeometry]
    """The default page, from the vision part of a config."""

    def load(self) -> type[Family]:
        """The adapter's class; loads torch and transformers."""
        module, name = self.adapter
        found: type[Family] = getattr(import_module(f"vist2_memory.engine.vlm.{module}"), name)
        return found


FAMILIES: dict[str, Known] = {
    "qwen2_vl": Known("Qwen2-VL", ("grid", "GridFamily"), _grid_page(14)),
    "qwen2_5_vl": Known("Qwen2.5-VL", ("grid", "GridFamily"), _grid_page(14)),
    "qwen3_vl": Known("Qwen3-VL", ("deepstack", "Qwen3VL"), _grid_page(16)),
    "glm4v": Known("GLM-4.1V and Glyph", ("grid", "GLM4V"), _grid_page(14)),
    "gemma3": Known("Gemma 3", ("square", "Gemma3"), _square_page(896, dpi=144)),
    "internvl": Known("InternVL", ("square", "InternVL"), _square_page(448, dpi=72)),
}


def find_family(config: Mapping[str, Any]) -> Known:
    """The family of a model with such a config; raises ``ModelError`` for one without adapter."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        known = ", ".join(f"{family.title} ({name})" for name, family in FAMILIES.items())
        raise ModelError(
            f"a model of type {kind!r} cannot be an engine of visual memory: use a VIST2 model, or "
            f"one of the families {known}"
        )
    return FAMILIES[kind]


def default_page(config: Mapping[str, Any]) -> PageGeometry:
    """The page that a model with such a config is shown unless another is asked for."""
    vision = config.get("vision_config") or {}
    return find_family(config).page(vision)
