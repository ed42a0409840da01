"""Running a server until it is told to end; then answers in progress are ended, and no more."""

from __future__ import annotations

import logging
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vist2_memory.serving.settings import ServerSettings, check_host

log = logging.getLogger(__name__)


class Draining(uvicorn.Server):
    """Tells its application that it is about to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._told = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At the first signal, finish what was begun; at a second SIGINT, end at once.

        The signal is not raised again afterwards, as uvicorn would: the end is a good one.
        """
        self._told.state.vist2.draining = True
        log.info("ending", extra={"signal": signal.Signals(sig).name})
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def run(app: FastAPI, host: str, port: int, settings: ServerSettings) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; raises ``InvalidInputError`` for an open door."""
    check_host(host, settings.keys)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_keep_alive=75,
    )
    Draining(config, app).run()
