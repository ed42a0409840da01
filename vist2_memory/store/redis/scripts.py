"""What runs inside the Redis server: keys and Lua, core commands of Redis 6.2 and later only.

All keys of a scope share the hash tag ``{namespace/kind/name}``, so one script may touch them in a
cluster too. Keys are always passed as KEYS. The index of a namespace lies in a slot of its own.

=====================================  ==========================================================
``vist2:{scope}:log``                  Stream; entry ``<position>-0`` has the field ``m``: a message
``vist2:{scope}:meta``                 Hash: v, count, created and updated (milliseconds), ttl, and
                                       sized: count and bytes of the log when bytes were counted; of
                                       a log that was rewritten also rev (how often), token (newest)
``vist2:{scope}:ids``                  Hash: message id -> digest of its content
``vist2:{scope}:tensors``              Set: the names of all tensors, so deletion need not scan
``vist2:{scope}:t:<fingerprint>:<id>`` String: one tensor
``vist2:{namespace}:scopes``           Hash: key of each scope -> mark (see below)
``vist2:{namespace}:usage``            Hash: key of each scope -> its messages and bytes, where a
                                       quota is kept; #messages, #bytes: of all of them
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


def usage_key(namespace: str) -> str:
    return f"vist2:{{{quoted(namespace)}}}:usage"


_TOUCH = """
local function touch(ms)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000) + ms
  for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, string.format('%.0f', at)) end
end
"""

_BYTES = """
-- Counted in the log itself where another release, or none, wrote down the bytes of another count.
local function bytes_of(count)
  local sized = redis.call('HGET', KEYS[2], 'sized') or ''
  local n, bytes = string.match(sized, '^(%d+) (%d+)$')
  if n and tonumber(n) == count then return tonumber(bytes) end
  bytes = 0
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    bytes = bytes + #entry[2][2]
  end
  return bytes
end
"""

SIZE = (
    _BYTES
    + """
-- KEYS: log, meta.  Returns the bytes of the log, which are written down too.
local count = redis.call('XLEN', KEYS[1])
local bytes = bytes_of(count)
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[2], 'sized', string.format('%.0f %.0f', count, bytes))
end
return bytes
"""
)

_WRITE = (
    _TOUCH
    + _BYTES
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
-- Whether a log that grows from ``has`` by ``more`` (or shrinks) passes what it may have (-1: any).
local function passes(has, more, limit)
  return tonumber(limit) >= 0 and more > 0 and has + more > tonumber(limit)
end
-- The end of all writing.  Returns 1 if the log expires now and did not before, or the other way.
local function settle(count, bytes, ttl, before)
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSETNX', KEYS[2], 'created', now)
  redis.call('HSET', KEYS[2], 'v', ARGV[1], 'count', count, 'updated', now, 'ttl', ttl,
    'sized', string.format('%.0f %.0f', count, bytes))
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
-- (-1: any), ttl in ms (0: none), messages and bytes that the log may have (-1: any), full (1:
-- nothing new is taken), then id, digest and data of each message.  Returns {what, count, and
-- entries, which, revision or, with ok, 1 if the log expires now and did not before or the other
-- way round; and, with ok, bytes}, or {quota, count, how many would be new, bytes, their bytes}.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl', 'rev')
local entries, ids = redis.call('XLEN', KEYS[1]), redis.call('HLEN', KEYS[3])
local count, rev = tonumber(meta[2]), tonumber(meta[4] or '0')
if not count and entries == 0 and ids == 0 then
  if ARGV[2] == '0' then return {'absent', 0, 0} end
  count = 0
elseif not known(meta[1]) then return {'version', 0, meta[1]}
elseif count ~= entries or count ~= ids then return {'lost', count or ids, entries} end

local fresh = {}
for i = 10, #ARGV, 3 do
  local digest = redis.call('HGET', KEYS[3], ARGV[i])
  if not digest then fresh[#fresh + 1] = i
  elseif digest ~= ARGV[i + 1] then return {'differs', count, ARGV[i]} end
end
local expected, revision = tonumber(ARGV[4]), tonumber(ARGV[5])
if #fresh > 0 or #ARGV == 9 then
  if expected >= 0 and expected ~= count then return {'moved', count, rev} end
  if revision >= 0 and revision ~= rev then return {'moved', count, rev} end
end
if #fresh == 0 then
  -- WAIT counts replicas that have what this connection wrote: a retry must write something.
  if ARGV[3] == '1' and count > 0 then redis.call('HSET', KEYS[2], 'v', ARGV[1]) end
  return {'ok', count, 0, bytes_of(count)}
end

local bytes, more = bytes_of(count), 0
for _, i in ipairs(fresh) do more = more + #ARGV[i + 2] end
if ARGV[9] == '1' or passes(count, #fresh, ARGV[7]) or passes(bytes, more, ARGV[8]) then
  return {'quota', count, #fresh, bytes, more}
end

for _, i in ipairs(fresh) do
  count = count + 1
  add(count, i)
end
return {'ok', count, settle(count, bytes + more, ARGV[6], meta[3]), bytes + more}
"""
)

REWRITE = (
    _WRITE
    + """
-- KEYS: log, meta, ids.  ARGV: version, touch (as in appending), token, revision, expected, keep,
-- ttl in ms (0: none), messages and bytes that the log may have (-1: any), how many messages go,
-- their ids, then id, digest and data of each new one.  Returns {what, count, and revision, which
-- or, with ok, what settle returns; and, with ok, bytes}, or {quota, count, how many more there
-- would be, bytes, how many more}.
local meta = redis.call('HMGET', KEYS[2], 'v', 'count', 'ttl', 'rev', 'token')
local count, rev = tonumber(meta[2] or '0'), tonumber(meta[4] or '0')
if not known(meta[1]) then return {'version', 0, meta[1]} end
if meta[5] == ARGV[3] then  -- this very rewrite: its answer was lost
  if ARGV[2] == '1' then redis.call('HSET', KEYS[2], 'v', ARGV[1]) end
  return {'ok', count, 0, bytes_of(count)}
end
local seen = count == tonumber(ARGV[5]) and rev == tonumber(ARGV[4])
  and count == redis.call('XLEN', KEYS[1]) and count == redis.call('HLEN', KEYS[3])
local keep, first, gone = tonumber(ARGV[6]), 11 + tonumber(ARGV[10]), {}
for i = 11, first - 1 do
  seen = seen and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1
  gone[ARGV[i]] = true
end
if not seen then return {'moved', count, rev} end
for i = first, #ARGV, 3 do
  if not gone[ARGV[i]] and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1 then
    return {'kept', count, ARGV[i]}
  end
end

local bytes, more = bytes_of(count), 0
local after = string.format('%.0f-0', keep + 1)
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], after, '+')) do more = more - #entry[2][2] end
for i = first, #ARGV, 3 do more = more + #ARGV[i + 2] end
local more_count = (#ARGV - first + 1) / 3 - (count - keep)
if passes(count, more_count, ARGV[8]) or passes(bytes, more, ARGV[9]) then
  return {'quota', count, more_count, bytes, more}
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
return {'ok', count, settle(count, bytes + more, ARGV[7], meta[3]), bytes + more}
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

_LEFT = """
-- What is written ends with the log, whoever writes it; with no log yet, after the writer's ttl.
local function left(meta, ttl)
  local ms = redis.call('PTTL', meta)
  if ms == -2 then return tonumber(ttl) end
  return math.max(ms, 0)
end
"""

LIST_TENSORS = (
    _LEFT
    + """
-- KEYS: the set of names, meta.  ARGV: ttl in ms (0: none), names to add.  The set never ends
-- before what it names: it has the longest time to live of all, or none if one has none.
local before = redis.call('PTTL', KEYS[1])
for i = 2, #ARGV, 4000 do
  redis.call('SADD', KEYS[1], unpack(ARGV, i, math.min(i + 3999, #ARGV)))
end
local ttl = left(KEYS[2], ARGV[1])
if ttl == 0 then redis.call('PERSIST', KEYS[1])
elseif before ~= -1 and before < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
"""
)

END_TENSORS = (
    _LEFT
    + """
-- KEYS: meta, then tensors that were just written, without a time to live.  ARGV: ttl in ms.
local ttl = left(KEYS[1], ARGV[1])
for i = 2, #KEYS do
  if ttl > 0 then redis.call('PEXPIRE', KEYS[i], ttl) end
end
"""
)

REFRESH = """
-- KEYS: some keys.  ARGV: ttl in ms.  One that does not expire is left as it is.
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) > 0 then redis.call('PEXPIRE', key, ARGV[1]) end
end
"""

DELETE = """
-- KEYS: log, meta, ids, the set of names, then all tensors.  ARGV: how many messages the log must
-- have and at which revision (-1: any), then the names of the tensors.  Returns false if the set
-- holds other names by now, else {1, messages, and 0 or 1 for each tensor}; {0, messages, revision}
-- if the log is another.
if redis.call('SCARD', KEYS[4]) ~= #ARGV - 2 then return false end
for i = 3, #ARGV do
  if redis.call('SISMEMBER', KEYS[4], ARGV[i]) == 0 then return false end
end
local entries = redis.pcall('XLEN', KEYS[1])
if type(entries) ~= 'number' then entries = 0 end
local rev = redis.pcall('HGET', KEYS[2], 'rev')
rev = tonumber(type(rev) == 'string' and rev or '0')
for i, found in ipairs({entries, rev}) do
  if tonumber(ARGV[i]) >= 0 and tonumber(ARGV[i]) ~= found then return {0, entries, rev} end
end
local gone = {1, entries}
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
elseif action == 'restore' then
  if mark == 'deleting' then set(ARGV[3]) end
elseif action == 'remove' then
  if mark == ARGV[3] then redis.call('HDEL', index, scope)
  elseif mark and ARGV[3] == 'deleting' then set('new') end
elseif action == 'forget' then
  redis.call('HDEL', index, scope)
end
return mark
"""

USAGE = """
-- KEYS: the usage of a namespace.  ARGV: what to do (reserve, add, set), messages and bytes that
-- the namespace may hold (-1: any; only reserve keeps to it), then scope, messages and bytes, any
-- number of times: to add to what the scope is counted with, or to set.  Returns {done, messages,
-- bytes}.
local key, action = KEYS[1], ARGV[1]
local max_messages, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local all = redis.call('HMGET', key, '#messages', '#bytes')
local messages, bytes = tonumber(all[1] or 0), tonumber(all[2] or 0)
for i = 4, #ARGV, 3 do
  local was = redis.call('HGET', key, ARGV[i]) or '0 0'
  local was_messages, was_bytes = string.match(was, '^(%d+) (%d+)$')
  was_messages, was_bytes = tonumber(was_messages), tonumber(was_bytes)
  local now_messages, now_bytes = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if action ~= 'set' then
    now_messages = math.max(0, was_messages + now_messages)
    now_bytes = math.max(0, was_bytes + now_bytes)
  end
  local sum_messages = messages - was_messages + now_messages
  local sum_bytes = bytes - was_bytes + now_bytes
  if action == 'reserve'
      and ((max_messages >= 0 and sum_messages > max_messages and sum_messages > messages)
      or (max_bytes >= 0 and sum_bytes > max_bytes and sum_bytes > bytes)) then
    return {0, messages, bytes}
  end
  messages, bytes = sum_messages, sum_bytes
  if now_messages == 0 then redis.call('HDEL', key, ARGV[i])
  else redis.call('HSET', key, ARGV[i], string.format('%.0f %.0f', now_messages, now_bytes)) end
end
redis.call('HSET', key, '#messages', string.format('%.0f', messages),
  '#bytes', string.format('%.0f', bytes))
if redis.call('HLEN', key) == 2 then redis.call('DEL', key) end
return {1, messages, bytes}
"""
