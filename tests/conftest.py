"""What all tests share: a redis-server of their own, and an environment that reaches nothing else.

Redis is real and always there: where the program is missing, tests fail and say how to get it.
A server that these fixtures did not start is never connected to, so none can be flushed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before any test module imports huggingface_hub, which reads it at import.
os.environ["HF_HUB_OFFLINE"] = "1"

# A deadline per example would measure the machine, not the code.
settings.register_profile("vist2", deadline=None)
settings.load_profile("vist2")

START_DEADLINE = 10.0
"""Seconds a redis-server may take until it answers."""


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The developer's own settings, home folders and tracing stay out of the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VIST2_STORE", "VIST2_MODEL", "VIST2_DEVICE"):
            patch.delenv(name, raising=False)
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("LANGSMITH_TRACING", "false")
        patch.setenv("LANGCHAIN_TRACING_V2", "false")
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Small models run fastest on few threads; PyTorch is never imported for this alone."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(min(2, os.cpu_count() or 1))


class RedisServer:
    """A redis-server on a free port of 127.0.0.1, without persistence, in a folder of its own.

    `start` after `stop` or `kill` takes the same port again, so that clients can reconnect; the
    data are gone then, unless it was started with `start("--appendonly", "yes")` both times.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail(
                "redis-server is not on PATH. `make test` installs it; the stores are tested "
                "against a real server only.",
                pytrace=False,
            )
        self.folder = folder
        self.port = _free_port()
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str) -> None:
        """Start the server with more command line options, and wait until it answers."""
        if self.running:
            raise RuntimeError("this redis-server runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            self._program,
            *("--bind", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--dir", str(self.folder)),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--daemonize", "no"),
            *options,
        ]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C reaches pytest, which then stops the server itself.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_DEADLINE
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.stop()
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"redis-server did not answer on port {self.port}:\n{tail}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Shut down in order (SIGTERM); does nothing where the server does not run."""
        self.resume()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End at once (SIGKILL), as in a crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._paused = False

    def pause(self) -> None:
        """Stop answering while connections stay open (SIGSTOP): a server that hangs."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Go on after `pause` (SIGCONT)."""
        if self._paused and self.running:
            self._signal(signal.SIGCONT)
        self._paused = False

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("this redis-server does not run")
        self._process.send_signal(number)

    def _answers(self) -> bool:
        """Whether *this* process answers, and not another server that took the port first."""
        if self._process is None:
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                return b"process_id:%d\r\n" % self._process.pid in connection.recv(65536)
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _started(folder: Path) -> RedisServer:
    """A running server; another port is tried where someone took the free one first."""
    for attempt in range(3):
        server = RedisServer(folder)
        try:
            server.start()
        except RuntimeError as error:
            if attempt == 2 or "in use" not in str(error):
                raise
        else:
            return server
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one server for the whole run. Tests keep apart by namespaces of their own."""
    server = _started(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may stop, kill or pause it."""
    server = _started(tmp_path / "redis")
    yield server
    server.stop()
