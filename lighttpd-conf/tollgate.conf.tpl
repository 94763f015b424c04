# Tollgate behind lighttpd, generated from {{CONF}} by `tollgate config lighttpd`. Change that file, not
# this one, and generate this one again. Needs lighttpd 1.4.69 and the package lighttpd-modules-lua.
#
# How it is safe: below a metered path the first script hides a request's path, so that nobody but the gate sees the request.
# When the gate has let it through, lighttpd begins again with the real path, and whoever serves it answers: a back end of
# [backends], or one that is set up elsewhere with proxy.server or fastcgi.server. The second script refuses what comes by
# without the gate's word. No regular expression decides anything: lighttpd's never match a path with invalid UTF-8.
#
# These modules go first, so that no other takes a request before the gate does.
server.modules := ( "mod_indexfile",{{#PROXIES}} "mod_extforward",{{/PROXIES}} "mod_magnet", "mod_fastcgi", "mod_proxy", "mod_alias", "mod_setenv" ) + server.modules
{{#PROXIES}}
extforward.headers = ( "X-Forwarded-For" )
extforward.forwarder = ({{#PROXY}} "{{ADDRESS}}" => "trust",{{/PROXY}} )
{{/PROXIES}}
#
# ---- what is metered; what is Tollgate's own within it ----
#
# The condition around it is always true: it keeps these apart from conditions of your own that read alike.
$HTTP["url"] != "tollgate.regions" {
{{#REGION}}
{{ELSE}}$HTTP["url"] {{MATCH}} {
{{#METERED}}
  magnet.attract-raw-url-to = ( "{{SHARE}}/lighttpd-conf/ask.lua" )
  magnet.attract-physical-path-to = ( "{{SHARE}}/lighttpd-conf/behind.lua" )
  magnet.attract-response-start-to = ( "{{SHARE}}/lighttpd-conf/limits.lua" )
{{/METERED}}
  server.max-request-size = {{BODY_KIB}}
}
{{/REGION}}
}
# The hidden path, which no client can send. Nobody but the gate may answer it.
$HTTP["url"] == "tollgate.gate" {
  fastcgi.server = ( "tollgate.gate" => (( {{GATE}}, "mode" => "authorizer", "check-local" => "disable" )) )
  proxy.server = ( )
}
# lighttpd would hand TRACE on, and refuse CONNECT only after the gate has counted it.
$HTTP["request-method"] == "TRACE" {
  magnet.attract-raw-url-to = ( "{{SHARE}}/lighttpd-conf/refuse.lua" )
}
$HTTP["request-method"] == "CONNECT" {
  magnet.attract-raw-url-to = ( "{{SHARE}}/lighttpd-conf/refuse.lua" )
}
#
# ---- who answers; the longest path first ----
#
$HTTP["url"] != "tollgate.places" {
{{#PLACE}}
{{ELSE}}$HTTP["url"] {{MATCH}} {
{{#WEB}}
  fastcgi.server = ( "/" => (( {{WEB_ADDRESS}}, "check-local" => "disable" )) )
{{#GATED}}
  magnet.attract-physical-path-to = ( "{{SHARE}}/lighttpd-conf/own.lua" )
{{/GATED}}
  server.max-request-size = {{BODY_KIB}}
{{/WEB}}
{{#PAGES}}
  fastcgi.server = ( "/" => (( {{PAGES_ADDRESS}}, "check-local" => "disable" )) )
  server.max-request-size = {{BODY_KIB}}
{{/PAGES}}
{{#STATIC}}
  fastcgi.server = ( )
  proxy.server = ( )
  alias.url = ( "{{PATH}}/" => "{{SHARE}}/htdocs/" )
  mimetype.assign = ( ".css" => "text/css; charset=utf-8", ".svg" => "image/svg+xml", ".png" => "image/png", ".ico" => "image/x-icon" )
  setenv.set-response-header = ( "Cache-Control" => "public, max-age=3600", "X-Content-Type-Options" => "nosniff" )
{{/STATIC}}
{{#FASTCGI}}
  fastcgi.server = ( "{{PATH}}" => (( {{ADDRESS}}, "check-local" => "disable" )) )
  magnet.attract-physical-path-to = ( "{{SHARE}}/lighttpd-conf/behind.lua", "{{SHARE}}/lighttpd-conf/forwarded.lua" )
{{/FASTCGI}}
{{#HTTP}}
  fastcgi.server = ( )
  proxy.server = ( "{{PATH}}" => (( {{ADDRESS}} )) )
{{/HTTP}}
}
{{/PLACE}}
}
