"""What runs inside the Redis server: keys and Lua, core commands of Redis 6.2 and later only.

All keys of a scope share the hash tag ``{namespace/kind/name}``, so one script may touch them in a
cluster too. Keys are always passed as KEYS. The index of a namespace lies in a slot of its own.

=====================================  ==========================================================
``vist2:{scope}:log``                  Stream; entry ``<position>-0`` has the field ``m``: a message
``vist2:{scope}:meta``                 Hash: v, count, created and updated (milliseconds), ttl; of a
                                       log that was rewritten also rev (how often), token (newest)
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

from collections.abc import Iterable

from vist2_memory.store.base import Scope, quoted

LAYOUT_VERSION = 2
"""What is written. 2 added ``rev`` and ``token``: logs are rewritten. A log of 1 becomes one of 2
when it is next written to; earlier releases refuse it then, since they would overlook a rewrite."""
READABLE = frozenset(b"%d" % version for version in range(1, LAYOUT_VERSION + 1))
"""The versions in a log's ``v`` that this release reads."""


def log_keys(scope: Scope) -> tuple[str, str, str]:
    """The keys that expire together: log, meta, ids."""
    return tuple(f"vist2:{{{scope.key}}}:{part}" for part in ("log", "meta", "ids"))  # type: ignore[return-value]


def names_key(scope: Scope) -> str:
    return f"vist2:{{{scope.key}}}:tensors"


def tensor_names(fingerprint: str, chunk_ids: Iterable[str]) -> list[str]:
    model = quoted(fingerprint)
    return [f"{model}:{quoted(chunk_id)}" for chunk_id in chunk_ids]


def tensor_keys(scope: Scope, names: Iterable[str]) -> list[str]:
    start = f"vist2:{{{scope.key}}}:t:"
    return [start + name for name in names]


def index_key(namespace: str) -> str:
    return f"vist2:{{{quoted(namespace)}}}:scopes"


_TOUCH = """
local function touch(ms)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000) + ms
  for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', at)) end
end
"""

_WRITE = (
    _TOUCH
    + """
local function known(version)
  if not version then return true end
  local number = tonumber(version)
  return number and number >= 1 and number <= tonumber(ARGV[1])
end
local function add(position, i)
  redis.call('XADD', KEYS[1], string.format('%.0f-0', position), 'm', ARGV[i + 2])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
-- The end of all writing.  Returns 1 if the log expires now and did not before, or the other way.
local function settle(count, ttl, before)
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSETNX', KEYS[2], 'created', now)
  redis.call('HSET', KEYS[2], 'v', ARGV[1], 'count', count, 'updated', now, 'ttl', ttl)
  if ttl ~= '0' then touch(tonumber(ttl))
  else for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end end
  return before and (before == '0') ~= (ttl == '0') and 1 or 0
end
"""
)

APPEND = (
    _WRITE
    + """
-- KEYS: log, meta, ids.  ARGV: version, create (0 or 1), touch (see below), expected and revision
-- (-1: any), ttl in ms (0: none), then id, digest and data of each message.  Returns {what, count,
-- and entries, which, revision or, with ok, 1 if the log expires now and did not before or the
-- other way round}.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl', 'rev')
local entries, ids = redis.call('XLEN', KEYS[1]), redis.call('HLEN', KEYS[3])
local count, rev = tonumber(meta[2]), tonumber(meta[4] or '0')
if not count and entries == 0 and ids == 0 then
  if ARGV[2] == '0' then return {'absent', 0, 0} end
  count = 0
elseif not known(meta[1]) then return {'version', 0, meta[1]}
elseif count ~= entries or count ~= ids then return {'lost', count or ids, entries} end

local fresh = {}
for i = 7, #ARGV, 3 do
  local digest = redis.call('HGET', KEYS[3], ARGV[i])
  if not digest then fresh[#fresh + 1] = i
  elseif digest ~= ARGV[i + 1] then return {'differs', count, ARGV[i]} end
end
local expected, revision = tonumber(ARGV[4]), tonumber(ARGV[5])
if #fresh > 0 or #ARGV == 6 then
  if expected >= 0 and expected ~= count then return {'moved', count, rev} end
  if revision >= 0 and revision ~= rev then return {'moved', count, rev} end
end
if #fresh == 0 then
  -- WAIT counts replicas that have what this connection wrote: a retry must write something.
  if ARGV[3] == '1' and count > 0 then redis.call('HSET', KEYS[2], 'v', ARGV[1]) end
  return {'ok', count, 0}
end

for _, i in ipairs(fresh) do
  count = count + 1
  add(count, i)
end
return {'ok', count, settle(count, ARGV[6], meta[3])}
"""
)

REWRITE = (
    _WRITE
    + """
-- KEYS: log, meta, ids.  ARGV: version, touch (as in appending), token, revision, expected, keep,
-- ttl in ms (0: none), how many messages go, their ids, then id, digest and data of each new one.
-- Returns {what, count, and revision, which or, with ok, what settle returns}.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl', 'rev', 'token')
local count, rev = tonumber(meta[2] or '0'), tonumber(meta[4] or '0')
if not known(meta[1]) then return {'version', 0, meta[1]} end
if meta[5] == ARGV[3] then  -- this very rewrite: its answer was lost
  if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'v', ARGV[1]) end
  return {'ok', count, 0}
end
local seen = count == tonumber(ARGV[5]) and rev == tonumber(ARGV[4])
  and count == redis.call('XLEN', KEYS[1]) and count == redis.call('HLEN', KEYS[3])
local keep, first, gone = tonumber(ARGV[6]), 9 + tonumber(ARGV[8]), {}
for i = 9, first - 1 do
  seen = seen and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1
  gone[ARGV[i]] = true
end
if not seen then return {'moved', count, rev} end
for i = first, #ARGV, 3 do
  if not gone[ARGV[i]] and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1 then
    return {'kept', count, ARGV[i]}
  end
end

-- First what a full server refuses, unless nothing is added: then nothing is gone yet.
if first <= #ARGV then redis.call('HSET', KEYS[2], 'token', ARGV[3]) end
for id in pairs(gone) do redis.call('HDEL', KEYS[3], id) end
for position = keep + 1, count do
  redis.call('XDEL', KEYS[1], string.format('%.0f-0', position))
end
redis.call('XSETID', KEYS[1], string.format('%.0f-0', keep))
count = keep
for i = first, #ARGV, 3 do
  count = count + 1
  add(count, i)
end
redis.call('HSET', KEYS[2], 'token', ARGV[3], 'rev', string.format('%.0f', rev + 1))
return {'ok', count, settle(count, ARGV[7], meta[3])}
"""
)

READ = """
-- KEYS: log, meta, ids.  ARGV: the id of the first entry to return, or nothing.
-- A script and not MULTI, which a server that is full refuses even where it only reads.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl', 'rev', 'token')
local entries = ARGV[1] and redis.call('XRANGE', KEYS[1], ARGV[1], '+') or {}
return {
  meta[1], meta[2], meta[3], redis.call('XLEN', KEYS[1]), redis.call('HLEN', KEYS[3]), entries,
  meta[4], meta[5]
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
for i = 2, #ARGV, 4000 do
  redis.call('SADD', KEYS[1], unpack(ARGV, i, math.min(i + 3999, #ARGV)))
end
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
