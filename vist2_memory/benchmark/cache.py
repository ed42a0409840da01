"""What cached visual tokens save a stock model: first token from the store against from pixels.

The model is a random Qwen3-VL with the widths of the published 2B one (tower 1,024, language model
2,048, three DeepStack layers) and a quarter of the layers of both (6 of 24 and 7 of 28), so that
the tower costs about what it does there in proportion, and a processor gets through it. How long a
token takes does not depend on what the weights say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
)

from vist2_memory.benchmark.machine import cpu_seconds, machine, versions
from vist2_memory.engine.loading import no_progress_bar
from vist2_memory.engine.vlm.engine import VLMEngine
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.recollection import recollect
from vist2_memory.store.base import Scope
from vist2_memory.store.codec import encode
from vist2_memory.text.transcript import MARKS
from vist2_memory.types import Chunk, Context, GenerationParams, VisualTokens

TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for part in m.content %}{% if part.type == 'image' %}<|vision_start|>"
    "<|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VISION = {
    "depth": 6,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "deepstack_visual_indexes": [1, 3, 5],
}
TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 7,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 32_768,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5_000_000.0,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
}
QUESTION = f"{MARKS['user']}What is my cat called?{MARKS['assistant']}"


def measure_cache(
    store: str = "memory://",
    *,
    pages: int = 2,
    repeats: int = 3,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Time to the first token out of ``pages`` full pages of memory, both ways in turns.

    Cached: the visual tokens are read from the store at ``store`` and checked. Pixels: the same
    chunks are drawn and go through image processor, tower and projector. Ratios are medians over
    ``repeats``, with the smallest and largest in ``range``; of processor time, which a busy machine
    does not change, and beside it of wall-clock time, which counts waiting for the store too.
    """
    with TemporaryDirectory() as folder:
        engine = VLMEngine(random_qwen3_vl(Path(folder)), device="cpu", dtype="bfloat16")
    namespace = f"bench-{uuid4().hex}"
    with VisualMemory.open(store, model=engine, namespace=namespace) as memory:
        scope = Scope(namespace, "session", "cache")
        chunks = _full_pages(engine, pages)
        stored = recollect(memory.store, engine, scope, chunks).visual

        def cached() -> tuple[VisualTokens, ...]:
            found = recollect(memory.store, engine, scope, chunks)
            assert found.cached_visual_tokens == sum(map(len, stored))
            return found.visual

        ways: dict[str, Callable[[], tuple[VisualTokens, ...]]] = {
            "cached": cached,
            "pixels": lambda: tuple(engine.encode(chunks)),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(repeats + 1):  # the first turn warms up and is not counted
            for name, read in ways.items():
                start, start_cpu = time.perf_counter(), cpu_seconds()
                context = Context("", read(), QUESTION, tuple(chunks))
                list(engine.generate(context, GenerationParams(max_tokens=1)))
                if turn:
                    wall[name].append(time.perf_counter() - start)
                    cpu[name].append(cpu_seconds() - start_cpu)
            progress(turn, repeats)
        size = sum(len(encode(tokens, scope)) for tokens in stored)
        memory.store.delete(scope)
    text_tokens = sum(chunk.tokens for chunk in chunks)
    visual_tokens = sum(map(len, stored))
    ratios = _ratios(cpu)
    return {
        "ttft_ratio_pixels_to_cached": median(ratios),
        "bytes_per_1k_text_tokens": size / text_tokens * 1000,
        "bytes_per_1k_characters": size / sum(len(chunk.text) for chunk in chunks) * 1000,
        "range": [min(ratios), max(ratios)],
        "wall_clock_ratio": median(_ratios(wall)),
        "processor_seconds": {name: median(values) for name, values in cpu.items()},
        "wall_clock_seconds": {name: median(values) for name, values in wall.items()},
        "compression_ratio": text_tokens / visual_tokens,
        "text_tokens": text_tokens,
        "visual_tokens": visual_tokens,
        "characters": sum(len(chunk.text) for chunk in chunks),
        "pages": pages,
        "repeats": repeats,
        "store": store.partition(":")[0],
        "threads": torch.get_num_threads(),
        "model": {"vision": VISION, "text": TEXT, "dtype": "bfloat16"},
        "page_geometry": engine.renderer.geometry.to_dict(),
        "machine": machine(),
        "versions": versions(("torch", "transformers", "numpy", "redis")),
    }


def random_qwen3_vl(folder: Path) -> Path:
    """Save a random model of the sizes above with the bundled model's tokenizer; its folder."""
    bundled = resources.files("vist2_memory") / "assets" / "vist2-tiny" / "tokenizer.json"
    tokenizer = Tokenizer.from_str(bundled.read_text(encoding="utf-8"))
    added = [AddedToken(token, special=True) for token in (*TOKENS, IMAGE, VIDEO)]
    tokenizer.add_special_tokens(added)
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    ids = tokenizer.get_vocab()
    config = Qwen3VLConfig(
        text_config=TEXT | {"vocab_size": len(ids)},
        vision_config=VISION,
        image_token_id=ids[IMAGE],
        video_token_id=ids[VIDEO],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    images: Any = Qwen2VLImageProcessorPil(
        patch_size=16, size={"shortest_edge": 65_536, "longest_edge": 16_777_216}
    )
    images.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]), no_progress_bar():
        torch.manual_seed(0)
        model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
        model.generation_config.eos_token_id = ids["<|im_end|>"]
        model.save_pretrained(folder)
    return folder


def _full_pages(engine: VLMEngine, pages: int) -> list[Chunk]:
    """Different pages, each as full as it gets, of the demonstration's conversation."""
    script = json.loads((resources.files("vist2_memory") / "assets" / "demo.json").read_text())
    said = [message for day in script["days"] for message in day["messages"]]
    text = ""
    while True:
        text += "".join(MARKS[message["role"]] + message["content"] for message in said)
        chunks = engine.chunker.cut_all(f"{text}{MARKS['user']}Again, now {len(text)}.")
        if len(chunks) > pages:
            return chunks[:pages]


def _ratios(seconds: dict[str, list[float]]) -> list[float]:
    pairs = zip(seconds["pixels"], seconds["cached"], strict=True)
    return [slow / fast for slow, fast in pairs]
