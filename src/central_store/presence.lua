-- Says that a replica is there, or no more. Answers {how many are, now, when those that return go on}; times are ticks of
-- 100 ns since 2025.
--
-- KEYS: the replicas, by the millisecond in which each was last heard of; when those that return from an outage go on.
-- ARGV: this one's name; how long it counts, in milliseconds, or 0 if it goes; and how long it waits for others that
-- return, in milliseconds, or 0 if it does not return itself.
--
-- The first that returns says when, and all that return until then go on at that instant.
local time = redis.call('TIME')
local ticks, counts, grace = (time[1] - 1735689600) * 10000000 + time[2] * 10, tonumber(ARGV[2]), tonumber(ARGV[3])
local now, resume = math.floor(ticks / 10000), 0
if counts == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - counts)
  -- Heard of before the clock was set back: those that are there say so again.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
  redis.call('PEXPIRE', KEYS[1], counts)
end
if grace > 0 then
  resume = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
  if resume <= ticks or resume > ticks + grace * 10000 then
    resume = ticks + grace * 10000
    redis.call('SET', KEYS[2], string.format('%.0f', resume), 'PX', grace)
  end
end
return { redis.call('ZCARD', KEYS[1]), ticks, resume }
