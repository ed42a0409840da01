"""Model names to checkpoint folders. Loads no model, so that a wrong name fails at once."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vist2_memory.errors import ModelNotFoundError

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


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    assets = Path(str(resources.files("vist2_memory").joinpath("assets")))
    if not assets.is_dir():
        return []
    return sorted(folder.name for folder in assets.iterdir() if (folder / "config.json").is_file())
