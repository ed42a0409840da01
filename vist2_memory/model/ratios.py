"""Which of a model's geometries compresses by about how much.

How many text tokens a visual token stands for depends on the text. So that a ratio can be asked for
before there is any, it is told by a sample of common English in the model's own tokens. Loads no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.geometry import SketchGeometry
from vist2_memory.text.chunking import SpanTokenizer

TOLERANCE = 0.15
"""How far, as a share of it, a geometry's ratio may be from the one that is asked for."""

SAMPLE = (
    "The ferry was late again, so we had time to look around the harbour. An old man was mending a "
    "net beside the customs house; he told us that his brother had left for Canada in 1952 and had "
    "written every month since then. \u201cHe never learned to spell,\u201d he said, and laughed. "
    "We bought bread, two kilos of apples and a newspaper, and found a table in the shade. At a "
    "quarter past eleven the bell rang at last. Nobody seemed to be in a hurry: people picked up "
    "their bags, finished what they were saying, and walked slowly towards the water. My sister "
    "wanted to sit on the upper deck, where the wind was strong and the view was better, and I "
    "went with her, although I had promised to call the office before noon. "
)
"""English as it is written every day."""


def geometries_of(config: Mapping[str, Any]) -> list[SketchGeometry]:
    """The geometries in a checkpoint's ``config.json``, the default first.

    Raises ``TypeError`` or ``ValueError`` for measures that are none.
    """
    return [SketchGeometry(**g) for g in (config["geometry"], *(config.get("geometries") or ()))]


def ratio_of(geometry: SketchGeometry, tokenizer: SpanTokenizer, chunk_tokens: int) -> float:
    """Text tokens of ``SAMPLE`` a visual token; half of a chunk's last strip is empty, about."""
    cells = chunk_tokens * len(SAMPLE) / len(tokenizer.spans(SAMPLE))
    return chunk_tokens / (cells / geometry.cells_per_strip + 0.5)


def choose(
    geometries: Sequence[SketchGeometry],
    tokenizer: SpanTokenizer,
    chunk_tokens: int,
    ratio: float | None,
) -> SketchGeometry:
    """The one of ``geometries`` whose ratio is nearest to ``ratio``; the first for None.

    Raises ``InvalidInputError`` when none is within ``TOLERANCE``, with those that there are.
    """
    if ratio is None:
        return geometries[0]
    offered = {ratio_of(g, tokenizer, chunk_tokens): g for g in geometries}
    nearest = min(offered, key=lambda own: abs(own - ratio))
    if not abs(nearest - ratio) <= TOLERANCE * nearest:
        listed = ", ".join(f"{own:.1f}" for own in sorted(offered))
        raise InvalidInputError(
            f"ratio={ratio:g}: the model was trained on no geometry that gives about so many text "
            f"tokens a visual token; it offers {listed}"
        )
    return offered[nearest]
