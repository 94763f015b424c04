-- own.lua: what tollgate-web answers below a metered path. Its uncounted routes read X-Tenant-ID themselves; of a counted one the
-- gate has found out who calls.
local gate = lighty.r.req_env["TOLLGATE_GATE"]
if not gate then return 503 end

local header, sent = lighty.r.req_header, {}
for name in pairs(header) do
  local plain = name:lower():gsub("[^a-z0-9]", "-")
  if (plain == "x-tenant-id" and gate ~= "own") or plain:find("^x%-tollgate%-") then sent[#sent + 1] = name end
end
for _, name in ipairs(sent) do header[name] = nil end
if gate == "metered" then header["X-Tenant-ID"] = lighty.r.req_env["TOLLGATE_TENANT"] end
return 0
