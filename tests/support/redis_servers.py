"""Real servers on free ports: one redis-server, one with TLS, Sentinel, a cluster of six."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

START_DEADLINE = 20.0
"""Seconds that servers may take until they answer, or have found each other."""


class RedisServer:
    """A redis-server on a free port of 127.0.0.1, without persistence, in a folder of its own.

    ``settings`` are more command line options, for every start; ``program`` is another server than
    the one on PATH. `start` after `stop` or `kill` takes the same port again, so that clients can
    reconnect; the data are gone then, unless ``--appendonly yes`` is among the settings.
    """

    def __init__(
        self,
        folder: Path,
        *settings: str,
        config: Path | None = None,
        program: str | None = None,
    ) -> None:
        program = program or shutil.which("redis-server")
        if program is None:
            pytest.fail(
                "redis-server is not on PATH. `make test` installs it; the stores are tested "
                "against a real server only.",
                pytrace=False,
            )
        self.folder = folder
        self.port = free_port()
        self._settings = settings
        self._config = config  # with a configuration file it is a Sentinel
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.running:
            raise RuntimeError("this redis-server runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        place = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder))
        plain = ("--save", "", "--appendonly", "no")
        kind = (str(self._config), "--sentinel") if self._config else plain
        command = [self._program, *kind, *place, "--daemonize", "no", *self._settings]
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


class Doors:
    """One server that listens on TCP, TLS and a unix socket."""

    def __init__(self, folder: Path) -> None:
        certificate, key = folder / "cert.pem", folder / "key.pem"
        make_certificate(certificate, key)
        self._tls_port, self._socket = free_port(), folder / "s"
        self._certificate = certificate
        self._server = started(
            folder,
            *("--unixsocket", str(self._socket), "--tls-port", str(self._tls_port)),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
        )
        self.url = self._server.url
        self.unix_url = f"unix://{self._socket}?db=0"
        self.tls_url = f"rediss://127.0.0.1:{self._tls_port}/0?ssl_ca_certs={certificate}"

    def stop(self) -> None:
        self._server.stop()


class Sentinel:
    """A master called ``main``, its replica, and one Sentinel that decides alone."""

    def __init__(self, folder: Path, *settings: str) -> None:
        quick = ("--repl-diskless-sync-delay", "0", *settings)
        self.master = started(folder / "master", *quick)
        following = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica = started(folder / "replica", *quick, *following)
        config = folder / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 2000\n"
        )
        self.sentinel = RedisServer(folder / "sentinel", config=config)
        self.sentinel.start()
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main/0"
        asked = redis.Redis(port=self.sentinel.port)
        wait_for(lambda: asked.info("sentinel")["master0"]["slaves"] == 1, "no replica was found")
        wait_for_replica(self.replica)
        asked.close()

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.master):
            server.stop()


class Cluster:
    """Masters 0, 1, 2 and their replicas 3, 4, 5."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.nodes = [
            started(
                folder / str(number),
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
                *("--repl-diskless-sync-delay", "0", *settings),
            )
            for number in range(6)
        ]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes[:2])
        clients = [redis.Redis(port=node.port) for node in self.nodes]
        share = 16384 // 3
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
            if number < 3:
                last = 16384 if number == 2 else share * (number + 1)
                client.execute_command("CLUSTER ADDSLOTS", *range(share * number, last))
        wait_for(lambda: all(len(c.cluster("NODES")) == 6 for c in clients), "nodes did not meet")
        for master, replica in zip(clients[:3], clients[3:], strict=True):
            replica.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID"))
        for node in self.nodes[3:]:
            wait_for_replica(node)
        self.wait_until_whole(6)
        for client in clients:
            client.close()

    def wait_until_whole(self, servers: int) -> None:
        """Wait until all ``servers`` that run agree that every slot is served."""
        running = [redis.Redis(port=node.port) for node in self.nodes if node.running]
        assert len(running) == servers
        wait_for(
            lambda: all(c.cluster("INFO")["cluster_state"] == "ok" for c in running),
            "the cluster is not whole",
        )
        for client in running:
            client.close()

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()


def started(folder: Path, *settings: str) -> RedisServer:
    """A running server; another port is tried where someone took the free one first."""
    for attempt in range(3):
        server = RedisServer(folder, *settings)
        try:
            server.start()
        except RuntimeError as error:
            if attempt == 2 or "in use" not in str(error):
                raise
        else:
            return server
    raise AssertionError("unreachable")


def wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait until ``condition`` holds; fails with ``otherwise`` after `START_DEADLINE`."""
    end = time.monotonic() + START_DEADLINE
    while True:
        try:
            if condition():
                return
        except (redis.RedisError, KeyError):
            pass
        if time.monotonic() > end:
            pytest.fail(f"{otherwise} within {START_DEADLINE:g} s", pytrace=False)
        time.sleep(0.02)


def wait_for_replica(server: RedisServer) -> None:
    """Wait until ``server`` is a replica that has all that its master has."""
    with redis.Redis(port=server.port) as client:
        wait_for(
            lambda: client.info("replication").get("master_link_status") == "up",
            "the replica is not in sync",
        )


def make_certificate(certificate: Path, key: Path) -> None:
    """A certificate of its own authority for 127.0.0.1, by the openssl program."""
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def free_port() -> int:
    """A port that is free, and 10,000 above it too, where nodes of a cluster talk."""
    while True:
        with socket.socket() as probe, socket.socket() as above:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port < 55_000:
                try:
                    above.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
                return port
