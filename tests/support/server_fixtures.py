"""Fixtures of tests with a real server process, named in ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis_servers import RedisServer, started
from tests.support.server_processes import ServerProcess


@pytest.fixture(scope="module")
def server_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Where the server of a module keeps its memory."""
    server = started(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server_process(
    tmp_path_factory: pytest.TempPathFactory, server_redis: RedisServer
) -> Iterator[ServerProcess]:
    """``vist2 serve`` for a module; tests keep apart by sessions of their own."""
    process = ServerProcess(tmp_path_factory.mktemp("server"), server_redis.url)
    try:
        process.start()
        yield process
    finally:
        process.stop()
