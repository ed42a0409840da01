"""What happens to a server during a soak: its Redis and itself are ended and come back."""

from __future__ import annotations

import random
import time
from typing import Any

import gevent

from tests.support.redis_servers import RedisServer
from tests.support.server_processes import ServerProcess


class Weather:
    """Ends Redis now and then, in order or at once, and in the middle the server too."""

    def __init__(
        self, server: ServerProcess, redis: RedisServer, minutes: float, every_s: float, seed: int
    ) -> None:
        self._server, self._redis = server, redis
        self._rng = random.Random(seed)
        self._every = every_s
        self._began = time.monotonic()
        self._ends = self._began + 60 * minutes
        self._middle = self._began + 30 * minutes
        self.events: list[dict[str, Any]] = []
        self._blowing = gevent.spawn(self._blow)

    def settle(self) -> None:
        """Wait until all that was ended is back; raises what went wrong here."""
        self._blowing.get()

    def _blow(self) -> None:
        restarted = False
        while (now := time.monotonic()) < self._ends - self._every:
            wait = self._rng.uniform(0.7, 1.3) * self._every
            if not restarted and now + wait >= self._middle:
                gevent.sleep(max(0.0, self._middle - now))
                self._restart_server()
                restarted = True
                continue
            gevent.sleep(wait)
            self._restart_redis(self._rng.random() < 0.5)

    def _restart_redis(self, at_once: bool) -> None:
        told = self._begun("redis killed" if at_once else "redis told to end")
        if at_once:
            self._redis.kill()
        else:
            self._redis.stop()
        away = self._rng.choice([0.0, 0.5, 2.0, 5.0])
        gevent.sleep(away)
        self._redis.start()
        told["away_seconds"] = away

    def _restart_server(self) -> None:
        told = self._begun("server told to end")
        process = self._server.process
        assert process is not None
        began = time.monotonic()
        self._server.tell_to_end()
        told["exit_status"] = process.wait(120)
        told["drained_seconds"] = round(time.monotonic() - began, 1)
        self._server.start(within_s=300.0)  # clients take the processor meanwhile
        told["ready_after_seconds"] = round(time.monotonic() - began, 1)

    def _begun(self, what: str) -> dict[str, Any]:
        self.events.append({"at_seconds": round(time.monotonic() - self._began), "event": what})
        return self.events[-1]
