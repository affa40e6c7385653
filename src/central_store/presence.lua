-- Says that a replica is there, or no more. Answers {how many are, now in ticks of 100 ns since 2025}.
--
-- KEYS: the replicas, by the millisecond in which each was last heard of. ARGV: this one's name, and how long it counts
-- in milliseconds, or 0 if it goes.
local time = redis.call('TIME')
local ticks, counts = (time[1] - 1735689600) * 10000000 + time[2] * 10, tonumber(ARGV[2])
local now = math.floor(ticks / 10000)
if counts == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - counts)
  redis.call('PEXPIRE', KEYS[1], counts)
end
return { redis.call('ZCARD', KEYS[1]), ticks }
