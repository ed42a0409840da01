"""What the steps of a run are trained on, drawn in its own process or ahead of it by workers.

The samples of a step follow from the seed, the process of the run, the stage and the step, and from
the place in streamed text, which comes back with them: any number of workers draws the very same,
and a run goes on exactly. Knows nothing of weights and devices.
"""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import random
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vist2_memory.errors import InvalidInputError
from vist2_memory.sketch.renderer import SketchRenderer
from vist2_memory.training.batches import Batch, Sample, collate, group
from vist2_memory.training.forms import Sketches
from vist2_memory.training.materials import Materials
from vist2_memory.training.stages import Stage
from vist2_memory.training.student import Student
from vist2_memory.training.tasks import TASKS

_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux' ``prctl``."""
Drawn = dict[str, list[Batch]]
"""The micro-batches of a step, by task."""


class Drawer:
    """Draws the steps of one process of a run."""

    def __init__(
        self,
        student: Student,
        materials: Sequence[Materials],
        micro_tokens: int,
        seed: int = 0,
        process: tuple[int, int] = (0, 1),
        workers: int = 0,
    ) -> None:
        """``materials``: taken in turn, one a step; the prose of each has a place of its own.

        ``process``: (which, of how many); ``workers``: processes that draw ahead, 0 for none.
        Raises ``InvalidInputError`` where two workers would have to share a place in the prose.
        """
        self._student = student
        self._materials = list(materials)
        self._micro_tokens = micro_tokens
        self._seed = seed
        self._process = process
        self._workers = workers
        self._places = [own.prose.place() for own in materials]
        streamed = any(place is not None for place in self._places)
        if workers and streamed and len(materials) % workers:
            raise InvalidInputError(
                f"workers={workers}: the text comes in {len(materials)} streams, which so many "
                "workers cannot share alike; take a number that divides it, or 0"
            )

    def steps(self, stage: Stage, first: int) -> Iterator[Drawn]:
        """The steps of ``stage`` from ``first`` on; the place in the text moves with each."""
        made = self._ahead(stage, first) if self._workers else self.make(stage, first)
        for step, (drawn, place) in enumerate(made, first):
            self._places[step % len(self._places)] = place
            yield drawn

    def _ahead(self, stage: Stage, first: int) -> Iterator[tuple[Drawn, Any]]:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns of each fork
        # Forked workers share the text that lies in memory. Steps come as bytes: a file
        # descriptor for each of their many small tensors would be more than a process may have.
        loader: DataLoader[bytes] = DataLoader(
            _Share(self, stage, first),
            batch_size=None,
            num_workers=self._workers,
            multiprocessing_context="fork",
            generator=torch.Generator(),  # the loader takes none of the run's random numbers
            worker_init_fn=partial(_end_with, os.getpid()),
        )
        return map(pickle.loads, loader)

    def make(
        self, stage: Stage, first: int, every: int = 1, forked: bool = False
    ) -> Iterator[tuple[Drawn, Any]]:
        """Each ``every``-th step from ``first`` on, with the place in the text after it.

        ``forked``: an open file is shared with the parent process, and has to be opened anew.
        """
        count = len(self._materials)
        steps = range(first, stage.steps, every)
        for turn in sorted({step % count for step in steps}):
            prose = self._materials[turn].prose
            if forked or prose.place() != self._places[turn]:
                prose.go_to(self._places[turn])
        for step in steps:
            yield self.draw(stage, step), self._materials[step % count].prose.place()

    def draw(self, stage: Stage, step: int) -> Drawn:
        """This process's part of the ``stage.tokens`` tokens of a step.

        All of one task and step are drawn in one geometry.
        """
        which, of = self._process
        rng = random.Random(f"{self._seed}, process {which}, {stage.name}, {step}")
        config = self._student.model.config
        pad, most = config.get_text_config().pad_token_id, stage.most_chunks(step)
        materials = self._materials[step % len(self._materials)]
        materials = materials.cut_to(stage.chunk_tokens(step, config.chunk_tokens))
        drawn: Drawn = {}
        for task, share in stage.task_shares(step).items():
            samples: list[Sample] = []
            renderer = self._renderer(stage, step, rng)
            form = self._student.form(renderer)
            drawn_as = Sketches(renderer)  # whatever its form, a run draws the same
            room = stage.tokens * share / of
            while room > 0:
                chunks = log_uniform(rng, stage.chunks[0], most)
                samples.append(TASKS[task](materials, rng, chunks))
                room -= samples[-1].length(drawn_as)
            drawn[task] = [
                collate(some, form, config.visual_token_id, pad)
                for some in group(samples, self._micro_tokens, form)
            ]
        return drawn

    def _renderer(self, stage: Stage, step: int, rng: random.Random) -> SketchRenderer:
        """Draws in one of the model's geometries; which, is drawn by the stage's shares."""
        renderers = self._student.renderers
        shares = stage.strip_shares(step, list(renderers))
        if len(shares) == 1:
            return renderers[next(iter(shares))]
        [joined] = rng.choices(list(shares), list(shares.values()))
        return renderers[joined]

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to remember, as plain values."""
        return {"seed": self._seed, "prose": list(self._places)}

    def go_on(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, as from :meth:`state`; ``InvalidInputError`` if of other data."""
        for own, place in zip(self._materials, state["prose"], strict=False):
            own.prose.check(place)
        self._seed, self._places = state["seed"], list(state["prose"])


def _end_with(parent: int, worker: int) -> None:
    """Let this process be killed when ``parent`` ends, however that is, where Linux can do so.

    A worker whose parent was killed waits for ever to hand over a step that no pipe has room for.
    """
    try:
        ctypes.CDLL("libc.so.6").prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:  # it ended before
        os._exit(1)


class _Share(IterableDataset[bytes]):
    """The steps that one worker draws, packed."""

    def __init__(self, drawer: Drawer, stage: Stage, first: int) -> None:
        self._drawer, self._stage, self._first = drawer, stage, first

    def __iter__(self) -> Iterator[bytes]:
        worker: Any = get_worker_info()
        first, every = self._first + worker.id, worker.num_workers
        return map(pickle.dumps, self._drawer.make(self._stage, first, every, forked=True))


def log_uniform(rng: random.Random, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, small ones as often as large ones by their ratio."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))
