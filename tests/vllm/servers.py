"""A vLLM server of a test, in a process of its own on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

KEY = "of-this-test"


class VLLMServer:
    """Serves the checkpoint in ``folder`` by vLLM's own API server, as ``vllm serve`` does."""

    def __init__(
        self, folder: Path, log: Path, reads: Sequence[str] = ("--enable-prompt-embeds",)
    ) -> None:
        """``reads``: what it is told that it reads."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = log
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(folder), "--served-model-name", folder.name]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--api-key", KEY]
        command += [*reads, "--dtype", "float32", "--enforce-eager"]
        command += ["--kv-cache-memory-bytes", str(2**28), "--block-size", "32"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, seconds: float = 240) -> None:
        """Return when it answers; raises ``RuntimeError`` if it does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(1)
        raise RuntimeError(f"vLLM did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL to it and all its processes, which it started as its own group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait(30)
