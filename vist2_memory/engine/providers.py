"""How hosted models look at images: the page that suits each, and what it costs.

The measures are the providers' published rules for the models named, not measurements; newer
generations count otherwise. A page is drawn so that none of them scales it, because that would blur
small type. Type is 12 pixels, a third larger than what trained readers take, and 15 for Gemini,
whose tokens cover more pixels each. Knows no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vist2_memory.errors import ModelNotFoundError
from vist2_memory.sketch.page_geometry import PageGeometry


@dataclass(frozen=True, slots=True)
class Provider:
    """A family of hosted models that count images alike."""

    name: str
    """As in ``pages:openai``."""
    geometry: PageGeometry
    """The page that it reads without scaling."""
    tokens: Callable[[int, int], int]
    """Tokens that an image of so many pixels across and down is counted as."""
    max_pages: int
    """Pages to send at most: below the limits on images and bytes a request."""


def openai_tiles(width: int, height: int) -> int:
    """Tokens by tiles of 512 pixels, as GPT-4o, GPT-4.1 and GPT-5 count at high detail.

    An image is fitted into 2048 x 2048, then its short side to 768; 85 and 170 a tile (the numbers
    of GPT-4o; others differ in price, not in shape). https://platform.openai.com/docs/guides/images
    """
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return 85 + 170 * _tiles(round(width * scale), round(height * scale), 512)


def openai_patches(width: int, height: int) -> int:
    """Tokens by patches of 32 pixels, 1,536 at most, as the mini and nano models of GPT-4.1 and
    GPT-5 count, before each model's own factor. https://platform.openai.com/docs/guides/images
    """
    return min(1536, _tiles(width, height, 32))


def anthropic(width: int, height: int) -> int:
    """Pixels over 750, about one for each 28 x 28; 1,568 pixels a side and 1,600 tokens at most.

    https://docs.anthropic.com/en/docs/build-with-claude/vision
    """
    scale = min(1.0, 1568 / max(width, height))
    return min(1600, -(-round(width * scale) * round(height * scale) // 750))


def gemini(width: int, height: int) -> int:
    """258 for each tile of 768 pixels, or for an image that has 384 a side at most.

    https://ai.google.dev/gemini-api/docs/image-understanding
    """
    if max(width, height) <= 384:
        return 258
    return 258 * _tiles(width, height, 768)


def _tiles(width: int, height: int, side: int) -> int:
    return -(-width // side) * -(-height // side)


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            PageGeometry(dpi=96, width=768, height=2048, margin=16, multiple=32),
            openai_tiles,
            max_pages=100,
        ),
        Provider(
            "openai-patches",
            PageGeometry(dpi=96, width=1024, height=1536, margin=16, multiple=32),
            openai_patches,
            max_pages=100,
        ),
        Provider(
            "anthropic",
            PageGeometry(dpi=96, width=784, height=1512, margin=14, multiple=28),
            anthropic,
            max_pages=60,
        ),
        Provider(
            "gemini",
            PageGeometry(dpi=120, width=1536, height=1536, margin=24, multiple=768),
            gemini,
            max_pages=32,
        ),
    )
}


def find_provider(name: str) -> Provider:
    """The provider called ``name``; raises ``ModelNotFoundError``."""
    if name not in PROVIDERS:
        raise ModelNotFoundError(
            f"no pages for {name!r}: give one of {', '.join(f'pages:{name}' for name in PROVIDERS)}"
        )
    return PROVIDERS[name]
