-- Put after prelude.lua in the scripts of spool/message_flow.py.
--   {ms}:flow:<id>   hash  end when the access of functions ends, ms | base, digest: the content that the last run
--                          began with, and its hash | latest what is read | put what counts of the last run or ''
--                          run token of the last run, another for each | until its end, ms, 0 = closed | fz 1 = may not be changed
--   {ms}:flows       zset  message_id -> end
-- base, latest and put are names of contents; a script returns those that the hash does not name any more, and the
-- caller removes them. {ms}:m:<id> is not touched: what counts travels with the verdict of its holder.

local FLOW, FLOWS = PREFIX .. 'flow:', PREFIX .. 'flows'

local function unneeded(before, after)
  local found, kept = {}, { [''] = true }
  for _, name in pairs(after) do kept[name] = true end
  for _, name in pairs(before) do
    if name and not kept[name] then
      found[#found + 1] = name
      kept[name] = true
    end
  end
  return found
end
