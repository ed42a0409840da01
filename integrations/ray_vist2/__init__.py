"""Visual memory on many machines, with Ray: replicas of the server, and documents read in bulk.

``serve run ray_vist2:build_app store=redis://... replicas=2``, and :func:`ingest`. The extra
``ray`` installs what it needs. The public names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray_vist2.deployment import build_app
    from ray_vist2.encoding import Failure
    from ray_vist2.ingestion import Ingested, ingest
    from ray_vist2.options import ReplicaOptions

_HOME = {
    "Failure": "ray_vist2.encoding",
    "Ingested": "ray_vist2.ingestion",
    "ReplicaOptions": "ray_vist2.options",
    "build_app": "ray_vist2.deployment",
    "ingest": "ray_vist2.ingestion",
}

__all__ = ["Failure", "Ingested", "ReplicaOptions", "build_app", "ingest"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
