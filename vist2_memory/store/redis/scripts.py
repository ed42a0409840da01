"""What runs inside the Redis server: keys and Lua, core commands of Redis 6.2 and later only.

All keys of a scope share the hash tag ``{namespace/kind/name}``, so one script may touch them in a
cluster too. Keys are always passed as KEYS. The index of a namespace lies in a slot of its own.

=====================================  ==========================================================
``vist2:{scope}:log``                  Stream; entry ``<position>-0`` has the field ``m``: a message
``vist2:{scope}:meta``                 Hash: v, count, created and updated (milliseconds), ttl
``vist2:{scope}:ids``                  Hash: message id -> digest of its content
``vist2:{scope}:tensors``              Set: the names of all tensors, so deletion need not scan
``vist2:{scope}:t:<fingerprint>:<id>`` String: one tensor
``vist2:{namespace}:scopes``           Hash: key of each scope -> mark (see below)
=====================================  ==========================================================

A mark says what it means if all keys of a scope are gone. ``new`` or ``new:<nonce>``: nothing that
is certain; ``ttl``: it expired; ``deleting``: it was deleted; ``kept``: the log was lost. Index and
scope cannot change in one step, so ``kept`` is written only by the writer whose own nonce is still
there after its first message: where another writer or a deletion came in between, it stays ``new``.
"""

from __future__ import annotations

from vist2_memory.store.base import Scope, quoted

LAYOUT_VERSION = 1


def log_keys(scope: Scope) -> tuple[str, str, str]:
    """The keys that expire together: log, meta, ids."""
    return tuple(f"vist2:{{{scope.key}}}:{part}" for part in ("log", "meta", "ids"))  # type: ignore[return-value]


def names_key(scope: Scope) -> str:
    return f"vist2:{{{scope.key}}}:tensors"


def tensor_name(fingerprint: str, chunk_id: str) -> str:
    return f"{quoted(fingerprint)}:{quoted(chunk_id)}"


def tensor_key(scope: Scope, name: str) -> str:
    return f"vist2:{{{scope.key}}}:t:{name}"


def index_key(namespace: str) -> str:
    return f"vist2:{{{quoted(namespace)}}}:scopes"


_TOUCH = """
local function touch(ms)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000) + ms
  for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', at)) end
end
"""

APPEND = (
    _TOUCH
    + """
-- KEYS: log, meta, ids.  ARGV: version, create (0 or 1), touch (see below), expected (-1: any),
-- ttl in ms (0: none), then id, digest and data of each message.  Returns {what, count, entries or
-- which}; with ok, 1 if the log expires now and did not before, or the other way round.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl')
local entries, known = redis.call('XLEN', KEYS[1]), redis.call('HLEN', KEYS[3])
local count = tonumber(meta[2])
if not count and entries == 0 and known == 0 then
  if ARGV[2] == '0' then return {'absent', 0, 0} end
  count = 0
elseif meta[1] and meta[1] ~= ARGV[1] then return {'version', 0, meta[1]}
elseif count ~= entries or count ~= known then return {'lost', count or known, entries} end

local fresh = {}
for i = 6, #ARGV, 3 do
  local digest = redis.call('HGET', KEYS[3], ARGV[i])
  if not digest then fresh[#fresh + 1] = i
  elseif digest ~= ARGV[i + 1] then return {'differs', count, ARGV[i]} end
end
local expected, ttl = tonumber(ARGV[4]), tonumber(ARGV[5])
if expected >= 0 and expected ~= count and (#fresh > 0 or #ARGV == 5) then
  return {'moved', count, 0}
end
if #fresh == 0 then
  -- WAIT counts replicas that have what this connection wrote: a retry must write something.
  if ARGV[3] == '1' and count > 0 then redis.call('HSET', KEYS[2], 'v', ARGV[1]) end
  return {'ok', count, 0}
end

for _, i in ipairs(fresh) do
  count = count + 1
  redis.call('XADD', KEYS[1], string.format('%.0f-0', count), 'm', ARGV[i + 2])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSETNX', KEYS[2], 'created', now)
redis.call('HSET', KEYS[2], 'v', ARGV[1], 'count', count, 'updated', now, 'ttl', ARGV[5])
if ttl > 0 then touch(ttl) else for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end end
local switched = meta[3] and (meta[3] == '0') ~= (ttl == 0)
return {'ok', count, switched and 1 or 0}
"""
)

READ = """
-- KEYS: log, meta, ids.  ARGV: the id of the first entry to return, or nothing.
-- A script and not MULTI, which a server that is full refuses even where it only reads.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl')
local entries = ARGV[1] and redis.call('XRANGE', KEYS[1], ARGV[1], '+') or {}
return {
  meta[1], meta[2], meta[3], redis.call('XLEN', KEYS[1]), redis.call('HLEN', KEYS[3]), entries
}
"""

TOUCH = (
    _TOUCH
    + """
-- KEYS: log, meta, ids.  ARGV: ttl in ms.  A log that does not expire is left as it is.
if redis.call('PTTL', KEYS[2]) > 0 then touch(tonumber(ARGV[1])) end
"""
)

LIST_TENSORS = """
-- KEYS: the set of names.  ARGV: ttl in ms (0: none), names to add.  The set never ends before what
-- it names: it has the longest time to live of all, or none if one has none.
local before = redis.call('PTTL', KEYS[1])
for i = 2, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
local ttl = tonumber(ARGV[1])
if ttl == 0 then redis.call('PERSIST', KEYS[1])
elseif before ~= -1 and before < ttl then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
"""

DELETE = """
-- KEYS: log, meta, ids, the set of names, then all tensors.  ARGV: the names of the tensors.
-- Returns false if the set holds other names by now, else {messages, and 0 or 1 for each tensor}.
if redis.call('SCARD', KEYS[4]) ~= #ARGV then return false end
for _, name in ipairs(ARGV) do
  if redis.call('SISMEMBER', KEYS[4], name) == 0 then return false end
end
local entries = redis.pcall('XLEN', KEYS[1])
local gone = {type(entries) == 'number' and entries or 0}
for i, key in ipairs(KEYS) do
  local was = redis.call('UNLINK', key)
  if i > 4 then gone[#gone + 1] = was end
end
return gone
"""

MARK = """
-- KEYS: the index.  ARGV: scope, what to do, mark, nonce.  Returns the mark that was there.
local index, scope, action, mine = KEYS[1], ARGV[1], ARGV[2], 'new:' .. ARGV[4]
local mark = redis.call('HGET', index, scope)
local function set(value) redis.call('HSET', index, scope, value) end
if action == 'announce' then
  if mark ~= 'kept' then set(mine) end
elseif action == 'confirm' then
  if mark == mine then set(ARGV[3]) elseif not mark or mark == 'deleting' then set('new') end
elseif action == 'switch' then
  if mark == 'kept' or mark == 'ttl' then set(ARGV[3]) end
elseif action == 'remove' then
  if mark == ARGV[3] then redis.call('HDEL', index, scope)
  elseif mark and ARGV[3] == 'deleting' then set('new') end
elseif action == 'forget' then
  redis.call('HDEL', index, scope)
end
return mark
"""
