"""The models that speed is measured with, and histories for them.

How long a step takes does not depend on what the weights say, so those of the larger sizes are
random: made once a run, written in bfloat16 into a temporary folder, and loaded as any checkpoint.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer

from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model, read_config
from vist2_memory.engine.loading import no_progress_bar
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.checkpoint import write_checkpoint
from vist2_memory.model.config import Vist2Config
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.presets import PRESETS, SOURCES
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.text.chunking import chunk_id
from vist2_memory.text.transcript import END, MARKS, PAD, RESERVED, VISUAL
from vist2_memory.types import Chunk

BUNDLED = "bundled"
TOWERS: dict[str, dict[str, int]] = {
    "B/16": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "L/16": {},
}
"""Vision towers by name: what they change in a preset, which has SigLIP2 L/16."""
_BLOCK = 1_048_573
"""Random numbers that are drawn; a prime, so that no two rows of a matrix are the same."""
_QUESTION = 16
"""Text tokens of a question, about."""


@dataclass(frozen=True, slots=True)
class History:
    """What both sides read: chunks, and the newest text that ends with a question."""

    chunks: tuple[Chunk, ...]
    tail: str
    asked: int
    """Text tokens that were asked for; what the model can read may be less."""

    @property
    def text(self) -> str:
        """All of it, as the text twin reads it."""
        return "".join(chunk.text for chunk in self.chunks) + self.tail


@contextmanager
def opened_engine(
    name: str, tower: str | None, history: int, options: EngineOptions
) -> Iterator[tuple[TorchEngine, Path]]:
    """The engine of ``name`` (``bundled``, a size, a folder), and the folder of its checkpoint.

    ``tower``: of a size, by its name in ``TOWERS``; ``history``: text tokens that it must have
    positions for. Raises ``InvalidInputError`` for a name or a tower that is none.
    """
    if name not in SOURCES:
        if tower is not None:
            raise InvalidInputError(
                f"tower={tower!r} is chosen for models of random weights ({', '.join(SOURCES)}); "
                f"{name} has its own: leave it out"
            )
        folder = find_model(DEFAULT_MODEL if name == BUNDLED else name)
        if (kind := read_config(folder).get("model_type")) != "vist2":
            raise InvalidInputError(f"{name} is a {kind} model: speed is measured of VIST2 models")
        with closing(TorchEngine(folder, options=options)) as engine:
            yield engine, folder
        return
    config = sized_config(name, tower or default_tower(name), history)
    with TemporaryDirectory(prefix="vist2-speed-") as made:
        folder = random_checkpoint(config, Path(made) / name)
        with closing(TorchEngine(folder, options=options)) as engine:
            yield engine, folder


def default_tower(name: str) -> str:
    """The vision tower of the size ``name``, unless another is asked for."""
    return "B/16" if name == "0.6B" else "L/16"


def sized_config(name: str, tower: str, history: int) -> Vist2Config:
    """The preset ``name`` with a tower, positions for ``history`` text tokens and an answer, and
    the marks where the bundled tokenizer has them."""
    if tower not in TOWERS:
        raise InvalidInputError(f"tower={tower!r} is none of {', '.join(TOWERS)}")
    values = copy.deepcopy(PRESETS[name])
    text = values["text_config"]
    text["max_position_embeddings"] = max(text["max_position_embeddings"], 2 * history)
    text |= {"eos_token_id": RESERVED.index(END), "pad_token_id": RESERVED.index(PAD)}
    values["vision_config"] |= TOWERS[tower]
    values["visual_token_id"] = RESERVED.index(VISUAL)
    values["max_visual_tokens"] = text["max_position_embeddings"] // 2
    return Vist2Config(**values)


def random_checkpoint(config: Vist2Config, folder: Path) -> Path:
    """Write a checkpoint of random bfloat16 weights with :func:`wide_tokenizer`; its folder."""
    with torch.device("meta"), no_progress_bar():
        kind: Any = Vist2ForConditionalGeneration
        model = kind._from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    model.tie_weights()
    draw = torch.Generator().manual_seed(0)
    block = torch.empty(_BLOCK).normal_(std=0.02, generator=draw).bfloat16()
    for name, weight in model.named_parameters():
        flat = weight.data.view(-1)
        if weight.ndim == 1:
            flat.fill_(1.0 if name.endswith("weight") else 0.0)  # of a norm, or a bias
            continue
        for start in range(0, len(flat), _BLOCK):
            part = flat[start : start + _BLOCK]
            part.copy_(block[: len(part)])
    tokenizer = wide_tokenizer(config.get_text_config().vocab_size)
    for table in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
        table.data[: _own_tokens()].mul_(0.01)  # it says those that are added, see the tokenizer
    with no_progress_bar():
        write_checkpoint(model, tokenizer, folder)
    return folder


def wide_tokenizer(size: int) -> Vist2Tokenizer:
    """The bundled tokenizer in a vocabulary of ``size`` tokens.

    No text is read as one of those that are added. They are written as words of four letters, so
    that what a random model says is about as long as text: a space and four letters a token.
    """
    state = _bundled_tokenizer()
    words: dict[str, int] = state["model"]["vocab"]
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    free = (
        word
        for number in count()
        if (word := "\u0120" + "".join(letters[number // 26**i % 26] for i in range(4)))
        not in words
    )
    words |= {next(free): token for token in range(_own_tokens(), size)}
    return Vist2Tokenizer(Tokenizer.from_str(json.dumps(state)))


def _bundled_tokenizer() -> dict[str, Any]:
    path = resources.files("vist2_memory") / "assets" / DEFAULT_MODEL / "tokenizer.json"
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state


def _own_tokens() -> int:
    """Ids that the bundled tokenizer uses."""
    state = _bundled_tokenizer()
    marks = (int(token["id"]) for token in state["added_tokens"])
    words: dict[str, int] = state["model"]["vocab"]
    return 1 + max(*words.values(), *marks)


def made_history(engine: TorchEngine, tokens: int, ratio: float) -> History:
    """``tokens`` text tokens of common short words, cut into chunks that cost ``ratio`` times fewer
    visual tokens, and a tail as long as the text that a session keeps, with a question in it.

    Raises ``InvalidInputError`` for a ratio that words of three and four letters cannot have.
    """
    draw, size = random.Random(0), engine.spec.chunk_tokens
    words = _words(engine.processor.tokenizer)
    cells = engine.processor.geometry.cells_per_strip
    low, high = size / (5 * size // cells), size / -(-4 * size // cells)
    if not low <= ratio <= high:
        raise InvalidInputError(
            f"ratio={ratio:g} cannot be had of words of 3 or 4 letters: {low:.2f} to {high:.2f} can"
        )
    chunks, visual = list[Chunk](), 0
    for number in range(1, max(1, tokens // size) + 1):
        own = round(number * size / ratio) - visual
        visual += own
        text = _said(words, size, own * cells - 4 * size, draw)
        chunks.append(Chunk(chunk_id(text), text, engine.chunker.count(text)))
    recent = _said(words, max(engine.spec.keep_recent - _QUESTION, 1), 0, draw)
    return History(tuple(chunks), recent + question(0), tokens)


def talked_history(engine: TorchEngine, tokens: int) -> History:
    """About ``tokens`` text tokens of the demonstration's conversation over and over, never twice
    the same, and a tail with a question; fewer where the model cannot read so many."""
    spec, said = engine.spec, _conversation()
    text, start, visual, chunks = "", 0, 0, list[Chunk]()
    while sum(chunk.tokens for chunk in chunks) < tokens:
        while len(text) < start + 20 * spec.chunk_tokens + 1000:  # more than a chunk is long
            text += next(said)
        chunk = engine.chunker.first(text, start)
        assert chunk is not None
        visual += engine.cost(chunk)
        if visual > spec.max_visual_tokens:
            break
        chunks.append(chunk)
        start += len(chunk.text)
    rest = text[start:]
    kept = max(spec.keep_recent - _QUESTION, 1)
    recent = rest[: engine.chunker.tokenizer.spans(rest[: 8 * kept])[:kept][-1][1]]
    return History(tuple(chunks), recent + question(0), tokens)


def question(number: int) -> str:
    """Question ``number``, which begins otherwise than those before, and the mark for an answer."""
    words = ("Now", "So", "And", "But", "Then", "Well", "Or", "Also")
    first = f"{words[number % len(words)]} {number}: "
    return f"{MARKS['user']}{first}what did I say about this before?{MARKS['assistant']}"


def _said(words: dict[int, list[str]], tokens: int, long: int, draw: random.Random) -> str:
    """``tokens`` words, of which ``long`` at most have four letters, the others three."""
    lengths = [5 if number < long else 4 for number in range(tokens)]
    draw.shuffle(lengths)
    return "".join(draw.choice(words[length]) for length in lengths)


def _words(tokenizer: Vist2Tokenizer) -> dict[int, list[str]]:
    """Words of three and four letters that are one token each with the space before them."""
    found: dict[int, list[str]] = {4: [], 5: []}
    for token, letters in enumerate(tokenizer.tokens()):
        word = letters.replace("\u0120", " ", 1)
        plain = word[:1] == " " and word[1:].isascii() and word[1:].isalpha() and word.islower()
        if plain and len(word) in found and tokenizer.encode(f" a{word} a")[1:-1] == [token]:
            found[len(word)].append(word)
    return found


def _conversation() -> Iterator[str]:
    script = json.loads((resources.files("vist2_memory") / "assets" / "demo.json").read_text())
    said = [message for day in script["days"] for message in day["messages"]]
    for number in count():
        message = said[number % len(said)]
        yield f"{MARKS[message['role']]}{message['content']} ({number})"
