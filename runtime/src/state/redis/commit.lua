-- One atomic commit: all of it, or nothing. Everything is checked before anything is written.
-- KEYS: none; keys are made from the prefix, since the store is one server and no cluster.
-- ARGV: prefix, generation, commit id, seconds to remember it, then six counted lists:
--   limits      (index, below)
--   writes      (kind, id, expected version or "", "keep" | "put" | "remove", body)
--   indexes     (index, member, "1" | "0")
--   events      (stream, body)
--   outbox      (id, task, not before)
--   deadlines   (kind/id, time or "")
-- Answers {time, "ok"}, {time, "emptied"}, {time, "conflict", kind, id, found version or ""} or {time, "limit", index, below}.
local prefix, at = ARGV[1], 4

local seconds = redis.call('TIME')
local now = seconds[1] * 1000 + math.floor(seconds[2] / 1000)
local latest = tonumber(redis.call('GET', prefix .. 'clock') or '0')
if latest > now then now = latest end
local now_text = string.format('%.0f', now)

if redis.call('GET', prefix .. 'generation') ~= ARGV[2] then
  return {now_text, 'emptied'}
end
if ARGV[3] ~= '' and redis.call('EXISTS', prefix .. 'c:' .. ARGV[3]) == 1 then
  return {now_text, 'ok'}
end

local function next_argument()
  at = at + 1
  return ARGV[at]
end

for _ = 1, tonumber(next_argument()) do
  local index, below = next_argument(), next_argument()
  if redis.call('ZCARD', prefix .. 'i:' .. index) >= tonumber(below) then
    return {now_text, 'limit', index, below}
  end
end

local writes = {}
for n = 1, tonumber(next_argument()) do
  local kind, id, expected = next_argument(), next_argument(), next_argument()
  local change, body = next_argument(), next_argument()
  local key = prefix .. 'r:' .. kind .. '/' .. id
  -- A record that is written twice in one commit has, for the second write, the version of the first.
  local found = writes[key] and writes[key].version
  if found == nil then found = redis.call('HGET', key, 'v') or '' end
  if found ~= expected then
    return {now_text, 'conflict', kind, id, found}
  end
  local version = found
  if change == 'put' then version = string.format('%.0f', (tonumber(found) or 0) + 1) end
  if change == 'remove' then version = '' end
  local write = {key = key, kind = kind, id = id, change = change, body = body, version = version}
  writes[n], writes[key] = write, write
end

for _, write in ipairs(writes) do
  if write.change == 'put' then
    redis.call('HSET', write.key, 'v', write.version, 'b', write.body)
    redis.call('ZADD', prefix .. 'k:' .. write.kind, 0, write.id)
  elseif write.change == 'remove' then
    redis.call('DEL', write.key)
    redis.call('ZREM', prefix .. 'k:' .. write.kind, write.id)
  end
end

for _ = 1, tonumber(next_argument()) do
  local index, member, present = next_argument(), next_argument(), next_argument()
  if present == '1' then
    redis.call('ZADD', prefix .. 'i:' .. index, 0, member)
  else
    redis.call('ZREM', prefix .. 'i:' .. index, member)
  end
end

for _ = 1, tonumber(next_argument()) do
  local stream, body = next_argument(), next_argument()
  redis.call('RPUSH', prefix .. 'e:' .. stream, now_text .. '|' .. body)
  redis.call('PUBLISH', prefix .. 'grew', stream)
end

for _ = 1, tonumber(next_argument()) do
  local id, task, not_before = next_argument(), next_argument(), next_argument()
  if redis.call('HSETNX', prefix .. 'tasks', id, task) == 1 then
    redis.call('ZADD', prefix .. 'outbox', not_before, id)
  end
end

for _ = 1, tonumber(next_argument()) do
  local member, time = next_argument(), next_argument()
  if time == '' then
    redis.call('ZREM', prefix .. 'due', member)
  else
    redis.call('ZADD', prefix .. 'due', time, member)
  end
end

redis.call('SET', prefix .. 'clock', now_text)
if ARGV[3] ~= '' then
  redis.call('SET', prefix .. 'c:' .. ARGV[3], '1', 'EX', ARGV[4])
end
return {now_text, 'ok'}
