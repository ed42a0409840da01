"""Small random checkpoints in the classes and file formats of Qwen3, SigLIP and SigLIP2."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Siglip2Config,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.support.tokenizers import PROSE

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>")
NOT_SPECIAL = ("<tool_call>", "</tool_call>", "<think>", "</think>")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
_WORDS = (  # Qwen's own
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@cache
def qwen_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer built like Qwen3's, of 348 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([PROSE], trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in NOT_SPECIAL])
    return tokenizer


def save_qwen3(folder: Path, *, tied: bool = True, rows: int = 384) -> Path:
    """A Qwen3 checkpoint: weights in several shards, tokenizer, chat template."""
    vocabulary = qwen_tokenizer().get_vocab()
    config = Qwen3Config(
        vocab_size=rows,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        eos_token_id=vocabulary["<|im_end|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config.temperature = 0.6
    model.generation_config.do_sample = True
    model.save_pretrained(folder, max_shard_size="40KB")
    PreTrainedTokenizerFast(
        tokenizer_object=qwen_tokenizer(),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_TEXT_SIZES = _SIZES | {"vocab_size": 50, "max_position_embeddings": 8}
KINDS = ("naflex", "naflex with text", "fixed", "fixed with text")


def save_siglip(folder: Path, kind: str, **changes: Any) -> Path:
    """A vision checkpoint of 16 x 16 pixel patches and 4 x 4 positions; ``kind``: see ``KINDS``."""
    naflex = kind.startswith("naflex")
    vision = _SIZES | ({"num_patches": 16} if naflex else {"image_size": 64}) | changes
    model: PreTrainedModel
    if kind == "naflex":
        model = Siglip2VisionModel(Siglip2VisionConfig(**vision))
    elif kind == "fixed":
        model = SiglipVisionModel(SiglipVisionConfig(**vision))
    elif naflex:
        model = Siglip2Model(Siglip2Config(vision_config=vision, text_config=_TEXT_SIZES))
    else:
        model = SiglipModel(SiglipConfig(vision_config=vision, text_config=_TEXT_SIZES))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder
