-- Says that a replica is there, or no more, and how many are.
--
-- KEYS: the replicas, by the millisecond in which each was last heard of. ARGV: this one's name, and how long it counts
-- in milliseconds, or 0 if it goes.
local time = redis.call('TIME')
local now, counts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2])
if counts == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return redis.call('ZCARD', KEYS[1])
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - counts)
redis.call('PEXPIRE', KEYS[1], counts)
return redis.call('ZCARD', KEYS[1])
