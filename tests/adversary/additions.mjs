// additions.mjs: what operators write beside Tollgate's configuration. `path` is below the metered /api; 127.0.0.1:PORT is the back end.
//   before, behind   where it stands (lighttpd: in the same file; Apache: in the virtual host; server: outside it; nginx: in server { })
//   refused          with a key nobody hears of it either: it takes the gate's place, and Tollgate refuses
//   silent           the back end hears of the call, but not who calls, because the addition replaces the lines that say so
//   also             more targets that nobody may hear of without a key
//   open             it says itself that the gate is not asked: the operator's choice, named in docs/nginx.md
//   everything       it answers paths that are not metered, too
//   file             it is answered by a file or a script, not by the back end
const orders = '/api/orders/17';

function lighttpd(dir) {
  const proxy = (key) => `proxy.server = ( "${key}" => (( "host" => "127.0.0.1", "port" => PORT )) )`;
  const fastcgi = (key) => `fastcgi.server = ( "${key}" => (( "host" => "127.0.0.1", "port" => PORT, "check-local" => "disable" )) )`;
  return [
    { name: 'nothing but [backends]', path: '/api/configured/17' },
    { name: 'a proxy.server for everybody, before', path: orders, before: proxy('/api/orders') },
    { name: 'a proxy.server for every path, behind', path: orders, behind: proxy('') },
    { name: 'a proxy.server in a url condition, before', path: orders, before: `$HTTP["url"] =^ "/api/" { ${proxy('')} }` },
    { name: 'a proxy.server in a url condition by regular expression, behind', path: orders, behind: `$HTTP["url"] =~ "^/api/orders" { ${proxy('/api')} }` },
    { name: 'a proxy.server in a host condition, before', path: orders, before: `$HTTP["host"] =^ "127" { ${proxy('')} }` },
    { name: 'a proxy.server in a host condition, behind', path: orders, behind: `$HTTP["host"] =^ "127" { ${proxy('')} }` },
    { name: 'a proxy.server for one method, behind', path: orders, behind: `$HTTP["request-method"] == "GET" { ${proxy('')} }` },
    { name: 'modules in another order', path: orders,
      before: `server.modules = ( "mod_proxy", "mod_scgi", "mod_cgi", "mod_fastcgi", "mod_magnet" )\n${proxy('/api/orders')}` },
    { name: 'a fastcgi.server for .php, before', path: '/api/orders/x.php', before: fastcgi('.php') },
    { name: 'a fastcgi.server in a url condition, behind', path: orders, behind: `$HTTP["url"] =^ "/api/orders" { ${fastcgi('/api/orders')} }` },
    { name: 'a fastcgi.server in a host condition, behind', path: orders, refused: true, behind: `$HTTP["host"] =^ "127" { ${fastcgi('/api/orders')} }` },
    { name: 'an scgi.server, before', path: orders,
      before: 'server.modules += ( "mod_scgi" )\nscgi.server = ( "/api/orders" => (( "host" => "127.0.0.1", "port" => PORT, "check-local" => "disable" )) )' },
    { name: 'cgi.assign', path: '/api/orders/x.cgi', file: true, before: 'server.modules += ( "mod_cgi" )\ncgi.assign = ( ".cgi" => "" )' },
    { name: 'an alias', path: '/api/papers/secret.txt', file: true, silent: true,
      before: `server.modules += ( "mod_alias" )\nalias.url = ( "/api/papers/" => "${dir}/htdocs/api/orders/" )` },
    { name: 'a rewrite', path: orders,
      before: `server.modules += ( "mod_rewrite" )\nurl.rewrite-once = ( "^/api/orders/(.*)$" => "/api/other/$1" )\n${proxy('/api/other')}` },
    { name: 'a rewrite from elsewhere', path: orders, also: ['/public/17', '/public/x%80'],
      before: `server.modules += ( "mod_rewrite" )\nurl.rewrite-once = ( "^/public/(.*)$" => "/api/orders/$1" )\n${proxy('/api/orders')}` },
    { name: 'a rewrite from Tollgate\'s own routes', path: orders, also: ['/api/usage/old/17'],
      before: `server.modules += ( "mod_rewrite" )\nurl.rewrite-once = ( "^/api/usage/old/(.*)$" => "/api/orders/$1" )\n${proxy('/api/orders')}` },
    { name: 'a script in the place of the one that hides the path', path: orders, refused: true,
      behind: `$HTTP["url"] =^ "/api/orders" { magnet.attract-raw-url-to = ( "${dir}/nothing.lua" )\n ${proxy('')} }` },
  ];
}

function apache(dir) {
  const pass = 'ProxyPass "/api/orders" "http://127.0.0.1:PORT/api/orders"';
  return [
    { name: 'nothing but [backends]', path: '/api/configured/17' },
    { name: 'a ProxyPass for the whole server', path: orders, server: pass },
    { name: 'a ProxyPass in the virtual host, before', path: orders, before: pass },
    { name: 'a ProxyPass in the virtual host, behind', path: orders, refused: true, behind: pass },
    { name: 'a ProxyPassMatch', path: orders, before: 'ProxyPassMatch "^/api/orders/(.*)$" "http://127.0.0.1:PORT/api/orders/$1"' },
    { name: 'a RewriteRule with [P], before', path: orders, before: 'RewriteEngine On\nRewriteRule "^/api/orders/(.*)$" "http://127.0.0.1:PORT/api/orders/$1" [P]' },
    { name: 'a RewriteRule with [P], behind', path: orders, behind: 'RewriteRule "^/api/orders/(.*)$" "http://127.0.0.1:PORT/api/orders/$1" [P]' },
    { name: 'a RewriteRule with [P] in a Location', path: orders,
      behind: '<Location "/api/orders">\nRewriteEngine On\nRewriteRule "17$" "http://127.0.0.1:PORT/api/orders/17" [P]\n</Location>' },
    { name: 'a RewriteRule with [PT] from elsewhere', path: orders, also: ['/public/17'],
      before: `${pass}\nRewriteEngine On\nRewriteRule "^/public/(.*)$" "/api/orders/$1" [PT]` },
    { name: 'an Alias from elsewhere to a file below', path: orders, before: `${pass}\nAliasMatch "^/public/(.*)$" "/api/orders/$1"`, also: ['/public/17'] },
    { name: 'a Location that grants everybody', path: orders, refused: true, before: pass, behind: '<Location "/api/orders">\nRequire all granted\n</Location>' },
    { name: 'a LocationMatch that grants everybody', path: orders, refused: true, before: pass, behind: '<LocationMatch "^/api">\nRequire all granted\n</LocationMatch>' },
    { name: 'an If that grants everybody', path: orders, refused: true, before: pass, behind: '<If "true">\nRequire all granted\n</If>' },
    { name: 'AuthMerging Or with a grant', path: orders, refused: true, before: pass, behind: '<Location "/api/orders">\nAuthMerging Or\nRequire all granted\n</Location>' },
    { name: 'Satisfy Any', path: orders, refused: true, before: pass, behind: '<Location "/api/orders">\nSatisfy Any\nOrder allow,deny\nAllow from all\n</Location>' },
    { name: 'a Location with a ProxyPass of its own', path: orders, behind: '<Location "/api/orders">\nProxyPass "http://127.0.0.1:PORT/api/orders"\n</Location>' },
    { name: 'SetHandler for .php', path: '/api/orders/x.php',
      before: 'ProxyPass "/api/orders" "!"', behind: '<LocationMatch "\\.php$">\nSetHandler "proxy:fcgi://127.0.0.1:PORT"\n</LocationMatch>' },
    { name: 'an Alias to a folder that is granted', path: '/api/papers/secret.txt', file: true, silent: true,
      before: `ProxyPass "/api/papers" "!"\nAlias "/api/papers/" "${dir}/htdocs/api/orders/"` },
    { name: 'a ScriptAlias', path: '/api/orders/x.cgi', file: true,
      before: `ProxyPass "/api/orders" "!"\nScriptAlias "/api/orders/" "${dir}/htdocs/api/orders/"` },
    { name: 'an ErrorDocument below the metered path', path: orders, before: `${pass}\nErrorDocument 401 /api/orders/error\nErrorDocument 404 /api/orders/error` },
  ];
}

function nginx(dir) {
  const to = 'proxy_pass http://127.0.0.1:PORT;';
  return [
    { name: 'nothing but [backends]', path: '/api/configured/17' },
    { name: 'a location by regular expression', path: orders, behind: `location ~ ^/api/orders { ${to} }` },
    { name: 'a location by regular expression for every path', path: orders, everything: true, behind: `location ~ . { ${to} }` },
    { name: 'a location for one path', path: orders, behind: `location = /api/orders/17 { ${to} }` },
    { name: 'a location by prefix', path: orders, behind: `location /api/orders/ { ${to} }` },
    { name: 'a location by prefix without the slash', path: orders, behind: `location ^~ /api/ord { ${to} }` },
    { name: 'a location for .php', path: '/api/orders/x.php', silent: true, behind: 'location ~ \\.php$ { include /etc/nginx/fastcgi_params; fastcgi_pass 127.0.0.1:PORT; }' },
    { name: 'a location with proxy_set_header of its own', path: orders, silent: true, behind: `location /api/orders/ { proxy_set_header Host x; ${to} }` },
    { name: 'a location with proxy_set_header and Tollgate\'s', path: orders,
      behind: `location /api/orders/ { proxy_set_header Host x; include ${process.cwd()}/nginx-conf/proxy.conf; ${to} }` },
    { name: 'an alias', path: '/api/papers/secret.txt', file: true, silent: true, behind: `location /api/papers/ { alias ${dir}/htdocs/api/orders/; }` },
    { name: 'try_files with a named location', path: orders, behind: `location /api/orders/ { try_files $uri @orders; }\nlocation @orders { ${to} }` },
    { name: 'a rewrite in the server', path: orders, behind: `rewrite ^/api/orders/(.*)$ /api/other/$1;\nlocation /api/other/ { ${to} }` },
    { name: 'a rewrite in a location', path: orders, behind: `location /api/orders/ { rewrite ^ /api/other/x last; }\nlocation /api/other/ { ${to} }` },
    { name: 'a rewrite from elsewhere', path: '/api/other/17', behind: `rewrite ^/public/(.*)$ /api/other/$1;\nlocation /api/other/ { ${to} }` },
    { name: 'a rewrite from elsewhere into [backends]', path: '/api/configured/17', also: ['/public/17'], behind: 'rewrite ^/public/(.*)$ /api/configured/$1;' },
    { name: 'an error_page that leads to the back end', path: orders,
      behind: `location /api/orders/ { error_page 401 403 404 500 = @orders; ${to} }\nlocation @orders { ${to} }` },
    { name: 'satisfy any for the whole of http', path: orders, http: 'satisfy any; allow all;', behind: `location /api/orders/ { ${to} }` },
    { name: 'underscores in headers', path: orders, http: 'underscores_in_headers on; ignore_invalid_headers off;', behind: `location /api/orders/ { ${to} }` },
    { name: 'a location that turns the gate off', path: orders, open: true, silent: true, behind: `location /api/orders/ { auth_request off; ${to} }` },
  ];
}

export const additions = (server, dir) => ({ lighttpd, apache, nginx })[server](dir);
