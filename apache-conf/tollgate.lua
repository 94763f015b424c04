-- tollgate.lua: before anybody answers a call below a metered path. What the gate found out replaces what the client sent, in
-- whatever spelling; without the gate's word nobody answers, whatever else the configuration says.
function behind_gate(r)
  local gate = r.subprocess_env["TOLLGATE_GATE"]
  if not gate then return r.subprocess_env["TOLLGATE_FREE"] and apache2.DECLINED or 503 end

  local sent = {}
  for name in pairs(r:headers_in_table()) do
    local plain = name:lower():gsub("[^a-z0-9]", "-")
    -- an uncounted route of Tollgate's own reads X-Tenant-ID itself, in its one right spelling
    local own = gate == "own" and name:lower() == plain
    -- how the client came is the server's to say: by the vhost's lines, in these spellings
    local said = name:lower() == "x-forwarded-for" or name:lower() == "x-forwarded-proto" or name:lower() == "x-forwarded-host"
    local forwarded = plain == "forwarded" or (plain:find("^x%-forwarded%-") and not said)
    if (plain == "x-tenant-id" and not own) or plain:find("^x%-tollgate%-") or forwarded then sent[#sent + 1] = name end
  end
  for _, name in ipairs(sent) do r.headers_in[name] = nil end
  for name, variable in pairs({ ["X-Tenant-ID"] = "TENANT", ["X-Tollgate-Tier"] = "TIER", ["X-Tollgate-Remaining"] = "REMAINING" }) do
    local value = r.subprocess_env["TOLLGATE_" .. variable]
    if value then r.headers_in[name] = value end
  end
  -- mod_proxy_http takes every header away that Connection names: only what is between the client and Apache may stay in it
  local connection = r.headers_in["Connection"]
  if connection then
    local kept = {}
    for option in connection:lower():gmatch("[^,%s]+") do
      if option == "close" or option == "keep-alive" or option == "upgrade" then kept[#kept + 1] = option end
    end
    r.headers_in["Connection"] = #kept > 0 and table.concat(kept, ", ") or nil
  end
  return apache2.DECLINED
end
