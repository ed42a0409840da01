"""A whole recipe, from folders of text to a checkpoint: what ``vist2 train`` calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.loading import load_language_model, load_model
from vist2_memory.errors import InvalidInputError
from vist2_memory.model.modeling import Vist2ForConditionalGeneration
from vist2_memory.model.presets import SCRATCH, preset
from vist2_memory.model.tokenizer import Vist2Tokenizer
from vist2_memory.sketch.font import default_atlas
from vist2_memory.text.chunking import Chunker
from vist2_memory.training import shards
from vist2_memory.training.arms import is_arm, load_form, save_arm
from vist2_memory.training.curves import draw_curves, require_matplotlib
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.training.devices import Devices, Execution
from vist2_memory.training.dialogues import read_dialogues
from vist2_memory.training.export import save_checkpoint
from vist2_memory.training.forms import MEMORIES, VISUAL, Tokens
from vist2_memory.training.materials import Materials
from vist2_memory.training.stages import PRESET_OF, RECIPES
from vist2_memory.training.streaming import PIECE, open_streams
from vist2_memory.training.student import Student
from vist2_memory.training.synthetic.quoting import QUOTES
from vist2_memory.training.tasks import RECALL
from vist2_memory.training.tokenizer import save_tokenizer, train_tokenizer
from vist2_memory.training.trainer import Progress, Trainer
from vist2_memory.training.widening import widen

TOKENIZER_CHARACTERS = 60_000_000
"""How much text the tokenizer is trained on."""


def train(
    recipe: str,
    data: Path,
    out: Path,
    seed: int = 0,
    start: Path | str | None = None,
    execution: Execution | None = None,
    *,
    memory: str = VISUAL,
    size: str | None = None,
    stream: bool = False,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train ``recipe`` on ``data`` and write the model to ``out/model``; the folder.

    ``start``: a checkpoint folder or a bundled model to go on from, widened to the preset ``size``
    if one is named, instead of random weights of it (default: the recipe's own). ``memory``: the
    form of memory, one of ``forms.MEMORIES``; stages that train only what it lacks are left out,
    all else is the same for each. ``stream``: read the prose while it is needed, instead of loading
    it whole. ``dry_run``: a few short steps of each stage, in ``out/dry-run``, to see that all
    which a run needs is there.

    ``data`` holds ``prose/train-*`` (texts, see ``data.read_texts``) and ``dialogues/*-train*``. A
    run that was stopped goes on from ``out/checkpoint.pt``. Raises ``InvalidInputError`` for an
    unknown recipe, form or size, and ``FileNotFoundError`` when the data is not there.
    """
    require_matplotlib()
    from_scratch = size or PRESET_OF.get(recipe, "tiny")
    for what, name, known in (
        ("recipe", recipe, RECIPES),
        ("form of memory", memory, MEMORIES),
        ("preset of a model from random weights", from_scratch, SCRATCH),
    ):
        if name not in known:
            raise InvalidInputError(f"no {what} {name!r}; there are: {', '.join(known)}")
    stages, characters = RECIPES[recipe], TOKENIZER_CHARACTERS
    if dry_run:
        stages = tuple(stage.shrunk() for stage in stages)
        out, characters = out / "dry-run", characters // 30
    prose_files = find_files(data / "prose", "train-*")
    dialogue_files = find_files(data / "dialogues", "*-train*")
    if recipe == "smoke":
        prose_files = prose_files[:1]
    devices = Devices(execution)
    prose: Sequence[Passages]
    if stream:
        prose = open_streams(prose_files, seed, (devices.rank, devices.world))
    else:
        texts = [text for file in prose_files for text in read_texts(file)]
        prose = [Passages(texts)]
    talks = [dialogue for file in dialogue_files for dialogue in read_dialogues(file)]
    dialogues = [dialogue.text for dialogue in talks]
    torch.manual_seed(seed)
    if start is not None:
        model, tokenizer, form = _begin_from(find_model(start))
        if size is not None:
            if form is not None and form.name == memory and form.state_dict():
                raise InvalidInputError(
                    f"{start} has vectors of its own width for --memory {memory}: --preset cannot "
                    "widen them; leave it out"
                )
            model = widen(model, preset(size))
        config = model.config
    else:
        config = preset(from_scratch)
        model, form = Vist2ForConditionalGeneration(config), None
        with devices.main_first():
            samples = beginnings(prose_files, characters) if stream else texts
            vocabulary = config.get_text_config().vocab_size
            tokenizer = _tokenizer(out, [*samples, *dialogues], vocabulary, characters, seed)
    student = Student(model, tokenizer, memory=memory)
    if start is not None and student.spelled is not None:
        student.spelled.become(model.get_input_embeddings().weight)  # type: ignore[arg-type]
    if student.tokens is not None and form is not None and form.name == memory:
        student.tokens.load_state_dict(form.state_dict())
    chunker = Chunker(tokenizer, config.chunk_tokens, student.fits)
    said = Passages(dialogues)
    materials = [Materials(own, said, tokenizer, chunker, default_atlas(), talks) for own in prose]
    stages = tuple(stage for stage in stages if student.trains(stage.parts))
    trainer = Trainer(student, materials, out, seed, execution)
    trainer.run(stages, progress)
    shards.join(student, keep=devices.main)
    if devices.main:
        if any(RECALL & set(stage.tasks) for stage in stages):
            model.config.quotes = QUOTES
        if any(stage.find_weight for stage in stages):
            model.config.finder = asdict(student.finders[0])
        if student.tokens is None:
            save_checkpoint(student.finish(), tokenizer, out / "model")
        else:
            save_arm(student, tokenizer, out / "model")
        draw_curves(out / "metrics.jsonl", out / "curves.png")
    devices.wait()
    return out / "model"


def _begin_from(
    folder: Path,
) -> tuple[Vist2ForConditionalGeneration, Vist2Tokenizer, Tokens | None]:
    """The model in ``folder`` with its tokenizer, and its form of memory if it draws nothing.

    Such a model gets a vision tower of random weights.
    """
    device, tokenizer = torch.device("cpu"), Vist2Tokenizer.load(folder)
    if not is_arm(folder):
        return load_model(folder, device, torch.float32), tokenizer, None
    config, form = load_form(folder, tokenizer)
    model = Vist2ForConditionalGeneration(config)
    model.language_model = load_language_model(folder, device, torch.float32)
    return model, tokenizer, form


def beginnings(files: Sequence[Path], characters: int) -> Iterator[str]:
    """Texts from the beginning of each file, about ``characters`` characters of all together."""
    for file in files:
        room = characters // len(files)
        for text in read_texts(file, PIECE):
            yield text[:room]
            room -= len(text)
            if room <= 0:
                break


def _tokenizer(
    out: Path, texts: Iterable[str], vocab_size: int, characters: int, seed: int
) -> Vist2Tokenizer:
    """The tokenizer of the run in ``out``, trained on ``characters`` of the texts if it is new."""
    if not (out / "tokenizer.json").exists():
        rng = random.Random(seed)
        shuffled = list(texts)
        rng.shuffle(shuffled)
        share = min(1.0, characters / sum(map(len, shuffled)))
        parts = (text[: int(len(text) * share)] for text in shuffled)
        save_tokenizer(train_tokenizer(parts, vocab_size), out)
    return Vist2Tokenizer.load(out)
