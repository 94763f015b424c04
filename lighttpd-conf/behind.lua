-- behind.lua: whoever answers a path below a metered one. What the gate found out replaces what the client sent, in whatever
-- spelling; without the gate's word nobody answers, whatever else the configuration says.
local gate = lighty.r.req_env["TOLLGATE_GATE"]
if not gate then return 503 end

local told = {
  ["x-tenant-id"] = lighty.r.req_env["TOLLGATE_TENANT"],
  ["x-tollgate-tier"] = lighty.r.req_env["TOLLGATE_TIER"],
  ["x-tollgate-remaining"] = lighty.r.req_env["TOLLGATE_REMAINING"],
}
local sent = {}
for name in pairs(lighty.r.req_header) do
  local plain = name:lower():gsub("[^a-z0-9]", "-")
  -- an uncounted route of Tollgate's own reads X-Tenant-ID itself; X-Forwarded-… is lighttpd's to say
  if (plain == "x-tenant-id" and gate ~= "own") or plain:find("^x%-tollgate%-") or plain:find("^x%-forwarded%-") then
    sent[#sent + 1] = name
  end
end
for _, name in ipairs(sent) do lighty.r.req_header[name] = nil end
for name, value in pairs(told) do if value then lighty.r.req_header[name] = value end end
return 0
