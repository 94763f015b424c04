-- limits.lua: a counted call's answer says where its tenant stands. lighttpd drops the headers of the gate's 200, so the gate says
-- them to this configuration as well. A back end that speaks of limits of its own keeps its word.
local header = lighty.r.resp_header
if header["RateLimit"] or header["RateLimit-Policy"] then return 0 end
header["RateLimit-Policy"] = lighty.r.req_env["TOLLGATE_RATELIMIT_POLICY"]
header["RateLimit"] = lighty.r.req_env["TOLLGATE_RATELIMIT"]
return 0
