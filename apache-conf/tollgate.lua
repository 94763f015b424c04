-- tollgate.lua: what the gate found out replaces what the client sent, in whatever spelling, before the back end hears of it.
function behind_gate(r)
  local gate = r.subprocess_env["TOLLGATE_GATE"]
  if not gate then return apache2.DECLINED end

  local sent = {}
  for name in pairs(r:headers_in_table()) do
    local plain = name:lower():gsub("[^a-z0-9]", "-")
    -- an uncounted route of Tollgate's own reads X-Tenant-ID itself, in its one right spelling
    local own = gate == "own" and name:lower() == plain
    if (plain == "x-tenant-id" and not own) or plain:find("^x%-tollgate%-") then sent[#sent + 1] = name end
  end
  for _, name in ipairs(sent) do r.headers_in[name] = nil end
  for name, variable in pairs({ ["X-Tenant-ID"] = "TENANT", ["X-Tollgate-Tier"] = "TIER", ["X-Tollgate-Remaining"] = "REMAINING" }) do
    local value = r.subprocess_env["TOLLGATE_" .. variable]
    if value then r.headers_in[name] = value end
  end
  return apache2.DECLINED
end
