"""Model names to checkpoint folders. Loads no model, so that a wrong name fails at once."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from vist2_memory.errors import ModelError, ModelNotFoundError
from vist2_memory.model.ratios import choose, geometries_of
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry

DEFAULT_MODEL = "vist2-tiny"


def find_model(name: str | Path) -> Path:
    """The folder of a bundled model's name, or ``name`` itself when it is a checkpoint folder.

    Raises ``ModelNotFoundError`` when there is none, or when it lacks its parts.
    """
    bundled = Path(str(resources.files("vist2_memory").joinpath("assets", str(name))))
    is_path = isinstance(name, Path) or "/" in name or name.startswith(".")
    folder = Path(name) if is_path or not bundled.is_dir() else bundled
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"no model {str(name)!r}: give the name of a bundled model "
            f"({', '.join(bundled_models())}) or the folder of a VIST2 checkpoint"
        )
    for part in ("config.json", "tokenizer.json"):
        if not (folder / part).is_file():
            raise ModelNotFoundError(f"the model folder {folder} has no {part}")
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFoundError(f"the model folder {folder} has no weights (*.safetensors)")
    return folder


def find_geometry(folder: Path, ratio: float | None) -> SketchGeometry:
    """The geometry of the checkpoint in ``folder`` that compresses about ``ratio`` times.

    None: its default one. Raises ``InvalidInputError`` when it was trained on none such, and
    ``ModelError`` for a bad config.
    """
    geometries, chunk_tokens = find_measures(folder)
    return choose(geometries, Vist2Tokenizer.load(folder), chunk_tokens, ratio)


def find_measures(folder: Path) -> tuple[list[SketchGeometry], int]:
    """The geometries of the checkpoint in ``folder``, the default first, and its tokens a chunk.

    Raises ``ModelError`` for a bad config.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return geometries_of(config), int(config["chunk_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'} is not a VIST2 model's: {error!r}") from error


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    assets = Path(str(resources.files("vist2_memory").joinpath("assets")))
    if not assets.is_dir():
        return []
    return sorted(folder.name for folder in assets.iterdir() if (folder / "config.json").is_file())
