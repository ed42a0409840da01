"""Small random models of published families, saved in the real format.

The models are the real classes of transformers with few and narrow layers; the tokenizer is a real
byte-level one with the family's special tokens; the chat templates are short ones of the family's
form.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from tests.support.tokenizers import PROSE
from vist2_memory.sketch.page import PageGeometry
from vist2_memory.training.tokenizer import train_tokenizer

_PARTS = (
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n" + _PARTS + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML_TOOLS = (
    "{% if tools %}<|im_start|>system\nTools:\n{% for tool in tools %}{{ tool | tojson }}\n"
    '{% endfor %}Answer <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n'
    "{% endif %}" + CHATML
)
GLM = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n" + _PARTS + "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{% else %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n"
    "{% if loop.index0 == 1 and messages[0].role == 'system' %}{{ messages[0].content }}\n\n"
    "{% endif %}" + _PARTS + "<end_of_turn>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
GLM_TOKENS = (
    *("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>"),
    *("<|begin_of_image|>", "<|image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|video|>", "<|end_of_video|>"),
)
GLM_IMAGE = "<|begin_of_image|><|image|><|end_of_image|>"
GEMMA_TOKENS = (
    *("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    *("<start_of_image>", "<image_soft_token>", "<end_of_image>"),
)
INTERN_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "initializer_range": 0.25,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 64,
    "initializer_range": 0.2,
}
SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 112,
    "patch_size": 14,
}


@dataclass(frozen=True)
class Sample:
    """How a small model of one family is made, and how its own processor is."""

    tokens: tuple[str, ...]
    template: str
    end: str
    config: Callable[[dict[str, int]], Any]
    images: Callable[[], Any]
    processor: type
    page: PageGeometry
    named: dict[str, str] = field(default_factory=dict)
    """Special tokens that the family's processor asks its tokenizer for."""
    plain: tuple[str, ...] = ("<think>",)
    """Added tokens that are no special ones."""


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, **more}


def _text(ids: dict[str, int], **more: Any) -> dict[str, Any]:
    return TEXT | {"vocab_size": len(ids) + 20} | more


def _qwen(
    kind: Any, vision: dict[str, Any], *section: int, **more: Any
) -> Callable[[dict[str, int]], Any]:
    rope = _rope(mrope_section=list(section), **more)

    def config(ids: dict[str, int]) -> Any:
        return kind(
            text_config=_text(ids, rope_parameters=rope),
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )

    return config


def _glm(ids: dict[str, int]) -> Any:
    return transformers.Glm4vConfig(
        text_config=_text(
            ids,
            attention_bias=True,  # as the published ones say: vLLM goes by it
            rope_parameters=_rope(mrope_section=[2, 3, 3], partial_rotary_factor=0.5),
        ),
        vision_config=VISION | {"image_size": 112},
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        image_start_token_id=ids["<|begin_of_image|>"],
        image_end_token_id=ids["<|end_of_image|>"],
        video_start_token_id=ids["<|begin_of_video|>"],
        video_end_token_id=ids["<|end_of_video|>"],
    )


def _gemma(ids: dict[str, int]) -> Any:
    return transformers.Gemma3Config(
        text_config=_text(
            ids,
            sliding_window=24,
            query_pre_attn_scalar=32,
            layer_types=["sliding_attention", "full_attention"] * 2,
        ),
        vision_config=SIGLIP | {"vision_use_head": False},
        mm_tokens_per_image=16,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        initializer_range=0.2,
    )


def _internvl(ids: dict[str, int]) -> Any:
    size = {"image_size": [112, 112], "patch_size": [14, 14], "initializer_range": 0.2}
    return transformers.InternVLConfig(
        text_config=_text(ids, model_type="qwen2"),
        vision_config=SIGLIP | size,
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=16,
    )


WINDOWS = {"window_size": 56, "fullatt_block_indexes": [1]}
DEEP = {"depth": 3, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
QWEN2_VISION = {
    "depth": 2,
    "embed_dim": 32,
    "hidden_size": 64,
    "num_heads": 2,
    "mlp_ratio": 2,
    "initializer_range": 0.2,
}
PAGE = PageGeometry(width=224, height=112, margin=4, multiple=28)
SQUARE = PageGeometry(width=112, height=112, margin=4, multiple=112)


def _qwen_sample(config: Any, processor: type, images: Any, page: PageGeometry = PAGE) -> Sample:
    chat = CHATML.replace("IMAGE", QWEN_IMAGE)
    return Sample(QWEN_TOKENS, chat, "<|im_end|>", config, images, processor, page)


SAMPLES: dict[str, Sample] = {
    "qwen2_vl": _qwen_sample(
        _qwen(transformers.Qwen2VLConfig, QWEN2_VISION, 4, 6, 6),
        transformers.Qwen2VLProcessor,
        transformers.Qwen2VLImageProcessorPil,
    ),
    "qwen2_5_vl": _qwen_sample(
        _qwen(transformers.Qwen2_5_VLConfig, VISION | WINDOWS, 4, 6, 6),
        transformers.Qwen2_5_VLProcessor,
        transformers.Qwen2VLImageProcessorPil,
    ),
    "qwen3_vl": replace(
        _qwen_sample(
            _qwen(transformers.Qwen3VLConfig, VISION | DEEP, 8, 4, 4, mrope_interleaved=True),
            transformers.Qwen3VLProcessor,
            # Small pages are below the least size that the published processors leave alone.
            lambda: transformers.Qwen2VLImageProcessorPil(
                patch_size=16, size={"shortest_edge": 256 * 160, "longest_edge": 4096 * 4096}
            ),
            PageGeometry(width=256, height=128, margin=4, multiple=32),
        ),
        template=CHATML_TOOLS.replace("IMAGE", QWEN_IMAGE),
        plain=("<think>", "<tool_call>", "</tool_call>"),
    ),
    "glm4v": Sample(
        GLM_TOKENS,
        GLM.replace("IMAGE", GLM_IMAGE),
        "<|user|>",
        _glm,
        transformers.Glm4vImageProcessorPil,
        transformers.Glm4vProcessor,
        PAGE,
    ),
    "gemma3": Sample(
        GEMMA_TOKENS,
        GEMMA.replace("IMAGE", "<start_of_image>"),
        "<end_of_turn>",
        _gemma,
        lambda: transformers.Gemma3ImageProcessorPil(size={"height": 112, "width": 112}),
        transformers.Gemma3Processor,
        SQUARE,
        {
            "bos_token": "<bos>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    ),
    "internvl": Sample(
        INTERN_TOKENS,
        CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
        "<|im_end|>",
        _internvl,
        lambda: transformers.GotOcr2ImageProcessorPil(
            size={"height": 112, "width": 112}, crop_to_patches=True
        ),
        transformers.InternVLProcessor,
        SQUARE,
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
}


@cache
def _tokenizer(tokens: tuple[str, ...], plain: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer.from_str(train_tokenizer([PROSE], vocab_size=320).to_str())
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tokens])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    return tokenizer


def save_family(folder: Path, kind: str, seed: int = 0) -> Path:
    """A small random model of the family, as ``save_pretrained`` writes it."""
    sample = SAMPLES[kind]
    tokenizer = _tokenizer(sample.tokens, sample.plain)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=sample.end,
        pad_token=sample.tokens[0],
        extra_special_tokens=sample.named,
    )
    if "bos_token" in sample.named:
        fast.bos_token = sample.named["bos_token"]
    fast.chat_template = sample.template
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = sample.config(tokenizer.get_vocab())
        model = transformers.AutoModelForImageTextToText.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():  # made as ones or zeros: count too
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
        model.generation_config.eos_token_id = tokenizer.token_to_id(sample.end)
        model.save_pretrained(folder)
    fast.save_pretrained(folder)
    sample.images().save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()
    return folder


def changed(source: Path, folder: Path, file: str, **values: Any) -> Path:
    """A copy of the model in ``source`` with other ``values`` in one of its JSON files."""
    shutil.copytree(source, folder)
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder
