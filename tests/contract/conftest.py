"""The stores that the contract suite runs over, each against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel as SentinelClient

from tests.support.backends import Backend, InMemory, Redis, SQLite, cluster_client, key
from vist2_memory.store.encryption import Encryption
from vist2_memory.store.seals import Signature

REDIS = [
    "redis",
    "unix",
    "tls",
    pytest.param("sentinel", marks=pytest.mark.servers),
    pytest.param("cluster", marks=pytest.mark.servers),
]
SEALED = [
    "signed memory",
    "signed redis",
    "encrypted memory",
    "encrypted sqlite",
    "encrypted redis",
]


@pytest.fixture(params=["memory", "sqlite", *REDIS, *SEALED])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every store."""
    made = backend_of(request, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", *REDIS, *SEALED[1:]])
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


@pytest.fixture(params=["redis", pytest.param("cluster", marks=pytest.mark.servers)])
def redis_backend(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Where keys are looked at or damaged: one server, and several."""
    made = redis_of(request, request.param)
    yield made
    made.close()


def backend_of(request: pytest.FixtureRequest, folder: Path) -> Backend:
    *how, where = request.param.split()
    made = plain_backend(request, folder, where)
    if how:
        made.seal = (Signature if how == ["signed"] else Encryption)([key(2), key(1)])
    return made


def plain_backend(request: pytest.FixtureRequest, folder: Path, where: str) -> Backend:
    if where == "memory":
        return InMemory()
    if where == "sqlite":
        return SQLite(folder / "memory.db")
    return redis_of(request, where)


def redis_of(request: pytest.FixtureRequest, kind: str) -> Redis:
    if kind == "cluster":
        url = request.getfixturevalue("redis_cluster").url
        return Redis(url, cluster_client(url))
    if kind == "sentinel":
        sentinel = request.getfixturevalue("redis_sentinel")
        asked = SentinelClient([("127.0.0.1", sentinel.sentinel.port)])
        return Redis(sentinel.url, asked.master_for("main"))
    doors = request.getfixturevalue("redis_doors")
    url = {"redis": doors.url, "unix": doors.unix_url, "tls": doors.tls_url}[kind]
    return Redis(url, redis.Redis.from_url(doors.url))
