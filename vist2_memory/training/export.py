"""A finished model as a checkpoint folder, ready to be bundled or loaded."""

from __future__ import annotations

import json
from pathlib import Path

from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.transcript import END, MARKS, PAD

CHAT_TEMPLATE = (
    "{%- set marks = " + json.dumps(MARKS) + " -%}"
    "{%- for message in messages -%}{{- marks[message.role] + message.content -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- marks['assistant'] -}}{%- endif -%}"
)
"""The transcript's form in the language of chat templates; it does not escape content."""


def save_checkpoint(
    model: Vist2ForConditionalGeneration, tokenizer: Vist2Tokenizer, folder: Path
) -> None:
    """Write weights (bfloat16 safetensors), config, tokenizer and chat template into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    model.bfloat16().save_pretrained(folder)
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


def save_language_model(model: Vist2ForConditionalGeneration, folder: Path) -> None:
    """Write the language model alone, as an ordinary Qwen3 checkpoint that any engine loads."""
    model.language_model.save_pretrained(folder)
