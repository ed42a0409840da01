"""A VIST2 model as a folder in the format of transformers."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedModel

from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import END, MARKS, PAD

CHAT_TEMPLATE = (
    "{%- set marks = " + json.dumps(MARKS) + " -%}"
    "{%- for message in messages -%}{{- marks[message.role] + message.content -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- marks['assistant'] -}}{%- endif -%}"
)
"""The transcript's form in the language of chat templates; it does not escape content."""


def write_checkpoint(
    model: PreTrainedModel,
    tokenizer: Vist2Tokenizer,
    folder: Path,
    max_shard_size: str = "5GB",
) -> None:
    """Write weights (safetensors, as they are), config, tokenizer and chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": END,
                "pad_token": PAD,
                "clean_up_tokenization_spaces": False,
            },
            indent=2,
        )
        + "\n"
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
