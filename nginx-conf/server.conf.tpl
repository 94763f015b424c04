# Tollgate behind nginx, the part for a server { }, generated from {{CONF}} by `tollgate config nginx server`.
# Change that file, not this one, and generate this one again. In Debian: /etc/nginx/snippets/tollgate.conf; include it in the
# server { } of each site that is metered, first.
#
# How it is safe: the gate is asked for the whole server, so every location asks that does not say "auth_request off" itself.
# Paths that are not metered are let through without asking.
merge_slashes on;
underscores_in_headers off;
ignore_invalid_headers on;
client_max_body_size {{BODY_BYTES}};
{{#PROXIES}}
{{#PROXY}}
set_real_ip_from {{ADDRESS}};
{{/PROXY}}
real_ip_header X-Forwarded-For;
real_ip_recursive on;
{{/PROXIES}}
#
set $tollgate_asked $tollgate_metered;
satisfy all;
auth_request /_tollgate/gate;
{{#SAID}}
auth_request_set $tollgate_{{NAME}} $tollgate_said_{{NAME}};
{{/SAID}}
{{#TOLD}}
auth_request_set $tollgate_{{NAME}} $upstream_http_{{HEADER}};
{{/TOLD}}
error_page 403 = @tollgate_refused;
error_page 500 = @tollgate_away;
add_header RateLimit-Policy $tollgate_policy always;
add_header RateLimit $tollgate_ratelimit always;
include {{SHARE}}/nginx-conf/proxy.conf;
#
location = /_tollgate/gate {
  internal;
  auth_request off;
  # Not metered; or let through already.
  uninitialized_variable_warn off;
  set $tollgate_ask "$tollgate_metered$tollgate_here";
  if ($tollgate_ask = "") { return 204; }
  if ($tollgate_gate) { return 204; }
  fastcgi_pass tollgate_gate;
  fastcgi_pass_request_body off;
  fastcgi_next_upstream off;
  fastcgi_buffer_size 16k; # a refusal's body comes in a header
  fastcgi_buffers 4 16k;
  fastcgi_connect_timeout 5s;
  fastcgi_read_timeout 5s;
  fastcgi_param REQUEST_METHOD $request_method; # the client's method and path, not the subrequest's
  fastcgi_param REQUEST_URI $request_uri;
  fastcgi_param SERVER_PROTOCOL $server_protocol;
  fastcgi_param REMOTE_ADDR $remote_addr;
}
#
# What nginx itself can't read, such as a repeated Authorization: for scripts.
error_page 400 /_tollgate/invalid;
location = /_tollgate/invalid {
  internal;
  auth_request off;
  types { }
  default_type application/problem+json;
  add_header Cache-Control "private, no-store" always;
  return 400 '{"type":"about:blank","title":"The request could not be read","status":400,"error":"The request could not be read","code":"request_invalid","detail":"Send it well formed, with each of its headers once."}';
}
#
# What the gate refused, with the status, headers and body that it meant.
location @tollgate_refused {
  auth_request off;
  if ($tollgate_type ~ "^text/html") { rewrite ^ /_tollgate/page last; }
  types { }
  default_type application/problem+json;
  include {{SHARE}}/nginx-conf/refuse.conf;
}
location = /_tollgate/page {
  internal;
  auth_request off;
  types { }
  default_type "text/html; charset=utf-8";
  add_header Content-Security-Policy "default-src 'none'; style-src 'self'; img-src 'self'" always;
  include {{SHARE}}/nginx-conf/refuse.conf;
}
# The gate did not answer at all.
location @tollgate_away {
  auth_request off;
  types { }
  default_type application/problem+json;
  add_header Retry-After 1 always;
  add_header Cache-Control "private, no-store" always;
  return 503 '{"type":"about:blank","title":"The call could not be checked","status":503,"error":"The call could not be checked","code":"unavailable","detail":"Try again in a second."}';
}
#
# ---- who answers ----
#
{{#PLACE}}
location {{MATCH}} {
{{#FREE}}
  auth_request off;
{{/FREE}}
{{#METERED}}
  set $tollgate_here metered;
{{/METERED}}
{{#WEB}}
  include {{SHARE}}/nginx-conf/fastcgi.conf;
{{#COUNTED}}
  fastcgi_param HTTP_X_TENANT_ID $tollgate_tenant if_not_empty;
{{/COUNTED}}
  fastcgi_pass tollgate_web;
{{/WEB}}
{{#REST}}
  include {{SHARE}}/nginx-conf/fastcgi.conf;
  fastcgi_param HTTP_X_TENANT_ID $tollgate_tenant if_not_empty;
  fastcgi_pass tollgate_web;
{{/REST}}
{{#PAGES}}
  include {{SHARE}}/nginx-conf/fastcgi.conf;
  fastcgi_pass tollgate_pages;
{{/PAGES}}
{{#STATIC}}
  alias {{SHARE}}/htdocs/;
  types { text/css css; image/svg+xml svg; image/png png; image/x-icon ico; }
  charset utf-8;
  charset_types text/css;
  add_header Cache-Control "public, max-age=3600";
  add_header X-Content-Type-Options nosniff;
{{/STATIC}}
{{#FASTCGI}}
  include {{SHARE}}/nginx-conf/fastcgi.conf;
  fastcgi_param HTTP_X_TENANT_ID $tollgate_tenant if_not_empty;
  fastcgi_param HTTP_X_FORWARDED_FOR $remote_addr;
  fastcgi_param HTTP_X_FORWARDED_PROTO $tollgate_scheme;
  fastcgi_param HTTP_X_FORWARDED_HOST $http_host if_not_empty;
  fastcgi_pass {{ADDRESS}};
{{/FASTCGI}}
{{#HTTP}}
  proxy_set_header Host $http_host;
  include {{SHARE}}/nginx-conf/proxy.conf;
  proxy_pass "http://{{ADDRESS}}";
{{/HTTP}}
}
{{/PLACE}}
