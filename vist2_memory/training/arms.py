"""The models that visual memory is compared with, as folders: saved, found out about, loaded.

Each is an ordinary Qwen3 checkpoint with its tokenizer, beside a file that says how a chunk became
vectors in its training, and the weights of its convolution if it has one.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vist2_memory.errors import ModelError
from vist2_memory.model.checkpoint import write_checkpoint
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.training.forms import Tokens, make_form
from vist2_memory.training.student import Student

DESCRIPTION = "memory.json"
"""Names the form of memory, and holds the VIST2 configuration whose sketches say how many vectors a
chunk becomes."""
WEIGHTS = "memory.safetensors"


def save_arm(student: Student, tokenizer: Vist2Tokenizer, folder: Path) -> None:
    """Write what ``student`` learned with a form of memory that draws nothing; bfloat16."""
    assert student.tokens is not None
    model = student.finish()
    write_checkpoint(model.language_model.bfloat16(), tokenizer, folder)
    config = json.loads(model.config.to_json_string())
    described = json.dumps({"memory": student.memory, "config": config}, indent=2)
    (folder / DESCRIPTION).write_text(described + "\n")
    weights = {k: v.bfloat16().contiguous() for k, v in student.tokens.state_dict().items()}
    if weights:
        save_file(weights, folder / WEIGHTS)


def is_arm(folder: Path) -> bool:
    """Whether ``folder`` says how its model remembers."""
    return (folder / DESCRIPTION).is_file()


def load_form(folder: Path, tokenizer: Vist2Tokenizer) -> tuple[Vist2Config, Tokens]:
    """The configuration and the form of memory of the arm in ``folder``, float32, on the CPU.

    Raises ``ModelError`` for a folder of something else, or with weights that do not fit.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            f"{folder} has no {DESCRIPTION}: it is not what vist2 train --memory text, mean-pooled "
            "or convolution writes"
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        config = Vist2Config.from_dict(described["config"])
        renderer = SketchRenderer(config.sketch_geometry)
        size = config.get_text_config().hidden_size
        form = make_form(described["memory"], renderer, tokenizer, size)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} describes no form of memory: {error!r}") from error
    if form is None:
        raise ModelError(f"{path} describes a visual model, which is loaded with --model")
    if form.state_dict():
        try:
            form.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder / WEIGHTS} does not fit {path}: {error}") from error
    return config, form
