"""The store in Redis 6.2 and later, or Valkey: one server, Sentinel or Cluster; core commands only.

======================  ========================================================================
``store.py``            `RedisStore`: what is written and read, in which order
``scripts.py``          the keys, and what runs inside the server
``log.py``              what the scripts about a log return
``eviction.py``         servers that drop keys by themselves when they are full
``link.py``             one round trip: deadline, circuit breaker, redirects, trying again
``servers.py``          which server holds a key: the one there is, Sentinel's master, a shard
``connections.py``      sockets that keep the deadline
``urls.py``             the URL of a store, or a client of redis-py, to servers
======================  ========================================================================
"""

from vist2_memory.store.redis.store import RedisStore

__all__ = ["RedisStore"]
