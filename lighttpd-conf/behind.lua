-- behind.lua: whoever answers a path below a metered one. What the gate found out replaces what the client sent, in whatever
-- spelling; without the gate's word nobody answers, whatever else the configuration says.
-- What passes as one of Tollgate's own routes goes to tollgate-web alone, whose places have own.lua.
local gate = lighty.r.req_env["TOLLGATE_GATE"]
if gate ~= "metered" and gate ~= "passed" then return 503 end

local env, header, sent = lighty.r.req_env, lighty.r.req_header, nil
for name in pairs(header) do
  local first = name:byte(1)
  if first == 120 or first == 88 or first == 102 or first == 70 then -- x, X, f, F
    local plain = name:lower():gsub("[^a-z0-9]", "-")
    -- how the client came is lighttpd's to say
    if plain == "x-tenant-id" or plain:find("^x%-tollgate%-") or plain:find("^x%-forwarded%-") or plain == "forwarded" then
      sent = sent or {}
      sent[#sent + 1] = name
    end
  end
end
for _, name in ipairs(sent or {}) do header[name] = nil end
-- mod_proxy would name the trusted proxy, which mod_extforward has put the client in the place of
if env["_L_EXTFORWARD_ACTUAL_FOR"] then env["_L_EXTFORWARD_ACTUAL_FOR"] = nil end
if gate == "metered" then
  header["X-Tenant-ID"] = env["TOLLGATE_TENANT"]
  header["X-Tollgate-Tier"] = env["TOLLGATE_TIER"]
  header["X-Tollgate-Remaining"] = env["TOLLGATE_REMAINING"]
end
return 0
