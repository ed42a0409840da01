"""What all tests share: a redis-server of their own, and an environment that reaches nothing else.

Redis is real and always there: where the program is missing, tests fail and say how to get it.
A server that these fixtures did not start is never connected to, so none can be flushed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.redis_servers import Cluster, Doors, RedisServer, Sentinel, started

# Before any test module imports huggingface_hub, which reads it at import.
os.environ["HF_HUB_OFFLINE"] = "1"

# A deadline per example would measure the machine, not the code.
settings.register_profile("vist2", deadline=None)
settings.load_profile("vist2")


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The developer's own settings, home folders and tracing stay out of the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VIST2_STORE", "VIST2_MODEL", "VIST2_DEVICE", "VIST2_OUTBOX"):
            patch.delenv(name, raising=False)
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("LANGSMITH_TRACING", "false")
        patch.setenv("LANGCHAIN_TRACING_V2", "false")
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=40, help="how many writers tests/faults kills (default: 40)"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Small models gain nothing by threads, which wait for each other where a machine is busy.

    PyTorch is never imported for this alone.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def redis_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """One server for the whole run, by TCP, TLS and unix socket."""
    doors = Doors(tmp_path_factory.mktemp("redis"))
    yield doors
    doors.stop()


@pytest.fixture(scope="session")
def redis_url(redis_doors: Doors) -> str:
    """The address of one server for the whole run. Tests keep apart by namespaces of their own."""
    return redis_doors.url


@pytest.fixture(scope="session")
def redis_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinel]:
    """A master, a replica and a Sentinel for the whole run; nobody stops them."""
    sentinel = Sentinel(tmp_path_factory.mktemp("sentinel"))
    yield sentinel
    sentinel.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters with a replica each for the whole run; nobody stops them."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may stop, kill or pause it."""
    server = started(tmp_path / "redis")
    yield server
    server.stop()
