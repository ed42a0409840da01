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
from redis.cluster import RedisCluster
from redis.sentinel import SentinelConnectionPool

from vist2_memory.errors import StoreURLError
from vist2_memory.store.redis.connections import timed_client
from vist2_memory.store.redis.servers import (
    Address,
    ClusterServers,
    Connect,
    OneServer,
    SentinelServers,
    Servers,
    is_tls,
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
        settings = redis.ConnectionPool.from_url(url)
        return OneServer(timed_client(settings, _patience(settings, deadline)))
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
    settings = redis.ConnectionPool.from_url(f"{base}://{user}{at}-/0?{urlencode(options)}")
    patience = _patience(settings, deadline / _SHARE)
    named = f"{scheme}://{','.join(_written(address) for address in addresses)}"
    if kind == "cluster":
        if path.strip("/") not in ("", "0"):
            raise StoreURLError(f"a cluster has no databases: {named}, without /{path}")
        return ClusterServers(addresses, _connecting(settings, patience), named)
    service, _, database = path.partition("/")
    if not service or not (database or "0").isdigit():
        raise StoreURLError(f"a Sentinel URL names the master: {named}/name/0")
    settings.connection_kwargs["db"] = int(database or 0)
    asking = redis.ConnectionPool.from_url(f"{base}://-?{urlencode(options)}")
    asking.connection_kwargs.update(to_sentinel)
    sentinels = [timed_client(asking, patience, *address) for address in addresses]
    connect = _connecting(settings, patience)
    where = f"{named}/{service}/{database or 0}"
    return SentinelServers(unquote(service), sentinels, connect, where)


def servers_of_client(client: redis.Redis | RedisCluster, deadline: float) -> Servers:
    """Connections of our own, as ``client`` makes them: so that the deadline holds for them."""
    if isinstance(client, RedisCluster):
        return _servers_of_cluster(client, deadline)
    pool = client.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        return OneServer(timed_client(pool, _patience(pool, deadline)))
    if not pool.is_master:
        raise ValueError("client reads from replicas (slave_for): make it with master_for")
    patience = _patience(pool, deadline / _SHARE)
    sentinels = [
        timed_client(sentinel.connection_pool, patience)
        for sentinel in pool.sentinel_manager.sentinels
    ]
    hosts = [sentinel.connection_pool.connection_kwargs for sentinel in sentinels]
    named = ",".join(_written((host["host"], host["port"])) for host in hosts)
    scheme = "rediss" if is_tls(pool) else "redis"
    where = f"{scheme}+sentinel://{named}/{pool.service_name}/{pool.connection_kwargs.get('db', 0)}"
    return SentinelServers(pool.service_name, sentinels, _connecting(pool, patience), where)


def _servers_of_cluster(client: RedisCluster, deadline: float) -> Servers:
    nodes = client.get_nodes()
    settings = client.get_redis_connection(nodes[0]).connection_pool
    # What a cluster client does at connecting serves reading from replicas, which we never do.
    settings = _without(settings, "redis_connect_func")
    seeds = [(str(node.host), int(node.port)) for node in nodes]
    scheme = "rediss" if is_tls(settings) else "redis"
    where = f"{scheme}+cluster://{','.join(_written(seed) for seed in seeds)}"
    patience = _patience(settings, deadline / _SHARE)
    remap = client.nodes_manager.remap_host_port
    return ClusterServers(seeds, _connecting(settings, patience), where, remap)


def _without(pool: redis.ConnectionPool, option: str) -> redis.ConnectionPool:
    kept = {name: value for name, value in pool.connection_kwargs.items() if name != option}
    copy = redis.ConnectionPool(pool.connection_class, pool.max_connections)
    copy.connection_kwargs = kept
    return copy


def _connecting(settings: redis.ConnectionPool, patience: float) -> Connect:
    return lambda host, port: timed_client(settings, patience, host, port)


def _patience(settings: redis.ConnectionPool, most: float) -> float:
    """Seconds of silence after which a server counts as dead, ``socket_timeout`` if it is less."""
    timeout: Any = settings.connection_kwargs.get("socket_timeout")
    return min(most, timeout) if timeout else most


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
