"""Servers that take over from one another, and slots that move, while a client writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.support.async_stores import open_waiting
from tests.support.crashes import check_turns, turn
from tests.support.redis_servers import Cluster, Sentinel, wait_for
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.store import Scope, Store, open_store
from vist2_memory.store.redis.scripts import log_keys

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


class Writer(threading.Thread):
    """Writes one turn after another, again where it was not acknowledged, until `stop`."""

    def __init__(self, store: Store, scope: Scope) -> None:
        super().__init__(daemon=True)
        self.turns, self.failures = 0, 0
        self._store, self._scope, self._stopping = store, scope, threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._store.append(self._scope, turn(self.turns))
                self.turns += 1
            except StoreUnavailableError as error:
                self.failures += 1
                time.sleep(error.retry_after or 0.01)

    def stop(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()

    def wait_for_more(self) -> None:
        wanted = self.turns + 20
        wait_for(lambda: self.turns >= wanted, "nothing was written any more")


@pytest.fixture(params=[open_store, open_waiting], ids=["threads", "event loop"])
def opened(request: pytest.FixtureRequest) -> Callable[[str], Store]:
    """Opens a URL, for threads or an event loop."""
    made: Callable[[str], Store] = request.param
    return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()


def test_a_cluster_that_fails_over_loses_nothing_that_a_replica_confirmed(
    cluster: Cluster, opened: Callable[[str], Store]
) -> None:
    scope = Scope("n", "session", "s")
    with opened(f"{cluster.url}?deadline=20&replicas=1") as store:
        writer = Writer(store, scope)
        writer.start()
        writer.wait_for_more()
        owner = node_of(cluster, log_keys(scope)[0])
        cluster.nodes[owner].kill()
        seen = writer.turns
        check_turns_at_least(store, scope, seen)  # served by the replica, within the deadline
        cluster.nodes[owner].start()  # now it is the replica, and confirms
        writer.wait_for_more()
        writer.stop()
        check_turns(store, scope, writer.turns)
        assert [info.scope for info in store.scopes("n", "session")] == [scope]


def test_a_sentinel_that_fails_over_loses_nothing_that_a_replica_confirmed(
    tmp_path: Path, opened: Callable[[str], Store]
) -> None:
    servers = Sentinel(tmp_path)
    scope = Scope("n", "session", "s")
    with opened(f"{servers.url}?deadline=20&replicas=1") as store:
        writer = Writer(store, scope)
        writer.start()
        writer.wait_for_more()
        servers.master.pause()  # hangs, so that connections stay open
        seen = writer.turns
        check_turns_at_least(store, scope, seen)
        servers.master.resume()
        writer.wait_for_more()
        writer.stop()
        check_turns(store, scope, writer.turns)
    servers.stop()


def test_a_slot_that_moves_is_followed(
    redis_cluster: Cluster, opened: Callable[[str], Store]
) -> None:
    scope = Scope(f"moved {time.time_ns()}", "session", "s")
    key = log_keys(scope)[0]
    with opened(f"{redis_cluster.url}?deadline=30") as store:
        writer = Writer(store, scope)
        writer.start()
        writer.wait_for_more()
        source = node_of(redis_cluster, key)
        target = next(n for n in (0, 1, 2) if n != source)
        move(redis_cluster, key_slot(key.encode()), source, target, writer)
        writer.wait_for_more()
        writer.stop()
        assert writer.failures == 0
        check_turns(store, scope, writer.turns)
        assert node_of(redis_cluster, key) == target
        store.delete(scope)


def check_turns_at_least(store: Store, scope: Scope, turns: int) -> None:
    assert store.count(scope) >= 2 * turns


def node_of(cluster: Cluster, key: str) -> int:
    """The number of the node that serves ``key``."""
    slot = key_slot(key.encode())
    with redis.Redis(port=next(n.port for n in cluster.nodes if n.running)) as client:
        for first, last, master, *_ in client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return [node.port for node in cluster.nodes].index(master[1])
    raise AssertionError("no node has the slot")


def move(cluster: Cluster, slot: int, source: int, target: int, writer: Writer) -> None:
    """Move a slot as `redis-cli --cluster reshard` does, key by key, while ``writer`` writes."""
    here, there = (redis.Redis(port=cluster.nodes[n].port) for n in (source, target))
    ids = {n: c.execute_command("CLUSTER MYID") for n, c in ((source, here), (target, there))}
    there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    writer.wait_for_more()
    while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
        here.execute_command("MIGRATE", "127.0.0.1", cluster.nodes[target].port, keys[0], 0, 5000)
        time.sleep(0.05)
    writer.wait_for_more()  # by ASK
    for client in (there, here):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        client.close()
