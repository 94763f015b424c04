-- forwarded.lua: a FastCGI back end hears of the client what mod_proxy tells an HTTP one
lighty.r.req_header["X-Forwarded-For"] = lighty.r.req_attr["request.remote-addr"]
lighty.r.req_header["X-Forwarded-Proto"] = lighty.r.req_attr["uri.scheme"]
lighty.r.req_header["X-Forwarded-Host"] = lighty.r.req_header["Host"]
return 0
