# Tollgate behind nginx, the part for http { }, generated from {{CONF}} by `tollgate config nginx http`.
# Change that file, not this one, and generate this one again. In Debian: /etc/nginx/conf.d/tollgate.conf.
upstream tollgate_gate { server {{GATE}}; }
upstream tollgate_web { server {{WEB_ADDRESS}}; }
upstream tollgate_pages { server {{PAGES_ADDRESS}}; }
#
# Whether the gate is asked: by the path that the client sent, as nginx reads it.
map $uri $tollgate_metered {
  default "";
{{#REGION}}
  "~^{{PATTERN}}(?:/|$)" "{{#METERED}}metered{{/METERED}}";
{{/REGION}}
}
#
# What the gate said. A request that nginx begins anew (try_files, error_page) is not asked about twice: then the first answer stays.
{{#SAID}}
map $upstream_http_{{HEADER}} $tollgate_said_{{NAME}} {
  volatile;
  "" $tollgate_{{NAME}};
  default $upstream_http_{{HEADER}};
}
{{/SAID}}
#
# How the client came: through a trusted proxy, as that one says.
{{#PROXIES}}
geo $realip_remote_addr $tollgate_proxy {
  default "";
{{#PROXY}}
  {{ADDRESS}} 1;
{{/PROXY}}
}
{{/PROXIES}}
map "{{#PROXIES}}$tollgate_proxy{{/PROXIES}}$http_x_forwarded_proto" $tollgate_scheme {
  default $scheme;
{{#PROXIES}}
  "1https" https;
  "1http" http;
{{/PROXIES}}
}
