-- One atomic commit: all of it, or nothing. Everything is checked before anything is written.
-- KEYS: none; keys are made from the prefix, since the store is one server and no cluster.
-- ARGV: prefix, generation, commit id, seconds to remember it, then six counted lists:
--   limits      (index, below)
--   writes      (kind, id, expected version or "", "keep" | "put" | "remove", body, parts (field, body))
--   indexes     (index, member, "1" | "0")
--   events      (stream, body)
--   outbox      (task, not before)
--   deadlines   (kind/id, time or "")
-- Answers {time, "ok"}, {time, "emptied"}, {time, "conflict", kind, id, found version or ""} or {time, "limit", index, below}.
local call, prefix, commit_id, at = redis.call, ARGV[1], ARGV[3], 4

-- Time that answers may use is reserved a second at a time. When the clock is set back by more, time stands still there
-- until the clock has caught up; when it is set back by less, that second may be told again.
local seconds = call('TIME')
local now = seconds[1] * 1000 + math.floor(seconds[2] / 1000)
local kept = call('MGET', prefix .. 'clock', prefix .. 'generation')
local reserved = tonumber(kept[1] or '0')
if now < reserved - 1000 then now = reserved end
local now_text = string.format('%.0f', now)

if kept[2] ~= ARGV[2] then
  return {now_text, 'emptied'}
end

local function next_argument()
  at = at + 1
  return ARGV[at]
end

local limits = {}
for n = 1, tonumber(next_argument()) do
  limits[n] = {index = next_argument(), below = next_argument()}
end

local writes, put = {}, nil
for n = 1, tonumber(next_argument()) do
  local write = {kind = next_argument(), id = next_argument(), expected = next_argument()}
  write.change = next_argument()
  write.fields = {'b', next_argument()}
  for field = 3, 2 + 2 * tonumber(next_argument()) do write.fields[field] = next_argument() end
  write.key = prefix .. 'r:' .. write.kind .. '/' .. write.id
  if write.change == 'put' and not put then put = write end
  writes[n] = write
end

-- A commit that was applied before: a record that it put remembers it among its newest ones; one that put none is
-- remembered by itself for a while.
local found, newest = {}, {}
local function look(key)
  if found[key] == nil then
    local record = call('HMGET', key, 'v', 'c')
    found[key], newest[key] = record[1] or '', record[2] or ''
  end
  return found[key]
end
if put then look(put.key) end
if commit_id ~= '' then
  if put and string.find(newest[put.key], commit_id, 1, true)
    or not put and call('EXISTS', prefix .. 'c:' .. commit_id) == 1 then
    return {now_text, 'ok'}
  end
end

for _, limit in ipairs(limits) do
  if call('ZCARD', prefix .. 'i:' .. limit.index) >= tonumber(limit.below) then
    return {now_text, 'limit', limit.index, limit.below}
  end
end

for _, write in ipairs(writes) do
  -- A record that is written twice in one commit has, for the second write, the version of the first.
  local version = look(write.key)
  if version ~= write.expected then
    return {now_text, 'conflict', write.kind, write.id, version}
  end
  write.is_new = version == ''
  if write.change == 'put' then version = string.format('%.0f', (tonumber(version) or 0) + 1) end
  if write.change == 'remove' then version = '' end
  found[write.key] = version
  write.version = version
end

for _, write in ipairs(writes) do
  if write.change == 'put' then
    local commits = newest[write.key]
    if commit_id ~= '' then commits = commit_id .. ' ' .. string.sub(commits, 1, 5 * (#commit_id + 1) - 1) end
    call('HSET', write.key, 'v', write.version, 'c', commits, unpack(write.fields))
    if write.is_new then call('ZADD', prefix .. 'k:' .. write.kind, 0, write.id) end
  elseif write.change == 'remove' then
    call('DEL', write.key)
    call('ZREM', prefix .. 'k:' .. write.kind, write.id)
  end
end

for _ = 1, tonumber(next_argument()) do
  local index, member, present = next_argument(), next_argument(), next_argument()
  if present == '1' then
    call('ZADD', prefix .. 'i:' .. index, 0, member)
  else
    call('ZREM', prefix .. 'i:' .. index, member)
  end
end

-- Events of one stream mostly stand together; a thousand of them are far from what one call can take.
local growing, events = nil, {}
local function append()
  if growing then
    call('RPUSH', prefix .. 'e:' .. growing, unpack(events))
    call('PUBLISH', prefix .. 'grew', growing)
  end
end
for _ = 1, tonumber(next_argument()) do
  local stream, body = next_argument(), next_argument()
  if stream ~= growing or #events == 1000 then
    append()
    growing, events = stream, {}
  end
  events[#events + 1] = now_text .. '|' .. body
end
append()

for _ = 1, tonumber(next_argument()) do
  local task, not_before = next_argument(), next_argument()
  call('ZADD', prefix .. 'outbox', 'NX', not_before, task)
end

for _ = 1, tonumber(next_argument()) do
  local member, time = next_argument(), next_argument()
  if time == '' then
    call('ZREM', prefix .. 'due', member)
  else
    call('ZADD', prefix .. 'due', time, member)
  end
end

if now > reserved then call('SET', prefix .. 'clock', string.format('%.0f', now + 1000)) end
if commit_id ~= '' and not put then
  call('SET', prefix .. 'c:' .. commit_id, '1', 'EX', ARGV[4])
end
return {now_text, 'ok'}
