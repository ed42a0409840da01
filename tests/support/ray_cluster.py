"""Ray on this machine, once for all tests of a module, with Serve on 127.0.0.1."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import ray
from ray import serve

from ray_vist2 import ReplicaOptions, build_app
from tests.support.redis_servers import free_port
from tests.support.server_processes import PATHS

OBJECTS_BYTES = 200 * 2**20
_TOKEN = secrets.token_hex(32)
"""Without it Ray would write one into the home folder. It is read once in a process."""


class RayCluster:
    """One machine that says it has ``cpus`` cores; Serve's proxy listens on ``port``."""

    def __init__(self, folder: Path, cpus: int = 8) -> None:
        self.port, self._folder = free_port(), folder
        ray.init(
            num_cpus=cpus,
            object_store_memory=OBJECTS_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=str(folder),  # short: sockets are in it
        )
        serve.start(http_options={"host": "127.0.0.1", "port": self.port})

    def url(self, app: str) -> str:
        """Where the application called ``app`` answers."""
        return f"http://127.0.0.1:{self.port}/{app}"

    def deploy(self, app: str, options: ReplicaOptions, *, wait: bool = True) -> None:
        """Start the application, or replace it by one with other options."""
        target = build_app(options)
        if wait:
            serve.run(target, name=app, route_prefix=f"/{app}")
        else:
            serve._run(target, name=app, route_prefix=f"/{app}", _blocking=False)

    def written(self) -> str:
        """All that Ray, Serve and the replicas have logged."""
        files = (self._folder / "session_latest" / "logs").rglob("*")
        return "".join(file.read_text(errors="replace") for file in files if file.is_file())

    def running(self, app: str) -> int:
        """How many replicas of ``app`` serve."""
        [deployment] = serve.status().applications[app].deployments.values()
        return deployment.replica_states.get("RUNNING", 0)

    def wait_for(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until ``what`` is so."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, serve.status()
            time.sleep(0.25)

    def kill_replica(self, app: str, replica: str) -> None:
        """End the process of a replica at once; ``replica``: as ``X-Replica`` has it."""
        os.kill(pids(f"SERVE_REPLICA::{app}#vist2#{replica}")[0], signal.SIGKILL)

    def stop(self) -> None:
        """End what was started here, and wait for it, which Ray does not."""
        started = ray._private.worker._global_node.all_processes
        processes = [part.process for parts in started.values() for part in parts]
        serve.shutdown()
        ray.shutdown()
        for process in processes:
            process.wait(20)


def pids(name: str = "", kind: str = "") -> list[int]:
    """The processes of the living actors that are called so."""
    actors = ray._private.state.actors().values()
    return [
        actor["Pid"]
        for actor in actors
        if actor["State"] == "ALIVE"
        and actor["Name"].startswith(name)
        and kind in actor["ActorClassName"]
    ]


@contextmanager
def cluster() -> Iterator[RayCluster]:
    """A cluster, whose workers find these sources and nothing of the developer's."""
    folder = Path(tempfile.mkdtemp(prefix="vr", dir="/tmp"))
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, [PATHS, os.environ.get("PYTHONPATH")])),
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
        "VIST2_OUTBOX": str(folder / "outbox.db"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        started = RayCluster(folder)
        try:
            yield started
        finally:
            started.stop()
            shutil.rmtree(folder, ignore_errors=True)


def client(cluster: RayCluster, app: str, key: str) -> httpx.Client:
    """A client of ``app`` with an API key."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=cluster.url(app), headers=headers, timeout=60)
