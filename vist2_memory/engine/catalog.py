"""Model names to checkpoint folders, and folders to engines.

Finding loads no model, so that a wrong name fails at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from vist2_memory.engine.base import Engine
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.vlm.families import find_family
from vist2_memory.errors import InvalidInputError, ModelError, ModelNotFoundError, Vist2Error
from vist2_memory.model.ratios import choose, geometries_of
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.geometry import SketchGeometry

DEFAULT_MODEL = "vist2-tiny"
VIST2 = "vist2"
"""The ``model_type`` of this project's own checkpoints."""

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
_LOG_IN = (
    "if it is private or gated, accept its terms on the hub and log in with `hf auth login` or "
    "HF_TOKEN; else "
)
_PARTS = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")


def find_model(name: str | Path) -> Path:
    """The folder of a model: a bundled one's by its name, a checkpoint's, or a snapshot of one on
    the Hugging Face hub, from its local cache or downloaded: ``owner/name``, or
    ``owner/name@revision`` for a commit, tag or branch of it.

    Raises ``ModelNotFoundError`` when there is none or when it lacks its parts, and ``ModelError``
    when it is of a kind that no engine runs.
    """
    bundled = Path(str(resources.files("vist2_memory").joinpath("assets", str(name))))
    is_path = isinstance(name, Path) or "/" in name or name.startswith(".")
    folder = Path(name) if is_path or not bundled.is_dir() else bundled
    if not folder.is_dir():
        if isinstance(name, str) and (hub := _HUB_ID.fullmatch(name)):
            folder = _from_hub(hub[1], hub[2])
        else:
            raise ModelNotFoundError(f"no model {str(name)!r}: give {_offered()}")
    for part in ("config.json", "tokenizer.json"):
        if not (folder / part).is_file():
            raise ModelNotFoundError(f"the model folder {folder} has no {part}")
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFoundError(f"the model folder {folder} has no weights (*.safetensors)")
    check_kind(read_config(folder))
    return folder


def find_geometry(folder: Path, ratio: float | None) -> SketchGeometry:
    """The geometry of the VIST2 checkpoint in ``folder`` that compresses about ``ratio`` times.

    None: its default one. Raises ``InvalidInputError`` when it was trained on none such, and
    ``ModelError`` for a bad config.
    """
    refuse_ratio(folder, ratio)
    geometries, chunk_tokens = find_measures(folder)
    return choose(geometries, Vist2Tokenizer.load(folder), chunk_tokens, ratio)


def refuse_ratio(folder: Path, ratio: float | None) -> None:
    """Raise ``InvalidInputError`` for a ``ratio`` where none can be chosen: of pages."""
    kind = read_config(folder).get("model_type")
    if ratio is not None and kind != VIST2:
        raise InvalidInputError(
            f"ratio={ratio:g} cannot be chosen for {folder.name}, a {kind} model: only VIST2 "
            "checkpoints are trained on several; how a page is drawn decides it here"
        )


def find_measures(folder: Path) -> tuple[list[SketchGeometry], int]:
    """The geometries of the checkpoint in ``folder``, the default first, and its tokens a chunk.

    Raises ``ModelError`` for a bad config.
    """
    config = read_config(folder)
    try:
        return geometries_of(config), int(config["chunk_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / 'config.json'} is not a VIST2 model's: {error!r}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` in ``folder``; raises ``ModelError``."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is no configuration: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is no configuration: it holds no object")
    return config


def check_kind(config: dict[str, Any]) -> None:
    """Raise ``ModelError`` unless some engine runs models with such a config."""
    if config.get("model_type") != VIST2:
        find_family(config)


def open_engine(
    folder: Path,
    ratio: float | None = None,
    device: str | None = None,
    *,
    engine: str = "torch",
    options: EngineOptions | None = None,
) -> Engine:
    """Load the model in ``folder`` into the engine that runs its kind.

    ``ratio``: see :func:`find_geometry`. ``engine``: see :func:`check_engine`. ``device``: one for
    ``options`` that name none.
    """
    refuse_ratio(folder, ratio)
    asked = options or EngineOptions()
    asked = replace(asked, device=asked.device or device)
    if read_config(folder).get("model_type") != VIST2:
        return _open_stock(folder, engine, asked)
    if engine != "torch":
        from vist2_memory.engine.vllm.engine import VLLMEngine

        return VLLMEngine(folder, where=engine, ratio=ratio, options=asked)
    if asked.vllm:
        raise InvalidInputError(
            f"vllm={dict(asked.vllm)!r} needs engine='vllm', the engine is {engine!r}: name it, or "
            "leave these out"
        )
    from vist2_memory.engine.torch import TorchEngine  # loads torch

    return TorchEngine(folder, ratio=ratio, options=asked)


def _open_stock(folder: Path, engine: str, asked: EngineOptions) -> Engine:
    """The engine of a vision-language model; raises ``InvalidInputError`` for what it has not."""
    if engine != "torch":
        from vist2_memory.engine.vllm.pages import VLLMPagesEngine

        return VLLMPagesEngine(folder, where=engine, options=asked)
    for name in ("kv_dtype", "weights", "compile", "vllm"):
        if value := getattr(asked, name):
            raise InvalidInputError(
                f"{name}={value!r} is for VIST2 checkpoints and vLLM, {folder.name} is a "
                f"{read_config(folder).get('model_type')} model: leave it out, or name "
                "engine='vllm'"
            )
    from vist2_memory.engine.vlm.engine import VLMEngine

    return VLMEngine(
        folder, device=asked.device, dtype=asked.dtype, tensors_dtype=asked.tensors_dtype
    )


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    assets = Path(str(resources.files("vist2_memory").joinpath("assets")))
    if not assets.is_dir():
        return []
    return sorted(folder.name for folder in assets.iterdir() if (folder / "config.json").is_file())


def _offered() -> str:
    return (
        f"the name of a bundled model ({', '.join(bundled_models())}), the folder of a VIST2 "
        "checkpoint or of a vision-language model, or the id of one on the Hugging Face hub "
        "(as in 'Qwen/Qwen3-VL-8B-Instruct')"
    )


def _from_hub(name: str, revision: str | None) -> Path:
    """The snapshot of a model on the hub; its config is read before anything large is fetched."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        check_kind(
            read_config(Path(hf_hub_download(name, "config.json", revision=revision)).parent)
        )
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_PARTS)))
    except Vist2Error:
        raise
    except Exception as error:  # also those of the client's transport, which have no common base
        said = str(error).strip().splitlines() or [type(error).__name__]
        hint = _LOG_IN if isinstance(error, RepositoryNotFoundError) else ""
        raise ModelNotFoundError(
            f"no model {name!r}: it is no folder here, and the hub did not give it ({said[0]}); "
            f"{hint}give {_offered()}"
        ) from error
