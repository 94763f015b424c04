# Tollgate behind Apache 2.4, the part for a virtual host, generated from {{CONF}} by `tollgate config apache vhost`.
# Change that file, not this one, and generate this one again. Include it in the <VirtualHost> of each site that is metered.
#
# How it is safe: below a metered path a call needs the gate's word (Require valid-user asks for it), and a function that runs
# before any answer refuses with 503 what comes by without it, whatever else the configuration grants, rewrites or hands on.
AllowEncodedSlashes Off
TraceEnable Off
MergeSlashes On
{{#PROXIES}}
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy{{#PROXY}} {{ADDRESS}}{{/PROXY}}
{{/PROXIES}}
#
# Apache's LimitRequestBody bounds no body that goes on to a back end. A longer one is refused here by its Content-Length, before
# the gate hears of the call; a chunked one does not say how long it will be, so it has to (411) unless TOLLGATE_CHUNKED is defined.
LimitRequestBody {{BODY_BYTES}}
RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500
RewriteEngine On
# TraceEnable acts only when the gate has counted the call.
RewriteCond %{REQUEST_METHOD} "^TRACE$"
RewriteRule ^ - [R=405,L]
# An address without a path, whose query Apache and others would read as one.
RewriteCond %{THE_REQUEST} "^[^ ]+ +[A-Za-z][A-Za-z0-9+.-]*://[^/?# ]*[?#]"
RewriteRule ^ - [R=400,L]
RewriteCond expr "%{HTTP:Content-Length} -gt {{BODY_BYTES}}"
RewriteRule ^ - [R=413,L]
<IfDefine !TOLLGATE_CHUNKED>
  RewriteCond expr "-n %{HTTP:Transfer-Encoding}"
  RewriteRule ^ - [R=411,L]
</IfDefine>
#
# ---- what is metered; what is Tollgate's own within it ----
#
{{#REGION}}
{{#METERED}}
<Location "{{PATH}}">
  AuthType None
  AuthnzFcgiCheckAuthnProvider tollgate Authoritative On RequireBasicAuth Off UserExpr "%{reqenv:TOLLGATE_GATE}"
  Require valid-user
  CGIPassAuth On
  # What the gate found out replaces what the client sent, in whatever spelling a back end may read.
  LuaScope thread
  LuaHookFixups "{{SHARE}}/apache-conf/tollgate.lua" behind_gate
  ProxyAddHeaders Off
  RequestHeader set X-Forwarded-For "expr=%{REMOTE_ADDR}"
  RequestHeader set X-Forwarded-Host "expr=%{HTTP_HOST}"
{{#PROXIES}}
  RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}" "expr=!({{#PROXY}}%{CONN_REMOTE_ADDR} -ipmatch '{{ADDRESS}}'{{#PROXY_separator}} || {{/PROXY_separator}}{{/PROXY}})"
{{/PROXIES}}
{{#NO_PROXIES}}
  RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"
{{/NO_PROXIES}}
  # Apache takes a refusal's media type for its own; the gate says it once more in a header of its own.
  Header always set Content-Type "application/problem+json" "expr=resp('X-Tollgate-Type') == 'application/problem+json'"
  Header always set Content-Type "text/html; charset=utf-8" "expr=resp('X-Tollgate-Type') =~ m#^text/html#"
</Location>
{{/METERED}}
{{#FREE}}
<Location "{{PATH}}">
  SetEnvIfExpr true TOLLGATE_FREE=yes
  Require all granted
  CGIPassAuth On
</Location>
{{/FREE}}
{{/REGION}}
#
# ---- who answers; the first that fits. Lines of your own for paths below these go before this file ----
#
ProxyPreserveHost On
{{#PLACE}}
{{#WEB}}
ProxyPass "{{PATH}}" "{{WEB_ADDRESS}}{{PATH}}" enablereuse=off
<Location "{{PATH}}">
  CGIPassAuth On
</Location>
{{/WEB}}
{{#REST}}
ProxyPass "{{PATH}}" "{{WEB_ADDRESS}}{{PATH}}" enablereuse=off
{{/REST}}
{{#PAGES}}
ProxyPass "{{PATH}}" "{{PAGES_ADDRESS}}{{PATH}}" enablereuse=off
{{/PAGES}}
{{#STATIC}}
Alias "{{PATH}}/" "{{SHARE}}/htdocs/"
ProxyPass "{{PATH}}/" "!"
{{/STATIC}}
{{#FASTCGI}}
ProxyPass "{{PATH}}" "{{ADDRESS}}{{PATH}}" enablereuse=off
{{/FASTCGI}}
{{#HTTP}}
ProxyPass "{{PATH}}" "{{ADDRESS}}{{PATH}}"
{{/HTTP}}
{{/PLACE}}
<Directory "{{SHARE}}/htdocs">
  Options None
  AllowOverride None
  Require all granted
  Header set Cache-Control "public, max-age=3600"
  Header set X-Content-Type-Options nosniff
  AddCharset utf-8 .css
</Directory>
