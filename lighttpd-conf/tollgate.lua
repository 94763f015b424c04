-- tollgate.lua: what the gate found out replaces what the client sent, in whatever spelling, before the back end hears of it.
-- lighttpd comes by here twice: before it asks the gate (nothing is touched: the gate reads the client's X-Tenant-ID) and behind it.
local gate = lighty.r.req_env["TOLLGATE_GATE"]
if not gate then return 0 end

local told = {
  ["x-tenant-id"] = lighty.r.req_env["TOLLGATE_TENANT"],
  ["x-tollgate-tier"] = lighty.r.req_env["TOLLGATE_TIER"],
  ["x-tollgate-remaining"] = lighty.r.req_env["TOLLGATE_REMAINING"],
}
local sent = {}
for name in pairs(lighty.r.req_header) do
  local plain = name:lower():gsub("[^a-z0-9]", "-")
  -- an uncounted route of Tollgate's own reads X-Tenant-ID itself
  if (plain == "x-tenant-id" and gate ~= "own") or plain:find("^x%-tollgate%-") then sent[#sent + 1] = name end
end
for _, name in ipairs(sent) do lighty.r.req_header[name] = nil end
for name, value in pairs(told) do if value then lighty.r.req_header[name] = value end end
return 0
