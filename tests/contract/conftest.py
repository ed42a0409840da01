"""The stores that the contract suite runs over, each against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.async_stores import BackgroundLoop
from tests.support.backends import Backend, InMemory, Joined, Redis, SQLite, key, redis_of
from vist2_memory.store.encryption import Encryption
from vist2_memory.store.seals import Signature

SERVERS = pytest.mark.servers
REDIS = [
    "redis",
    "unix",
    "tls",
    pytest.param("sentinel", marks=SERVERS),
    pytest.param("cluster", marks=SERVERS),
    "async redis",
    "async unix",
    "async tls",
    pytest.param("async sentinel", marks=SERVERS),
    pytest.param("async cluster", marks=SERVERS),
]
SEALED = [
    "signed memory",
    "signed redis",
    "encrypted memory",
    "encrypted sqlite",
    "encrypted redis",
]


@pytest.fixture(scope="session")
def background_loop() -> Iterator[BackgroundLoop]:
    """Where the calls of all asynchronous stores run."""
    made = BackgroundLoop()
    yield made
    made.stop()


@pytest.fixture(
    params=["memory", "sqlite", "joined", "async memory", "async sqlite", *REDIS, *SEALED]
)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every store."""
    made = backend_of(request, tmp_path)
    yield made
    made.close()


LASTING = [sealed for sealed in SEALED if "memory" not in sealed]


@pytest.fixture(params=["sqlite", "joined", "async sqlite", *REDIS, *LASTING])
def lasting_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every store that outlives the process."""
    made = backend_of(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def sqlite_backend(tmp_path: Path) -> Iterator[SQLite]:
    made = SQLite(tmp_path / "memory.db")
    yield made
    made.close()


@pytest.fixture(
    params=[
        "redis",
        pytest.param("cluster", marks=SERVERS),
        "async redis",
        pytest.param("async cluster", marks=SERVERS),
    ]
)
def redis_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Redis]:
    """Where keys are looked at or damaged: one server, and several."""
    made = backend_of(request, tmp_path)
    assert isinstance(made, Redis)
    yield made
    made.close()


def backend_of(request: pytest.FixtureRequest, folder: Path) -> Backend:
    """The place that the parameter names; "async": its stores are those for event loops."""
    *how, where = request.param.split()
    made: Backend
    if where == "memory":
        made = InMemory()
    elif where == "sqlite":
        made = SQLite(folder / "memory.db")
    elif where == "joined":
        made = Joined(SQLite(folder / "memory.db"), redis_of(request, "redis"))
    else:
        made = redis_of(request, where)
    if how == ["async"]:
        made.loop = request.getfixturevalue("background_loop")
    elif how:
        made.seal = (Signature if how == ["signed"] else Encryption)([key(2), key(1)])
    return made
