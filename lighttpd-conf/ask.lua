-- ask.lua: below a metered path, nobody but the gate sees a request before the gate has let it through. Until then its path is
-- one that no client can send; when the gate says 200, lighttpd reads the request's own path again.
if not lighty.r.req_env["TOLLGATE_GATE"] then lighty.r.req_attr["uri.path"] = "tollgate.gate" end
return 0
