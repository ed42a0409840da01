"""What ``VisualMemory.open`` makes of its arguments: stores, seals, the outbox."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import open_engine
from vist2_memory.engine.options import EngineOptions, check_engine
from vist2_memory.engine.pages import PREFIX, PageEngine
from vist2_memory.errors import InvalidInputError, StoreUnavailableError, StoreWarning
from vist2_memory.store import JoinedStore, open_store
from vist2_memory.store.base import Store
from vist2_memory.store.formats import DTYPES, DType
from vist2_memory.store.outbox import Outbox, default_path
from vist2_memory.store.sealed import SealedStore, find_seal


def store(
    place: str | Store,
    tensors: str | Store | None,
    ttl: int | None,
    key: str | Sequence[str] | None,
    encryption_keys: str | Sequence[str] | None,
    opened: list[Store],
) -> Store:
    """The store at ``place``, its tensors at ``tensors`` if given, sealed if there are keys.

    What was opened for it, not passed in, is put into ``opened``. Warns of a server that may evict
    logs.
    """
    if isinstance(place, SealedStore) and (key or encryption_keys):
        raise InvalidInputError("the store that was given has keys already: give no others")
    found = _open(place, ttl, opened)
    if tensors is not None:
        found = JoinedStore(found, _open(tensors, ttl, opened, away=True))
    _warn_of_eviction(found)
    seal = None if isinstance(place, SealedStore) else find_seal(key, encryption_keys)
    return found if seal is None else SealedStore(found, seal)


def _open(place: str | Store, ttl: int | None, opened: list[Store], away: bool = False) -> Store:
    if isinstance(place, Store):
        return place
    opened.append(open_store(place, ttl=ttl, away=away))
    return opened[-1]


def _warn_of_eviction(store: Store) -> None:
    try:
        risk = store.eviction()
    except StoreUnavailableError:
        return  # a client that was passed in: whoever uses the log first is told
    if risk is not None:
        warnings.warn(risk, StoreWarning, stacklevel=4)


def outbox(wanted: str | Path | None, store: Store) -> Outbox | None:
    """The outbox at ``wanted``; by default none for a store that ends with this process."""
    if wanted != "default":
        return None if wanted is None else Outbox(wanted)
    path = None if store.identity.startswith("memory://") else default_path()
    return None if path is None else Outbox(path)


def loader(
    model: Path | Engine,
    engine: str | None,
    ratio: float | None,
    device: str | None,
    dtype: DType,
    options: Mapping[str, Any] | None,
) -> Callable[[Path], Engine]:
    """What loads the model; raises ``InvalidInputError`` at once for what cannot be asked of it."""
    if isinstance(model, Engine) and (engine or options):
        asked = f"engine={engine!r}" if engine else "engine_options"
        raise InvalidInputError(f"{asked} is chosen where an engine is made: leave it out")
    kind = check_engine(engine or os.environ.get("VIST2_ENGINE") or "torch")
    found = EngineOptions.of(options or {}, device=device, tensors_dtype=dtype)
    return lambda folder: open_engine(folder, ratio, engine=kind, options=found)


def tensors_dtype(asked: str | None, model: Path | Engine) -> DType:
    """``asked``, or what the environment says; raises ``InvalidInputError``."""
    if isinstance(model, Engine):
        if asked is not None:
            raise InvalidInputError(
                f"tensors_dtype={asked!r} is chosen where an engine is made: leave it out"
            )
        return model.spec.tensors.dtype
    dtype = asked or os.environ.get("VIST2_TENSORS_DTYPE") or "bfloat16"
    if dtype not in DTYPES:
        raise InvalidInputError(
            f"tensors_dtype={dtype!r} is not allowed: give one of {', '.join(DTYPES)}"
        )
    return cast(DType, dtype)


def page_engine(model: str | Path) -> Engine | None:
    """The engine of a name such as ``pages:openai``; it is light, and made at once."""
    name = str(model)
    return PageEngine(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
