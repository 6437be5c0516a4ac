-- Changes any number of keys, or none: looks at all of them first.
--
-- KEYS: the keys to change, then those under which large values wait.
-- ARGV: how many keys are changed; and for each of them
--   what it may be now: T, M or S for a tensor, model or script, or free; * for anything;
--   whether it must be taken (XX) or free (NX), or nothing;
--   what is done: SET a string, TAKE what waits, FILL a new hash, DROP, or KEEP;
--   when it expires, a word and milliseconds: PX, PXAT, KEEPTTL with any number, or nothing twice;
--   how many words follow, and these: the string; the place in KEYS of what waits and its size, and
--   of a hash a field and its value, which are added; fields and their values, for ever.
--
-- Returns OK; or what is wrong (WRONG kind, UNMET condition, MISSING, LOST while it waited) and the
-- key's number. A wrong kind comes first, whichever key it is.

local PATTERNS = {T = '^TENSOR/%d', M = '^MODEL/%d+$', S = '^SCRIPT/%d+$'}
local FULL = "OOM command not allowed when used memory > 'maxmemory'."
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
    redis.pcall('DEL', KEYS[i])
  end
  return reply
end

-- The engine looks at the user's rights command by command, when others have changed something
-- already: so all are asked for first. Before 7.0 that cannot be asked, but tried: with calls that
-- change nothing for another reason, or only what waits. With DEL that cannot be done; it is never
-- one of several changes.
local ASKED = {
  SET = function(key) return key, '' end,
  RENAME = function(key, waiting) return waiting, key end,
}
local TRIED = {
  SET = function(key) return key, '', 'NX', 'XX' end,
  HSET = function(key) return key, 'a', 'b', 'c' end,
  PEXPIRE = function(key) return key, 'never' end,
  PEXPIREAT = function(key) return key, 'never' end,
  PTTL = function(key) return key end,
  RENAME = function(_, waiting) return waiting, waiting end,
  PERSIST = function(key, waiting) return waiting or key end,
}

local function tried(name, key, waiting)
  if not TRIED[name] or (name == 'PERSIST' and not waiting) then
    return ''
  end
  local found = redis.pcall(name, TRIED[name](key, waiting))
  return type(found) == 'table' and found.err or ''
end

local function permits(name, key, waiting)
  if redis.acl_check_cmd then
    return redis.acl_check_cmd(name, (ASKED[name] or function() return key end)(key, waiting))
  end
  return not string.find(tried(name, key, waiting), 'The user executing the script', 1, true)
end

local NEEDED = {  -- of a user who has what waits put in place
  [''] = {'PERSIST'},
  PX = {'PEXPIRE'},
  PXAT = {'PEXPIREAT'},
  KEEPTTL = {'PTTL', 'PERSIST', 'PEXPIRE', 'PEXPIREAT'},
}
local FIRST = {SET = {'SET'}, DROP = {'DEL'}, TAKE = {'RENAME'}, FILL = {'DEL', 'HSET'}, KEEP = {}}

local function lacking(key, action, expiry, waiting)
  for _, names in ipairs({FIRST[action], action == 'TAKE' and NEEDED[expiry] or {}}) do
    for _, name in ipairs(names) do
      if not permits(name, key, waiting) then
        return name
      end
    end
  end
end

-- Returns the command that gives a key the expiry that it has now. Engines before 7.0 tell only what
-- is left; their clock goes on within a script, so it may end a millisecond later.
local function kept(key)
  local name, number = 'PEXPIREAT', redis.pcall('PEXPIRETIME', key)
  if type(number) == 'table' then
    name, number = 'PEXPIRE', redis.call('PTTL', key)
  end
  if number < 0 then
    return {'PERSIST'}
  end
  return {name, string.format('%.0f', math.min(number, 9e18))}
end

-- Returns the command that gives a key the expiry that it is to have.
local function ending(key, expiry, time)
  if expiry == 'KEEPTTL' then
    return kept(key)
  elseif expiry == '' then
    return {'PERSIST'}
  end
  return {NEEDED[expiry][1], time}
end

local function take(key, waiting, words, first, expiry, time)
  local after = ending(key, expiry, time)
  if words > 2 then
    redis.call('HSET', waiting, ARGV[first + 2], ARGV[first + 3])
  end
  redis.call('RENAME', waiting, key)
  redis.call(unpack({after[1], key, after[2]}))
end

local function fill(key, words, first)
  redis.call('DEL', key)
  for i = first, first + words - 1, 2 do
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end

local at, unmet = 2
for i = 1, count do
  local kind, presence, action, expiry = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local words = tonumber(ARGV[at + 5])
  local waiting = action == 'TAKE' and KEYS[tonumber(ARGV[at + 6])]
  local needed = lacking(KEYS[i], action, expiry, waiting)
  if needed then
    return refuse(redis.error_reply('NOPERM this user may not do ' .. needed .. ' on this key'))
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
  if presence ~= '' and (redis.call('EXISTS', KEYS[i]) == 1) ~= (presence == 'XX') then
    unmet = unmet or i
  end
  if action == 'FILL' and string.find(tried('HSET', KEYS[i]), FULL, 1, true) then
    return refuse(redis.error_reply(FULL))  -- behind DEL, the engine would no longer look
  end
  if action == 'TAKE' and not waits(at + 6, words) then
    return refuse('LOST ' .. i)
  end
  at = at + 6 + words
end
if unmet then
  return refuse('UNMET ' .. unmet)
end

at = 2
for i = 1, count do
  local key, action, expiry, time = KEYS[i], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local words, first = tonumber(ARGV[at + 5]), at + 6
  if action == 'SET' then
    if expiry == '' then
      redis.call('SET', key, ARGV[first])
    elseif expiry == 'KEEPTTL' then
      redis.call('SET', key, ARGV[first], expiry)
    else
      redis.call('SET', key, ARGV[first], expiry, time)
    end
  elseif action == 'TAKE' then
    take(key, KEYS[tonumber(ARGV[first])], words, first, expiry, time)
  elseif action == 'FILL' then
    fill(key, words, first)
  elseif action == 'DROP' then
    redis.call('DEL', key)
  end
  at = first + words
end
return redis.status_reply('OK')
