-- Takes addresses off the suppression list. ARGV: addresses. Returns for each 1 = it was on it.
may_grow()
local now, out = now_ms(), {}
for n, address in ipairs(ARGV) do
  out[n] = row_of(address, now) and 1 or 0
  erase(address, now, true)
end
return out
