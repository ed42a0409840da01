"""The store in Redis 6.2 and later, or Valkey: one server, Sentinel or Cluster; core commands only.

======================  ========================================================================
``faces.py``            `RedisStore` and `AsyncRedisStore`, which run what follows
``store.py``            what is written and read, in which order
``writing.py``          appending and rewriting, announced in the index first
``tensors.py``          which tensors there are, and how many are moved at once
``usage.py``            what a namespace holds, where a quota limits it
``index.py``            which scopes there are
``scripts.py``          the keys, and what runs inside the server
``log.py``              what the scripts about a log return
``eviction.py``         servers that drop keys by themselves when they are full
``link.py``             one round trip: deadline, circuit breaker, redirects, trying again
``servers.py``          which server holds a key: the one there is, Sentinel's master, a shard
``requests.py``         what all of that asks for, instead of doing input and output itself
``wire.py``             does it in the calling thread, by ``connections.py``
``async_wire.py``       does it on an event loop, by ``async_connections.py``
``urls.py``             the URL of a store, or a client of redis-py, to servers
``places.py``           how to connect to a server, for both kinds of connections
======================  ========================================================================
"""

from vist2_memory.store.redis.faces import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
