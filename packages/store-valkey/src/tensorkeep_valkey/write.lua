-- Changes any number of keys, or none: looks at all of them first.
--
-- KEYS: the keys to change, then those under which large values wait.
-- ARGV: how many keys are changed; and for each of them
--   what it may be now: T, M or S for a tensor, model or script, or free; * for anything;
--   what is done: SET a string, TAKE what waits, DROP, or KEEP;
--   when it expires, in milliseconds of Unix time, or nothing;
--   how many words follow, and these: the string; the place in KEYS of what waits and its size, and
--   of a hash a field and its value, which are added.
--
-- Returns OK; or what is wrong (WRONG kind, MISSING, LOST while it waited) and the key's number.

local PATTERNS = {T = '^TENSOR/%d', M = '^MODEL/%d+$', S = '^SCRIPT/%d+$'}
local count = tonumber(ARGV[1])

local function found(key, kind)
  local value
  if kind == 'T' then
    value = redis.pcall('GETRANGE', key, 0, 7)
  else
    value = redis.pcall('HGET', key, 'tensorkeep')
  end
  if type(value) == 'table' then
    if string.find(value.err, 'WRONGTYPE', 1, true) then
      return false, true
    end
    return false, true, value
  end
  if value and value ~= '' then
    return string.find(value, PATTERNS[kind]) ~= nil, true
  end
  local there = redis.call('EXISTS', key) == 1
  return not there, there
end

local function waits(at, words)
  local key = KEYS[tonumber(ARGV[at])]
  return redis.call(words > 2 and 'HLEN' or 'STRLEN', key) == tonumber(ARGV[at + 1])
end

local function refuse(reply)
  for i = count + 1, #KEYS do
    redis.call('DEL', KEYS[i])
  end
  return reply
end

-- The engine looks at the user's rights command by command, when others have changed something
-- already: so all are asked for first. Before 7.0 that cannot be asked.
local function permits(...)
  return not redis.acl_check_cmd or redis.acl_check_cmd(...)
end

local function permitted(key, action, expiry, waiting)
  if action == 'SET' and not permits('SET', key, '') then
    return 'SET'
  elseif action == 'DROP' and not permits('DEL', key) then
    return 'DEL'
  elseif action == 'TAKE' then
    if not permits('RENAME', waiting, key) then
      return 'RENAME'
    elseif expiry == '' and not permits('PERSIST', key) then
      return 'PERSIST'
    end
  end
  if expiry ~= '' and not permits('PEXPIREAT', key, expiry) then
    return 'PEXPIREAT'
  end
end

local at = 2
for i = 1, count do
  local kind, action, words = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  local waiting = action == 'TAKE' and KEYS[tonumber(ARGV[at + 4])]
  local lacking = permitted(KEYS[i], action, ARGV[at + 2], waiting)
  if lacking then
    return refuse(redis.error_reply('NOPERM this user may not do ' .. lacking .. ' on this key'))
  end
  if kind ~= '*' then
    local right, there, failure = found(KEYS[i], kind)
    if failure then
      return refuse(failure)
    elseif not right then
      return refuse('WRONG ' .. i)
    elseif action == 'DROP' and not there then
      return refuse('MISSING ' .. i)
    end
  end
  if action == 'TAKE' and not waits(at + 4, words) then
    return refuse('LOST ' .. i)
  end
  at = at + 4 + words
end

at = 2
for i = 1, count do
  local key, action, expiry, words = KEYS[i], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first, last = at + 4, at + 3 + words
  if action == 'SET' then
    redis.call('SET', key, ARGV[first])
  elseif action == 'TAKE' then
    local waiting = KEYS[tonumber(ARGV[first])]
    if words > 2 then
      redis.call('HSET', waiting, ARGV[first + 2], ARGV[first + 3])
    end
    redis.call('RENAME', waiting, key)
    if expiry == '' then
      redis.call('PERSIST', key)
    end
  elseif action == 'DROP' then
    redis.call('DEL', key)
  end
  if expiry ~= '' then
    redis.call('PEXPIREAT', key, expiry)
  end
  at = last + 1
end
return redis.status_reply('OK')
