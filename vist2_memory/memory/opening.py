"""What ``VisualMemory.open`` makes of its arguments: stores, seals, the outbox."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_geometry, find_model, open_engine
from vist2_memory.engine.options import REMOTE, EngineOptions, check_engine
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


Load: TypeAlias = Callable[[], Engine]


def model(
    asked: str | Path | Engine | None,
    engine: str | None,
    options: Mapping[str, Any] | None,
    **choices: Any,
) -> tuple[Path | Engine | None, Load]:
    """The model that is asked for, and what loads its engine; no model for one that is served.

    ``choices``: ``ratio``, ``device`` and ``tensors_dtype``. Raises ``ModelNotFoundError``, and
    ``InvalidInputError`` at once for what cannot be asked of it.
    """
    if isinstance(asked, Engine):
        _refuse("where an engine is made", engine=engine, engine_options=options, **choices)
        return asked, lambda: asked
    kind = check_engine(engine or os.environ.get("VIST2_ENGINE") or "torch")
    if kind.startswith(REMOTE):
        _refuse(f"by the server at {kind}", model=asked, **choices)
        return None, _served(kind, options or {})
    name = asked or os.environ.get("VIST2_MODEL") or DEFAULT_MODEL
    pages = _page_engine(name)
    if pages is not None:
        _refuse("where an engine is made", engine=engine, engine_options=options, **choices)
        return pages, lambda: pages
    folder, ratio = find_model(name), choices["ratio"]
    if ratio is not None:
        find_geometry(folder, ratio)  # one that is not offered is told now
    found = EngineOptions.of(
        options or {},
        device=choices["device"] or os.environ.get("VIST2_DEVICE") or None,
        tensors_dtype=_tensors_dtype(choices["tensors_dtype"]),
    )
    return folder, lambda: open_engine(folder, ratio, engine=kind, options=found)


def _served(url: str, options: Mapping[str, Any]) -> Load:
    from vist2_memory.engine.remote.engine import RemoteEngine

    unknown = sorted(set(options) - {"api_key", "timeout"})
    if unknown:
        raise InvalidInputError(
            f"engine_options has {unknown[0]!r}, which the server chooses: give api_key, timeout"
        )
    return lambda: RemoteEngine(url, **options)


def _refuse(where: str, **choices: Any) -> None:
    """Raise ``InvalidInputError`` for what is chosen elsewhere."""
    for name, value in choices.items():
        if value is not None and name != "device":
            told = f"{value:g}" if isinstance(value, float) else f"{value!r}"
            raise InvalidInputError(f"{name}={told} is chosen {where}: leave it out")


def _tensors_dtype(asked: str | None) -> DType:
    """``asked``, or what the environment says; raises ``InvalidInputError``."""
    dtype = asked or os.environ.get("VIST2_TENSORS_DTYPE") or "bfloat16"
    if dtype not in DTYPES:
        raise InvalidInputError(
            f"tensors_dtype={dtype!r} is not allowed: give one of {', '.join(DTYPES)}"
        )
    return cast(DType, dtype)


def _page_engine(model: str | Path) -> Engine | None:
    """The engine of a name such as ``pages:openai``; it is light, and made at once."""
    name = str(model)
    return PageEngine(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
