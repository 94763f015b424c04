-- tollgate.lua: runs behind the gate. The tenant's headers for the back end are the gate's words, whatever the client sent,
-- in whatever spelling.
local set = {
  ["x-tenant-id"] = lighty.r.req_env["TOLLGATE_TENANT"],
  ["x-tollgate-tier"] = lighty.r.req_env["TOLLGATE_TIER"],
  ["x-tollgate-remaining"] = lighty.r.req_env["TOLLGATE_REMAINING"],
}
local forged = {}
for name in pairs(lighty.r.req_header) do
  local plain = name:lower():gsub("[^a-z0-9]", "-")
  if plain == "x-tenant-id" or plain:find("^x%-tollgate%-") then forged[#forged + 1] = name end
end
for _, name in ipairs(forged) do lighty.r.req_header[name] = nil end
-- tollgate-web knows the caller by the key and looks at X-Tenant-ID itself; unmetered paths keep what is asked for.
for name, value in pairs(set) do if value then lighty.r.req_header[name] = value end end
return 0
