"""How a server is, and its figures since it started, read out of what Prometheus is told."""

from __future__ import annotations

from dataclasses import dataclass

from vist2_memory.engine.base import EngineSpec
from vist2_memory.serving.metrics import Metrics
from vist2_memory.serving.operations import store_answers
from vist2_memory.serving.state import ServerState

_FIRST = "vist2_first_token_seconds"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether it can be asked, and what runs in it."""

    store_up: bool
    draining: bool
    spec: EngineSpec
    device: str

    @property
    def status(self) -> str:
        """In a word or three."""
        if self.draining:
            return "ending"
        return "ready" if self.store_up else "store unavailable"


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts since the server started; times are seconds."""

    running: int
    waiting: int
    answers: int
    degraded: int
    folds: int
    first_token_mean: float | None
    first_token_most: float | None
    """What 95 of 100 first tokens took at most; a bound of a bucket."""
    text: int
    hits: int
    misses: int
    stood_for: int
    generated: int

    @property
    def visual(self) -> int:
        """Visual tokens that were read."""
        return self.hits + self.misses

    @property
    def hit_share(self) -> float | None:
        """Of the visual tokens, those that were in the store or held here."""
        return self.hits / self.visual if self.visual else None

    @property
    def ratio(self) -> float | None:
        """Text tokens that a visual token stood for."""
        return self.stood_for / self.visual if self.visual else None


async def health_of(state: ServerState) -> Health:
    """Asks the store."""
    engine = state.tenants.engine
    device = str(getattr(engine, "device", "") or "with the engine")
    return Health(await store_answers(state), state.draining, engine.spec, device)


def figures_of(state: ServerState) -> Figures:
    """Of ``state``, now."""
    metrics = state.metrics
    tokens = {
        kind: _value(metrics, "vist2_tokens_total", kind=kind)
        for kind in ("text", "visual_hit", "visual_miss", "stood_for", "generated")
    }
    first = _value(metrics, f"{_FIRST}_count")
    return Figures(
        running=state.gate.running,
        waiting=state.gate.waiting,
        answers=int(
            sum(
                sample.value
                for family in metrics.registry.collect()
                if family.name == "vist2_answers"
                for sample in family.samples
                if sample.name == "vist2_answers_total"
            )
        ),
        degraded=int(_value(metrics, "vist2_degraded_total")),
        folds=int(_value(metrics, "vist2_folds_total")),
        first_token_mean=_value(metrics, f"{_FIRST}_sum") / first if first else None,
        first_token_most=_bound(metrics, 0.95 * first) if first else None,
        text=int(tokens["text"]),
        hits=int(tokens["visual_hit"]),
        misses=int(tokens["visual_miss"]),
        stood_for=int(tokens["stood_for"]),
        generated=int(tokens["generated"]),
    )


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def _bound(metrics: Metrics, count: float) -> float | None:
    """The least bound of a bucket that holds ``count`` first tokens; None beyond the last."""
    for family in metrics.registry.collect():
        if family.name == _FIRST:
            for sample in family.samples:
                bound = sample.labels.get("le")
                if bound is not None and sample.value >= count:
                    return None if bound == "+Inf" else float(bound)
    return None
