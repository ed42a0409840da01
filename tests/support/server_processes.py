"""``vist2 serve`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.redis_servers import free_port

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])


class ServerProcess:
    """A server with the bundled model; ``key`` opens the namespace ``acme``, with all rights.

    ``keys`` is False: it has none, and lets in who is on this machine.
    """

    def __init__(self, folder: Path, store: str, *options: str, keys: bool = True) -> None:
        self.folder, self._options = folder, options
        self._store, self.port = store, free_port()
        self.key = self.other_key = "none"
        if keys:
            file = folder / "keys.json"
            self.key = self._new_key(file, "acme")
            self.other_key = self._new_key(file, "other")
            self._options = ("--keys", str(file), *options)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def start(self, seconds: float = 60) -> None:
        """Start, and wait until it is ready."""
        command = [sys.executable, "-m", "vist2_memory.cli", "serve", "--port", str(self.port)]
        command += ["--store", self._store, *self._options]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment(), cwd=self.folder
            )
        deadline = time.monotonic() + seconds
        while not self._ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def tell_to_end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it, by force after a while."""
        if self.process is not None and self.process.poll() is None:
            self.tell_to_end()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _new_key(self, keys: Path, namespace: str) -> str:
        command = [sys.executable, "-m", "vist2_memory.cli", "key", "create", "--json"]
        command += ["--keys", str(keys), "--namespace", namespace, "--rights", "read,write,admin"]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=True
        )
        key: str = json.loads(done.stdout)["key"]
        return key

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [PATHS, os.environ.get("PYTHONPATH")]))
        outbox = str(self.folder / "outbox.db")
        return {**os.environ, "PYTHONPATH": path, "VIST2_OUTBOX": outbox, "OMP_NUM_THREADS": "1"}
