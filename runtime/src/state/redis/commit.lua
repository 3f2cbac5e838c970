-- Commits that came together, one after the other. Each is atomic, all of it or nothing, as long as keys hold what this
-- script puts there: everything is checked before anything of it is written.
-- KEYS: none; keys are made from the prefix, since the store is one server and no cluster.
-- ARGV: prefix, generation, seconds to remember a commit without a record, how many commits; for each the number of its
-- arguments, MessagePack, and the bodies of records, parts and events. The MessagePack is a list of
--   its id
--   limits      {index, below, …}
--   writes      {{kind, id, expected version or "", "keep" | "put" | "remove", {"v", "", "c", "", "b", body, field, body, …}}, …}
--   indexes     {index, member, "1" | "0", …}
--   events      {stream, body, …}
--   outbox      {not before, task, …}
--   deadlines   {kind/id, time or "", …}
-- where a body is the number of its argument among the bodies.
-- Answers the time and, for each commit, {"ok"}, {"emptied"}, {"conflict", kind, id, found version or ""},
-- {"limit", index, below} or {"failed", what Redis says}.
local call, prefix = redis.call, ARGV[1]

-- Time that answers may use is reserved a second at a time. When the clock is set back by more, time stands still there
-- until the clock has caught up; when it is set back by less, that second may be told again.
local seconds = call('TIME')
local now = seconds[1] * 1000 + math.floor(seconds[2] / 1000)
local kept = call('MGET', prefix .. 'clock', prefix .. 'generation')
local reserved = tonumber(kept[1] or '0')
if now < reserved - 1000 then now = reserved end
local now_text = string.format('%.0f', now)

local outcomes = {}
if kept[2] ~= ARGV[2] then
  for n = 1, tonumber(ARGV[4]) do outcomes[n] = {'emptied'} end
  return {now_text, outcomes}
end

-- What concerns one key for all commits is written once, at the end: streams that grew, tasks, and the last word on each
-- deadline.
local grown, has_grown, outbox, deadlines = {}, {}, {}, {}

-- A thousand arguments are far from what one call can take.
local function in_pieces(list, act)
  for first = 1, #list, 1000 do act(unpack(list, first, math.min(first + 999, #list))) end
end

-- Events of one stream mostly stand together.
local function append(events, lists)
  local at = 1
  while at <= #events do
    local stream, rows = events[at], {}
    while events[at] == stream do
      rows[#rows + 1] = now_text .. '|' .. ARGV[lists + events[at + 1]]
      at = at + 2
    end
    in_pieces(rows, function(...) call('RPUSH', prefix .. 'e:' .. stream, ...) end)
    if not has_grown[stream] then
      has_grown[stream] = true
      grown[#grown + 1] = stream
    end
  end
end

-- Carries out the commit whose MessagePack is at this position.
local function commit(lists)
  local id, limits, writes, indexes, events, tasks, due = unpack(cmsgpack.unpack(ARGV[lists]))
  local found, newest, put = {}, {}, nil
  local function look(key)
    if found[key] == nil then
      local record = call('HMGET', key, 'v', 'c')
      found[key], newest[key] = record[1] or '', record[2] or ''
    end
    return found[key]
  end
  for _, write in ipairs(writes) do
    write.key = prefix .. 'r:' .. write[1] .. '/' .. write[2]
    if write[4] == 'put' and not put then put = write.key end
  end

  -- A commit that was applied before: a record that it put remembers it among its newest ones; one that put none is
  -- remembered by itself for a while.
  if put then look(put) end
  if id ~= '' then
    if put and string.find(newest[put], id, 1, true) or not put and call('EXISTS', prefix .. 'c:' .. id) == 1 then
      return {'ok'}
    end
  end

  for n = 1, #limits, 2 do
    if call('ZCARD', prefix .. 'i:' .. limits[n]) >= tonumber(limits[n + 1]) then
      return {'limit', limits[n], limits[n + 1]}
    end
  end

  for _, write in ipairs(writes) do
    -- A record that is written twice in one commit has, for the second write, the version of the first.
    local version = look(write.key)
    if version ~= write[3] then return {'conflict', write[1], write[2], version} end
    write.is_new = version == ''
    if write[4] == 'put' then version = string.format('%.0f', (tonumber(version) or 0) + 1) end
    if write[4] == 'remove' then version = '' end
    found[write.key] = version
    write.version = version
  end

  for _, write in ipairs(writes) do
    local key, fields = write.key, write[5]
    if write[4] == 'put' then
      local commits = newest[key]
      if id ~= '' then commits = id .. ' ' .. string.sub(commits, 1, 5 * (#id + 1) - 1) end
      fields[2], fields[4] = write.version, commits
      for n = 6, #fields, 2 do fields[n] = ARGV[lists + fields[n]] end
      call('HSET', key, unpack(fields))
      if write.is_new then call('ZADD', prefix .. 'k:' .. write[1], 0, write[2]) end
    elseif write[4] == 'remove' then
      call('DEL', key)
      call('ZREM', prefix .. 'k:' .. write[1], write[2])
    end
  end

  for n = 1, #indexes, 3 do
    local index, member = prefix .. 'i:' .. indexes[n], indexes[n + 1]
    if indexes[n + 2] == '1' then call('ZADD', index, 0, member) else call('ZREM', index, member) end
  end
  append(events, lists)
  if id ~= '' and not put then call('SET', prefix .. 'c:' .. id, '1', 'EX', ARGV[3]) end
  -- Nothing of this commit can fail any more.
  for _, word in ipairs(tasks) do outbox[#outbox + 1] = word end
  for n = 1, #due, 2 do deadlines[due[n]] = due[n + 1] end
  return {'ok'}
end

-- A commit that fails by itself takes no other one with it.
local at = 5
for n = 1, tonumber(ARGV[4]) do
  local done, outcome = pcall(commit, at + 1)
  if not done then
    if type(outcome) == 'table' then outcome = outcome.err end
    outcome = {'failed', tostring(outcome)}
  end
  outcomes[n] = outcome
  at = at + 1 + ARGV[at]
end

in_pieces(outbox, function(...) call('ZADD', prefix .. 'outbox', 'NX', ...) end)
local set, removed = {}, {}
for member, time in pairs(deadlines) do
  if time == '' then
    removed[#removed + 1] = member
  else
    set[#set + 1], set[#set + 2] = time, member
  end
end
in_pieces(set, function(...) call('ZADD', prefix .. 'due', ...) end)
in_pieces(removed, function(...) call('ZREM', prefix .. 'due', ...) end)
if now > reserved then call('SET', prefix .. 'clock', string.format('%.0f', now + 1000)) end
-- A hint, which fails no commit.
if #grown > 0 then redis.pcall('PUBLISH', prefix .. 'grew', table.concat(grown, '\n')) end
return {now_text, outcomes}
