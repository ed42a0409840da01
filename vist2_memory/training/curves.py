"""The curves of a training run as a picture."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

from vist2_memory.errors import Vist2Error


def require_matplotlib() -> None:
    """Raise ``Vist2Error`` when matplotlib is not installed: before a run, not after it."""
    if find_spec("matplotlib") is None:
        raise Vist2Error("training draws its curves: pip install 'vist2-memory[train]'")


def draw_curves(metrics: Path, picture: Path) -> None:
    """Plot the metrics of a run: the loss and the share of right tokens, by task, over its steps.

    Raises ``Vist2Error`` when matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    bounds: list[tuple[int, str]] = []
    start = last = 0
    stage = ""
    for line in metrics.read_text().splitlines():
        row = json.loads(line)
        if row["stage"] != stage:
            stage, start = row["stage"], last
            bounds.append((start, stage))
        last = start + row["step"]
        series[row["task"]].append((last, row["text"], row["right"]))
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, column, title in ((axes[0], 1, "loss (nats a token)"), (axes[1], 2, "tokens right")):
        for task, points in sorted(series.items()):
            steps = [point[0] for point in points]
            values = [float(point[column]) for point in points]
            axis.plot(steps, _smooth(values), label=task, linewidth=1)
        for step, name in bounds:
            axis.axvline(step, color="grey", linewidth=0.5)
            axis.annotate(name, (step, 1), xycoords=("data", "axes fraction"), fontsize=8)
        axis.set_xlabel("step")
        axis.set_title(title)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _smooth(values: list[float], keep: float = 0.8) -> list[float]:
    """An exponential moving average."""
    out: list[float] = []
    for value in values:
        out.append(value if not out else keep * out[-1] + (1 - keep) * value)
    return out
