"""What every request of a server finds: its memories, gate, figures, and who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from opentelemetry.trace import Span

from vist2_memory.serving.gate import Gate
from vist2_memory.serving.keys import Key, Right
from vist2_memory.serving.metrics import Metrics
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.settings import ServerSettings
from vist2_memory.serving.telemetry import Telemetry, tell_answer
from vist2_memory.serving.tenants import Tenant, Tenants
from vist2_memory.tracing import Observer, together
from vist2_memory.types import Finished


@dataclass(slots=True)
class ServerState:
    """Made when a server starts, on its event loop."""

    tenants: Tenants
    settings: ServerSettings
    gate: Gate
    metrics: Metrics
    telemetry: Telemetry
    draining: bool = field(default=False)
    """Whether it is about to end, and takes nothing new."""


def state_of(request: Request) -> ServerState:
    """The server's state."""
    state: ServerState = request.app.state.vist2
    return state


def observer_of(state: ServerState, answer: Span) -> Observer:
    """Tells figures and traces of the stages of an answer."""
    return together(state.metrics.observer, state.telemetry.stages(answer))


def tell_end(state: ServerState, answer: Span, end: Finished) -> None:
    """Tell figures and traces how an answer ended."""
    state.metrics.answered(end)
    tell_answer(answer, end)


State = Annotated[ServerState, Depends(state_of)]


def _allowed(right: Right) -> Callable[[Request], Tenant]:
    def tenant(request: Request) -> Tenant:
        key: Key = request.state.key
        if right not in key.rights:
            raise Problem(403, f"this key has no right to {right}", "not_allowed")
        return state_of(request).tenants.tenant(key.namespace)

    return tenant


Reader = Annotated[Tenant, Depends(_allowed("read"))]
"""The memories of who may look."""
Writer = Annotated[Tenant, Depends(_allowed("write"))]
"""Those of who may add and ask."""
Admin = Annotated[Tenant, Depends(_allowed("admin"))]
"""Those of who may delete, and see the server's figures."""
