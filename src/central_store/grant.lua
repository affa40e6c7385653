-- Grants tokens of several buckets, all or nothing, as src/limits/shared/store.rs says.
--
-- KEYS: the buckets, all of one hash slot. ARGV: how long ago the last outage began and ended, both 0 without one; the
-- time after which nobody waits for the answer any more; then eight for each bucket: interval, burst, lease, need, want,
-- and of the tokens held from the last grant their period, those spent and those kept. Times are ticks of 100 ns. An
-- interval of 0 is a bucket of the calendar: `burst` tokens that end with its period in `lease`; it is kept for an hour
-- longer, under the policy's key and the period's begin. The policy's key then names the period: `calendar BEGIN END`.
-- Answers {1, now, then granted, left, period and ticks until full for each}, {0, now, the place that waits longest,
-- ticks}, or too late {2, now}.
--
-- Times are whole ticks since 2025, which a double holds exactly until 2053.
local time = redis.call('TIME')
local now = (time[1] - 1735689600) * 10000000 + time[2] * 10
if now > tonumber(ARGV[3]) then return { 2, now } end
local min, max, ceil, floor, format = math.min, math.max, math.ceil, math.floor, string.format
local began, ended, minute, hour = now - ARGV[1], now - ARGV[2], 600000000, 36000000000
local asked = { 'interval', 'burst', 'lease', 'need', 'want', 'period', 'spent', 'kept' }

local function numbers(text)
  local tat, at, fill, since, period, granted, earlier, before =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return tonumber(tat), tonumber(at), tonumber(fill), tonumber(since), tonumber(period), tonumber(granted),
    tonumber(earlier), tonumber(before)
end

local function text(...) return format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', ...) end

local function get(key) return redis.call('GET', key) or '' end

local function keep(key, value, ends)
  redis.call('SET', key, value, 'PX', floor(max(ends - now, 0) / 10000) + 1)
end

-- A period's count, and the quota that it was counted under.
local function counted(key)
  local count, of = string.match(get(key), '^([%d.e+-]+) (%d+)$')
  return tonumber(count), tonumber(of)
end

-- The time in which what is held comes back: of a larger quota than this one it is all of it at most.
local function time_of(held, ask) return min(held, ask.burst) * ask.interval end

-- The bucket as it is now: what is held of it, and what is left.
local function gcra(key, ask)
  local interval, fill = ask.interval, ask.interval * ask.burst
  local known = get(key)
  local tat, at, old, since, period, granted, earlier, before = numbers(known)
  if not tat then
    -- It was full a minute ago; what an outage took from it came back within its fill.
    tat, at, old = min(now - minute, began + fill), 0, fill
    since, period, granted, earlier, before = now, ask.lease, 0, 0, 0
    local number, over = string.match(known, '^calendar (%d+) (%d+)$')
    if number and tonumber(over) > now then
      -- It counted by the calendar until now. That is written even if this is denied, or it would not refill.
      local count, of = counted(key .. ':' .. number)
      tat, at = now + ceil(min((count or 0) / (of or 1), 1) * fill), now
      keep(key, text(tat, at, old, since, period, granted, earlier, before), max(tat, since + 2 * period) + minute)
    end
  elseif now < at then
    -- The clock went back. That is kept even of what is denied now, or it would be denied until the clock is there again.
    local back = at - now
    tat, at, since, earlier = max(tat - back, 0), now, max(since - back, 0), max(earlier - back, 0)
    redis.call('SET', key, text(tat, at, old, since, period, granted, earlier, before), 'KEEPTTL')
  end
  if old ~= fill then
    -- Another quota. That is kept even of what is denied now, or it would go on refilling by the former.
    tat = now + ceil(max(tat - now, 0) * fill / old)
    keep(key, text(tat, at, fill, since, period, granted, earlier, before), max(tat, since + 2 * period) + minute)
  end
  local from = max(began, at)
  if from < ended then
    local held = from < since + period and before + granted or from < since + 2 * period and granted or 0
    tat = max(tat, from + time_of(held, ask)) + ended - from
  end
  if now >= since + period then
    tat = max(tat, since + period + time_of(before + granted, ask))
    earlier, before, since, granted = since, granted, since + period, 0
    if now >= since + period then
      tat = max(tat, since + period + time_of(before, ask))
      earlier, before, since, period = 0, 0, now, ask.lease
    end
  end
  period = max(period, ask.lease)
  tat = max(min(tat, now + fill), now + time_of(before + granted, ask))
  local gone = ask.spent + ask.kept
  if ask.period == since then granted = max(granted - gone, 0)
  elseif ask.period == earlier then before = max(before - gone, 0) end
  granted = granted + ask.kept
  tat = max(tat, now + time_of(before + granted, ask))
  local left = floor((now + fill - tat) / interval)
  return { tat = tat, fill = fill, since = since, period = period, granted = granted, earlier = earlier,
           before = before, left = left }
end

-- When `need` will be there. The bucket does not refill past what is held, which ends with its periods.
local function wait(b, ask)
  local tat, take = b.tat, ask.need * ask.interval - b.fill
  for _, held in ipairs({ { b.since + b.period, b.before + b.granted }, { b.since + 2 * b.period, b.granted } }) do
    if tat + take <= held[1] and held[2] + ask.need <= ask.burst then break end
    tat = max(tat, held[1] + time_of(held[2], ask))
  end
  return max(tat + take - now, 1)
end

-- What was taken of a bucket that refilled all the time until now, in parts of the quota that asks.
local function taken(ask, tat, at, fill, since, period, granted, _, before)
  local held = now < since + period and before + granted or now < since + 2 * period and granted or 0
  return min(max(max(tat - max(at - now, 0) - now, 0) / fill * ask.burst, held), ask.burst)
end

-- Keeps a period's count, and that the policy counts in no earlier one.
local function keep_count(key, ask, b)
  local ends = now + ask.lease
  keep(key, format('%.17g %.0f', b.count, ask.burst), ends + hour)
  if b.latest < b.period then
    keep(b.policy, format('calendar %.0f %.0f', b.period, ends), ends + hour)
    b.latest = b.period
  end
end

-- The calendar's bucket: what was taken in its period, in parts of the quota that asks.
local function calendar(key, ask)
  local policy, period = string.match(key, '^(.*):(%d+)$')
  local before, used, of = get(policy), counted(key)
  used, of = used or 0, of or ask.burst
  if of ~= ask.burst then used = used * ask.burst / of end
  local latest = string.match(before, '^calendar (%d+) ') or -1
  local b = { count = used, policy = policy, period = tonumber(period), latest = tonumber(latest) }
  if numbers(before) then
    b.count = taken(ask, numbers(before))
    keep_count(key, ask, b)
  end
  -- A count that was carried over has a fraction, and a double is a little off it.
  b.left = max(floor(ask.burst - b.count + 0.000001), 0)
  return b
end

local asks, buckets, place, longest = {}, {}, 0, 0
for i = 1, #KEYS do
  local ask = {}
  for at, name in ipairs(asked) do ask[name] = tonumber(ARGV[3 + #asked * (i - 1) + at]) end
  local b
  if ask.interval > 0 then
    b = gcra(KEYS[i], ask)
  else
    b = calendar(KEYS[i], ask)
  end
  if b.left < ask.need then
    local ticks = b.count and max(ask.lease, 1) or wait(b, ask)
    if ticks > longest then place, longest = i, ticks end
  end
  asks[i], buckets[i] = ask, b
end
if place > 0 then return { 0, now, place, longest } end

local out = { 1, now }
for i = 1, #KEYS do
  local ask, b = asks[i], buckets[i]
  local grant
  if b.count then
    grant = max(ask.need, min(ask.want, b.left))
    b.count = b.count + grant
    keep_count(KEYS[i], ask, b)
  else
    grant = max(ask.need, min(ask.want, ceil(b.left / 2)))
    local tat, granted = b.tat + grant * ask.interval, b.granted + grant
    local value = text(tat, now, b.fill, b.since, b.period, granted, b.earlier, b.before)
    keep(KEYS[i], value, max(tat, b.since + 2 * b.period) + minute)
    b.tat = tat
  end
  out[#out + 1], out[#out + 2], out[#out + 3] = grant, b.left - grant, b.since or 0
  out[#out + 1] = b.count and ask.lease or b.tat - now
end
return out
