"""From the URL of a store, or a client of redis-py, to the servers it means.

==========================================================  ====================================
``redis://user:password@host:6379/0``                       one server; ``rediss://`` over TLS
``unix://user:password@/path/to/socket?db=0``               one server on this machine
``redis+sentinel://user:password@host,host:26380/main/0``   the master that Sentinel calls main
``redis+cluster://user:password@host:7000,host:7001``       a cluster; any of its nodes
==========================================================  ====================================

``rediss+sentinel://`` and ``rediss+cluster://`` use TLS. Options are those of
``redis.Redis.from_url``, and with Sentinel ``sentinel_username`` and ``sentinel_password``, where
the Sentinels want others than the servers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import redis
import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.cluster import RedisCluster
from redis.sentinel import SentinelConnectionPool

from vist2_memory.errors import StoreURLError
from vist2_memory.store.redis.places import Place, Settings
from vist2_memory.store.redis.servers import (
    Address,
    ClusterServers,
    OneServer,
    SentinelServers,
    Servers,
)

FORMS = {
    "redis": "redis://user:password@host:6379/0",
    "rediss": "rediss://user:password@host:6379/0",
    "unix": "unix:///path/to/socket?db=0",
    "redis+sentinel": "redis+sentinel://user:password@host:26379,host:26379/master/0",
    "rediss+sentinel": "rediss+sentinel://user:password@host:26379,host:26379/master/0",
    "redis+cluster": "redis+cluster://user:password@host:6379,host:6379",
    "rediss+cluster": "rediss+cluster://user:password@host:6379,host:6379",
}

_SHARE = 3
"""Where another server can take over, a silent one is given this part of the deadline."""


def split_options(url: str) -> tuple[str, dict[str, str]]:
    """The URL for redis-py, and the options that are ours."""
    place, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    ours = {name: value for name, value in pairs if name in ("deadline", "replicas")}
    theirs = [(name, value) for name, value in pairs if name not in ours]
    return (f"{place}?{urlencode(theirs)}" if theirs else place), ours


def servers_of_url(url: str, deadline: float) -> Servers:
    """Connects to nobody yet. Raises `ValueError` or `StoreURLError` for a URL of no known form."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if not kind:
        return OneServer(Settings.of(redis.ConnectionPool.from_url(url), deadline))
    rest, _, query = rest.partition("?")
    places, _, path = rest.partition("/")
    user, at, hosts = places.rpartition("@")
    addresses = [_address(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")]
    options = dict(parse_qsl(query, keep_blank_values=True))
    to_sentinel = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    }
    pool = redis.ConnectionPool.from_url(f"{base}://{user}{at}-/0?{urlencode(options)}")
    named = f"{scheme}://{','.join(_written(address) for address in addresses)}"
    if kind == "cluster":
        if path.strip("/") not in ("", "0"):
            raise StoreURLError(f"a cluster has no databases: {named}, without /{path}")
        return ClusterServers(addresses, Settings.of(pool, deadline / _SHARE), named)
    service, _, database = path.partition("/")
    if not service or not (database or "0").isdigit():
        raise StoreURLError(f"a Sentinel URL names the master: {named}/name/0")
    pool.connection_kwargs["db"] = int(database or 0)
    settings = Settings.of(pool, deadline / _SHARE)
    asking = redis.ConnectionPool.from_url(f"{base}://-?{urlencode(options)}")
    asking.connection_kwargs.update(to_sentinel)
    asking_settings = Settings.of(asking, settings.patience)
    sentinels = [Place(asking_settings, *address) for address in addresses]
    where = f"{named}/{service}/{database or 0}"
    return SentinelServers(unquote(service), sentinels, settings, where)


def servers_of_client(client: Any, deadline: float) -> Servers:
    """Connections of our own, as ``client`` makes them: so that the deadline holds for them.

    ``client``: any of redis-py's, for threads or asyncio.
    """
    if isinstance(client, RedisCluster):
        return _servers_of_cluster(client, deadline)
    if isinstance(client, redis.asyncio.RedisCluster):
        return _servers_of_async_cluster(client, deadline)
    pool = client.connection_pool
    if not isinstance(pool, (SentinelConnectionPool, AsyncSentinelConnectionPool)):
        return OneServer(Settings.of(pool, deadline))
    if not pool.is_master:
        raise ValueError("client reads from replicas (slave_for): make it with master_for")
    settings = Settings.of(pool, deadline / _SHARE)
    asked = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    sentinels = [Place(Settings.of(sentinel, settings.patience)) for sentinel in asked]
    hosts = [(s.connection_kwargs["host"], s.connection_kwargs["port"]) for s in asked]
    named = ",".join(_written(host) for host in hosts)
    scheme = "rediss" if settings.is_tls else "redis"
    where = f"{scheme}+sentinel://{named}/{pool.service_name}/{pool.connection_kwargs.get('db', 0)}"
    return SentinelServers(pool.service_name, sentinels, settings, where)


def _servers_of_cluster(client: RedisCluster, deadline: float) -> Servers:
    nodes = client.get_nodes()
    pool = client.get_redis_connection(nodes[0]).connection_pool
    remap = client.nodes_manager.remap_host_port
    return _cluster(nodes, pool.connection_class, pool.connection_kwargs, remap, deadline)


def _servers_of_async_cluster(client: redis.asyncio.RedisCluster, deadline: float) -> Servers:
    # One that did not connect yet knows those that it was given.
    nodes = client.get_nodes() or list(client.nodes_manager.startup_nodes.values())
    options = dict(client.connection_kwargs)
    kind = options.pop("connection_class")
    options.pop("max_connections", None)
    return _cluster(nodes, kind, options, client.nodes_manager.remap_host_port, deadline)


def _cluster(nodes: Any, kind: Any, options: Any, remap: Any, deadline: float) -> Servers:
    # What a cluster client does at connecting serves reading from replicas, which we never do.
    options = {name: value for name, value in options.items() if name != "redis_connect_func"}
    timeout, patience = options.get("socket_timeout"), deadline / _SHARE
    settings = Settings(kind, options, None, min(patience, timeout) if timeout else patience)
    seeds = [(str(node.host), int(node.port)) for node in nodes]
    scheme = "rediss" if settings.is_tls else "redis"
    where = f"{scheme}+cluster://{','.join(_written(seed) for seed in seeds)}"
    return ClusterServers(seeds, settings, where, remap)


def _address(place: str, port: int) -> Address:
    """The host and port in ``host:port``, ``host`` or ``[::1]:port``."""
    host, colon, number = place.rpartition(":")
    if not colon or number.endswith("]"):
        host, number = place, str(port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not number.isdigit():
        raise ValueError("a host is missing, or a port is not a number")
    return host, int(number)


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
