"""The memories of a server: one a namespace, all over one store and one engine."""

from __future__ import annotations

import threading
from collections import OrderedDict

from vist2_memory.engine.base import Engine
from vist2_memory.memory import VisualMemory
from vist2_memory.memory.lately import LatelyUsed
from vist2_memory.memory.passing import Passing
from vist2_memory.serving.answers import LastAnswers
from vist2_memory.store.base import Store

OPEN_AT_ONCE = 256
CACHE_BYTES = 64 * 2**20
"""Of visual tokens that each namespace holds beside the store."""


class Tenant:
    """What one namespace is served with."""

    def __init__(self, store: Store, engine: Engine, namespace: str) -> None:
        self.memory = VisualMemory.open(
            store, model=engine, namespace=namespace, cache_bytes=CACHE_BYTES
        )
        self.sent = LatelyUsed(CACHE_BYTES)
        """Visual tokens of memories that are kept elsewhere."""
        self.answers = LastAnswers()
        self.passing = Passing(engine, namespace=namespace, cache_bytes=CACHE_BYTES)

    def close(self) -> None:
        """Write what waits; store and engine stay open."""
        self.memory.close()
        self.passing.close()


class Tenants:
    """Opens what a namespace needs at its first use; the least recently used are closed."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self.store, self.engine = store, engine
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Tenant] = OrderedDict()

    def tenant(self, namespace: str) -> Tenant:
        """What ``namespace`` is served with."""
        with self._lock:
            found = self._open.get(namespace)
            if found is None:
                found = self._open[namespace] = Tenant(self.store, self.engine, namespace)
                self._close_oldest()
            self._open.move_to_end(namespace)
            return found

    def close(self) -> None:
        """Close all that was opened here."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _close_oldest(self) -> None:
        """Let go of those that were not used for long; answers in progress hold their own."""
        while len(self._open) > OPEN_AT_ONCE:
            _, oldest = self._open.popitem(last=False)
            oldest.memory.flush()
