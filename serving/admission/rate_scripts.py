"""What is counted of a tenant's requests and tokens, as scripts that Valkey runs whole.

Keys, all of one tenant, so on one node of a cluster:
1. a sorted set: the requests of the last minute, scored by when they came (ms, the server's clock);
2. a hash: what each of them holds of the minute's tokens, and `sum`;
3. a hash: the month. `spent`: by requests that are over; `held`: by those in flight, and how much
   by each;
4. the tenant's leases (`concurrency`): whose request holds none any more is not in flight.

Loops are bounded: while a script runs, the server answers nobody else.
"""

from __future__ import annotations

_ADD = """
local function add(key, field, amount)
  if amount ~= 0 then
    redis.call('HINCRBY', key, field, string.format('%.0f', amount))
  end
end
"""

# ARGV: request, tokens, window in ms, limits of requests, tokens, month; -1: there is no such.
# Answers: verdict, ms to wait (-1: in vain), requests and tokens of the minute, ms until all of
# them have left it. Asked again for the same request, it takes the new amount in place of the old.
RESERVE = (
    _ADD
    + """
local minute, amounts, month, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, tokens, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local rpm, tpm, quota = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

local past = redis.call('ZRANGEBYSCORE', minute, '-inf', now - window, 'LIMIT', 0, 1000)
for _, gone in ipairs(past) do
  add(amounts, 'sum', -number(amounts, gone))
  redis.call('HDEL', amounts, gone)
  redis.call('ZREM', minute, gone)
end

local function answer(verdict, wait)
  local newest = redis.call('ZRANGE', minute, -1, -1, 'WITHSCORES')
  local reset = newest[2] and newest[2] + window - now or 0
  return {verdict, wait, redis.call('ZCARD', minute), number(amounts, 'sum'), reset}
end

local known = redis.call('HGET', amounts, id)
local count = redis.call('ZCARD', minute)
if not known and rpm >= 0 and count >= rpm then
  local last = redis.call('ZRANGE', minute, count - rpm, count - rpm, 'WITHSCORES')
  return answer('requests', last[2] + window - now)
end

local more = tokens - tonumber(known or '0')
local missing = tpm >= 0 and number(amounts, 'sum') + more - tpm or 0
if more > 0 and missing > 0 then
  if tokens > tpm then return answer('tokens', -1) end
  local wait = window
  local oldest = redis.call('ZRANGE', minute, 0, 199, 'WITHSCORES')
  for at = 1, #oldest, 2 do
    if oldest[at] ~= id then missing = missing - number(amounts, oldest[at]) end
    wait = oldest[at + 1] + window - now
    if missing <= 0 then break end
  end
  return answer('tokens', wait)
end

if quota < 0 then
  redis.call('DEL', month)
else
  if not redis.call('HGET', month, 'spent') then return answer('unknown', 0) end
  local mine = number(month, id)
  local function short()
    return number(month, 'spent') + number(month, 'held') - mine + tokens > quota
  end
  if short() then
    for _, field in ipairs(redis.call('HKEYS', month)) do
      local lease = redis.call('ZSCORE', leases, field)
      local alive = field == id or field == 'spent' or field == 'held'
      if not alive and (not lease or tonumber(lease) <= now) then
        add(month, 'held', -number(month, field))
        redis.call('HDEL', month, field)
      end
    end
    if short() then return answer('month', -1) end
  end
  add(month, 'held', tokens - mine)
  redis.call('HSET', month, id, tokens)
end

redis.call('ZADD', minute, 'NX', now, id)
redis.call('HSET', amounts, id, tokens)
add(amounts, 'sum', more)
redis.call('PEXPIRE', minute, window)
redis.call('PEXPIRE', amounts, window)
return answer('reserved', 0)
"""
)

# ARGV: request, tokens that it used. A second time, nothing happens.
SETTLE = (
    _ADD
    + """
local amounts, month, id, used = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local known = redis.call('HGET', amounts, id)
if known then
  redis.call('HSET', amounts, id, used)
  add(amounts, 'sum', used - tonumber(known))
end
local held = redis.call('HGET', month, id)
if held then
  redis.call('HDEL', month, id)
  add(month, 'held', -tonumber(held))
  add(month, 'spent', used)
end
return 1
"""
)

# ARGV: tokens that the ledger has of this month, when the month is over (s). The first one counts.
BEGIN_MONTH = """
if redis.call('HSETNX', KEYS[1], 'spent', ARGV[1]) == 1 then
  redis.call('EXPIREAT', KEYS[1], ARGV[2])
end
return 1
"""
