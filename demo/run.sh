#!/usr/bin/env bash
# run.sh: `make run`. A private PostgreSQL, the collector, gate, web, a back end that echoes, and a web server in front, in the
# foreground, until Ctrl-C or SIGTERM. PORT, STATE and SERVER choose; README.md describes it.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."
root=$PWD
PORT=${PORT:-8080} STATE=${STATE:-var} SERVER=${SERVER:-lighttpd}
BACKEND=${BACKEND:-} # host:port of a service of your own, for everything below /api but /api/demo that is not Tollgate's
RULES=${RULES:-}     # a file of lines for [rules]; kept in $STATE for the next run, until RULES=none

say() { printf '%s\n' "$*"; }
die() { printf 'make run: %s\n' "$*" >&2; exit 1; }

case $SERVER in lighttpd|apache|nginx) ;; *) die "SERVER=$SERVER is not known; it is lighttpd, apache or nginx" ;; esac
[[ $PORT =~ ^[0-9]+$ ]] && [ "$PORT" -ge 1 ] && [ "$PORT" -le 65535 ] || die "PORT=$PORT is no port; it is a number from 1 to 65535"
[ -z "$BACKEND" ] || [[ $BACKEND =~ ^[A-Za-z0-9.-]+:[0-9]+$ ]] || die "BACKEND=$BACKEND is no host:port"
[ -z "$RULES" ] || [ "$RULES" = none ] || [ -r "$RULES" ] || die "RULES=$RULES can't be read"
mkdir -p "$STATE"
STATE=$(cd "$STATE" && pwd)

exec 9>"$STATE/lock"
flock -n 9 || die "another make run uses STATE=$STATE; stop it, or give another STATE"
rm -f "$STATE/demo.env"
if [ "$RULES" = none ]; then rm -f "$STATE/rules"; elif [ -n "$RULES" ]; then grep -v '^\[' "$RULES" >"$STATE/rules" || true; fi

# ---- what an earlier run left behind, when it was killed ----

alive() { [ -n "${1:-}" ] && grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; } # a zombie has ended

# $STATE/pids/NAME: the session that NAME was started as, and where its files lie. Numbers come again: a process is ours only if
# its program, command line, folder or log lies there.
ours() { # ours PID WORK
  local log cwd exe
  alive "$1" || return 1
  exe=$(readlink "/proc/$1/exe") log=$(readlink "/proc/$1/fd/2") cwd=$(readlink "/proc/$1/cwd") || true
  case $exe in "$2"/bin/*) return 0 ;; esac
  case $log in "$2"/log/*) return 0 ;; esac
  case $cwd in "$2"/pg/data) return 0 ;; esac
  tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- " $2/"
}
left_over() { # left_over FILE: the processes of a pid file that live
  local session work pid
  read -r session work <"$1" || return 0
  for pid in $(ps -o pid= --sid "$session" 2>/dev/null) \
    $([ "${1##*/}" != postgres ] || head -1 "$work/pg/data/postmaster.pid" 2>/dev/null); do
    if ours "$pid" "$work"; then echo "$pid"; fi
  done
}
stop_left_over() {
  local file signal pid told= n
  for signal in INT KILL; do
    for file in "$STATE"/pids/*; do
      for pid in $(left_over "$file"); do
        [ -n "$told" ] || say "An earlier run on this STATE was killed; stopping what it left."
        told=yes
        # INT is a fast shutdown to PostgreSQL and an end to the others
        kill -$signal "$pid" 2>/dev/null || true
      done
    done
    for ((n = 0; n < 100; n++)); do
      pid=
      for file in "$STATE"/pids/*; do pid+=$(left_over "$file"); done
      [ -n "$pid" ] || break 2
      sleep 0.1
    done
  done
  [ -z "${pid:-}" ] || die "what an earlier run on STATE=$STATE left can't be stopped by $(id -un); stop it as the user who started it"
  rm -rf "$STATE/pids"
}
stop_left_over
if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then die "something listens on 127.0.0.1:$PORT already; give another PORT"; fi

began=$SECONDS
step() { printf '[%3d s] %s\n' $((SECONDS - began)) "$*"; }

step "packages"
demo/packages.sh run build $([ "$SERVER" != nginx ] || echo nginx)
step "build"
make --no-print-directory -s -j"$(nproc)" all demo 9>&-

# ---- who runs what, and where ----

if [ "$(id -u)" = 0 ]; then db_user=postgres app_user=www-data; else db_user=$(id -un) app_user=$db_user; fi
as() { # as USER COMMAND…: in this user's name, in a session of its own, so that Ctrl-C reaches only this script
  local user=$1
  shift
  if [ "$(id -un)" = "$user" ]; then exec setsid "$@" 9>&-; fi
  exec setsid setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@" 9>&-
}
reaches() { (as "$1" test -x "$2") 2>/dev/null; }

# Files lie in $STATE unless its path can't be reached by PostgreSQL's user, or is too long for a socket's 107 bytes.
work=$STATE
if ! reaches "$db_user" "$STATE" || ! reaches "$app_user" "$STATE"; then
  work=/var/lib/tollgate-$(printf %s "$STATE" | sha256sum | cut -c1-12)
  mkdir -p "$work"
  chmod 711 "$work"
  ln -sfn "$work" "$STATE/files"
  say "  $STATE can't be reached by $db_user: files lie in $work"
fi
sockets=$work/s
if [ ${#sockets} -gt 80 ]; then
  [ -s "$STATE/sockets" ] || mktemp -d /tmp/tg-XXXXXXXX >"$STATE/sockets"
  sockets=$(cat "$STATE/sockets")
fi
mkdir -p "$sockets" "$work/pg" "$work/spool" "$work/run" "$work/storage" "$work/log" "$work/share" "$work/bin"
if [ "$(id -u)" = 0 ]; then
  chown "$db_user" "$work/pg"
  chown "$app_user:" "$work/spool" "$work/run" "$work/log"
  chown "$app_user:$app_user" "$sockets"
  chmod 1777 "$sockets" # PostgreSQL's socket lies there too
fi
chmod 700 "$work/pg" "$work/spool" "$work/run" "$work/log" # logs name tenants and addresses
chmod 755 "$work/share" "$work/bin"
mkdir -p "$work/server"
for dir in templates htdocs sql apache-conf lighttpd-conf nginx-conf demo; do [ ! -d $dir ] || cp -r $dir "$work/share/"; done
for program in tollgate tollgate-gate tollgate-web tollgate-collector echo; do
  cp -f --remove-destination "build/release/$program" "$work/bin/"
done

gate_port=$(cat "$work/gate-port" 2>/dev/null || true)
if [ -z "$gate_port" ] || (exec 3<>"/dev/tcp/127.0.0.1/$gate_port") 2>/dev/null; then # Apache needs TCP: any free port
  for gate_port in $(shuf -i 20000-32000 -n 50); do (exec 3<>"/dev/tcp/127.0.0.1/$gate_port") 2>/dev/null || break; done
  echo "$gate_port" >"$work/gate-port"
fi

export PGHOST=$sockets PGPORT=5432 PGDATABASE=tollgate PGUSER=tollgate_owner
gate_listen=unix:$sockets/gate
[ "$SERVER" != apache ] || gate_listen=127.0.0.1:$gate_port
cat >"$work/tollgate.conf" <<CONF
[paths]
spool_dir = $work/spool
run_dir = $work/run
share_dir = $work/share
template_dir = $work/share/templates
sql_dir = $work/share/sql
[database]
web = host=$sockets dbname=tollgate user=tollgate_web
collector = host=$sockets dbname=tollgate user=tollgate_collector
owner = host=$sockets dbname=tollgate user=tollgate_owner
[gate]
listen = $gate_listen
nginx = $([ "$SERVER" = nginx ] && echo true || echo false)
[web]
listen = unix:$sockets/web
pages_listen = unix:$sockets/pages
public_url = http://127.0.0.1:$PORT
[storage]
dir = $work/storage
[backends]
/api/demo = fastcgi:unix:$sockets/echo
$([ -n "$BACKEND" ] && echo "/api = http://$BACKEND" || echo "/api/files = fastcgi:unix:$sockets/echo")
[rules]
POST /api/files = file_upload, storage_used_gb
CONF
# The operator's rules, but for the one that is there already.
[ ! -e "$STATE/rules" ] || grep -vxE 'POST /api/files = (file_upload|storage_used_gb|file_upload, storage_used_gb)' "$STATE/rules" >>"$work/tollgate.conf" || true
chmod 644 "$work/tollgate.conf"
printf '#!/bin/sh\nexec %q --config %q "$@"\n' "$work/bin/tollgate" "$work/tollgate.conf" >"$STATE/tollgate"
chmod 755 "$STATE/tollgate"
tollgate=$STATE/tollgate
"$tollgate" config --check >/dev/null || die "the configuration is wrong; RULES=none forgets the rules that were given"
# The web server's configuration, as an operator makes it.
case $SERVER in
lighttpd) "$tollgate" config lighttpd >"$work/server/lighttpd.conf" ;;
apache) for part in server vhost; do "$tollgate" config apache $part >"$work/server/apache-$part.conf"; done ;;
nginx) for part in http server; do "$tollgate" config nginx $part >"$work/server/nginx-$part.conf"; done ;;
esac

# ---- processes: started, watched, stopped ----

declare -A pids=() sessions=() commands=() failures=() started=()
order=()
pg_bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
data=$work/pg/data
stopping=

start() { # start NAME: runs commands[NAME] in the background, its output to log/NAME.log
  local name=$1 out=$work/log/$1.log
  [ "$name" = postgres ] && out=$work/log/postgres.log
  (eval "${commands[$name]}") >>"$out" 2>&1 </dev/null &
  pids[$name]=$! sessions[$name]=$!
  mkdir -p "$STATE/pids"
  echo "$! $work" >"$STATE/pids/$name"
  started[$name]=$SECONDS
}
run() { # run NAME USER COMMAND…
  local name=$1 user=$2
  shift 2
  commands[$name]="as $user $(printf '%q ' "$@")"
  order+=("$name")
  start "$name"
}
postmaster() { head -1 "$data/postmaster.pid" 2>/dev/null || true; }

stop_all() {
  stopping=yes
  rm -f "$STATE/demo.env"
  local i name pid signal
  for ((i = ${#order[@]} - 1; i >= 0; i--)); do
    name=${order[i]} pid=${pids[$name]:-} signal=TERM
    if [ "$name" = postgres ]; then signal=INT pid=$(postmaster); fi
    [ "$name" = server ] && [ "$SERVER" = nginx ] && signal=QUIT
    alive "$pid" && kill -"$signal" "$pid" 2>/dev/null || true
    for ((n = 0; n < 100; n++)); do alive "$pid" || break; sleep 0.05; done
    if alive "$pid"; then
      [ "$name" = postgres ] && kill -QUIT "$pid" 2>/dev/null || kill -KILL -- "-$pid" 2>/dev/null || true
    fi
  done
  wait 2>/dev/null || true
  rm -rf "$STATE/pids"
}
finish() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  stop_all
  [ -s "$STATE/sockets" ] && rm -rf "$(cat "$STATE/sockets")" "$STATE/sockets"
  exit $status
}
trap finish EXIT
# A second signal must not end this before all is stopped: make passes on what its process group got already.
trap 'trap "" INT TERM HUP; stopping=yes; say; say "Stopping."; exit 0' INT TERM HUP

wait_for() { # wait_for SECONDS WHAT COMMAND…
  local seconds=$1 what=$2 until=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { tail -qn 5 "$work"/log/*.log >&2; die "$what did not start within $seconds s; its log is in $work/log"; }
    sleep 0.1
  done
}

# ---- PostgreSQL ----

step "database"
if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data"
  (as "$db_user" "$pg_bin/initdb" -D "$data" -U postgres -A peer -E UTF8 --locale=C.UTF-8) >"$work/log/initdb.log" 2>&1 ||
    { cat "$work/log/initdb.log" >&2; die "the database cluster could not be made"; }
fi
{
  echo "local all all peer map=tollgate"
} >"$work/pg/hba.conf"
{
  for user in root "$db_user" "$(id -un)"; do printf 'tollgate %s tollgate_owner\ntollgate %s postgres\n' "$user" "$user"; done
  printf 'tollgate %s tollgate_web\ntollgate %s tollgate_collector\n' "$app_user" "$app_user"
} | sort -u >"$work/pg/ident.conf"
cat >"$work/pg/demo.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$sockets'
port = 5432
hba_file = '$work/pg/hba.conf'
ident_file = '$work/pg/ident.conf'
max_connections = 60
shared_buffers = 64MB
max_wal_size = 512MB
log_min_messages = warning
timezone = 'UTC'
CONF
# In the cluster's own configuration, so that pg_ctl start brings back the same.
grep -q demo.conf "$data/postgresql.conf" || echo "include = '../demo.conf'" >>"$data/postgresql.conf"
if [ "$(id -u)" = 0 ]; then chown "$db_user" "$work/pg/hba.conf" "$work/pg/ident.conf" "$work/pg/demo.conf"; fi
run postgres "$db_user" "$pg_bin/postgres" -D "$data"
wait_for 60 PostgreSQL env PGUSER=postgres PGDATABASE=postgres psql -XqAtc 'SELECT 1'
psql -U postgres -d postgres -Xq -v ON_ERROR_STOP=1 -f sql/roles.sql
if ! psql -U postgres -d postgres -XqAtc "SELECT 1 FROM pg_database WHERE datname = 'tollgate'" | grep -q 1; then
  psql -U postgres -d postgres -Xq -v ON_ERROR_STOP=1 -c 'CREATE DATABASE tollgate OWNER tollgate_owner'
fi
step "schema"
"$tollgate" migrate --new 2>&1 | sed 's/^/  /'

# ---- demo data ----

step "demo data"
secrets=$STATE/demo.secrets
if [ "$(psql -XqAtc 'SELECT EXISTS (SELECT FROM tenants)')" = f ]; then "$tollgate" demo 2>&1 | sed 's/^/  /'; fi
TENANT_ID=tenant_1762083064503
if [ ! -s "$secrets" ]; then
  umask 077
  password() { head -c 15 /dev/urandom | base64 | tr '+/' 'xy'; }
  key() { "$tollgate" key create "$@" --json | sed -n 's/.*"key": *"\([^"]*\)".*/\1/p'; }
  admin_password=$(password) operator_password=$(password)
  printf %s "$admin_password" | "$tollgate" account create admin@riverside.example --tenant $TENANT_ID --role admin --password-stdin >/dev/null
  printf %s "$operator_password" | "$tollgate" account create operator@tollgate.example --role operator --password-stdin >/dev/null
  tenant_key=$(key Demo --tenant $TENANT_ID --scopes call,track,read,admin)
  operator_key=$(key "Demo operator" --operator)
  [ -n "$tenant_key" ] && [ -n "$operator_key" ] || die "the demo's keys could not be made"
  {
    echo "TENANT_KEY=$tenant_key"
    echo "OPERATOR_KEY=$operator_key"
    echo "ADMIN_EMAIL=admin@riverside.example"
    echo "ADMIN_PASSWORD=$admin_password"
    echo "OPERATOR_EMAIL=operator@tollgate.example"
    echo "OPERATOR_PASSWORD=$operator_password"
  } >"$secrets.new"
  mv "$secrets.new" "$secrets"
  umask 022
fi
. "$secrets"
psql -XqAt -F ' ' -c 'SELECT DISTINCT ON (tenant_id) tenant_id, storage_bytes FROM usage_summary ORDER BY tenant_id, period_start DESC' | while read -r id bytes; do
  [ -d "$work/storage/$id" ] && continue
  mkdir -p "$work/storage/$id/scans"
  truncate -s $((bytes / 3)) "$work/storage/$id/records.bin"
  truncate -s $((bytes - bytes / 3)) "$work/storage/$id/scans/images.bin"
done
if [ -n "${DEMO_TOKEN:-}" ]; then
  say "  WARNING: DEMO_TOKEN is an operator's key of this demo; whoever knows it may do everything here."
  psql -Xq -c "DELETE FROM tollgate.api_keys WHERE name = 'DEMO_TOKEN'"
  printf %s "$DEMO_TOKEN" | "$tollgate" key create DEMO_TOKEN --operator --key-stdin --demo-token >/dev/null
else
  psql -Xq -c "DELETE FROM tollgate.api_keys WHERE name = 'DEMO_TOKEN'"
fi

# ---- Tollgate and the web server ----

step "services"
export TOLLGATE_CONF=$work/tollgate.conf
export TOLLGATE_PORT=$PORT TOLLGATE_SHARE=$work/share TOLLGATE_LOG=$work/log TOLLGATE_SERVER=$work/server
run collector "$app_user" "$work/bin/tollgate-collector"
wait_for 20 "the collector" test -s "$work/spool/node"
run gate "$app_user" "$work/bin/tollgate-gate"
run web "$app_user" "$work/bin/tollgate-web"
run echo "$app_user" "$work/bin/echo" "unix:$sockets/echo"
for socket in web pages echo; do wait_for 10 "$socket" test -S "$sockets/$socket"; done
case $SERVER in
lighttpd) run server "$app_user" /usr/sbin/lighttpd -D -f "$work/share/demo/lighttpd.conf" ;;
apache) run server "$app_user" /usr/sbin/apache2 -D FOREGROUND -f "$work/share/demo/apache.conf" ;;
nginx)
  for name in PORT SHARE LOG SERVER; do
    value=TOLLGATE_$name
    printf 's|${%s}|%s|g\n' "$value" "${!value}"
  done | sed -f - "$work/share/demo/nginx.conf" >"$work/server/nginx.conf"
  run server "$app_user" /usr/sbin/nginx -e "$work/log/nginx.log" -c "$work/server/nginx.conf" -g 'daemon off;'
  ;;
esac
url=http://127.0.0.1:$PORT
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$PORT" && printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$1" >&3 && head -1 <&3 | grep -q ' 200') 2>/dev/null; }
wait_for 20 "the web server" answers /healthz
wait_for 20 "the service" answers /readyz

umask 077
{
  echo "URL=$url"
  echo "PGHOST=$PGHOST"
  echo "PGPORT=$PGPORT"
  echo "PGDATABASE=$PGDATABASE"
  echo "PGUSER=$PGUSER"
  echo "TENANT_ID=$TENANT_ID"
  cat "$secrets"
  printf 'TOLLGATE=%q\n' "$tollgate"
} >"$STATE/demo.env.new"
mv "$STATE/demo.env.new" "$STATE/demo.env"
umask 022
step "ready"
cat <<TEXT

  Tollgate answers on $url  ($SERVER; files in $work)

  a tenant's admin   $ADMIN_EMAIL   $ADMIN_PASSWORD
  the operator       $OPERATOR_EMAIL   $OPERATOR_PASSWORD

  for scripts: . $STATE/demo.env
    curl -H "Authorization: Bearer \$TENANT_KEY" \$URL/api/demo/hello
    curl -H "Authorization: Bearer \$TENANT_KEY" \$URL/api/usage/tenant/\$TENANT_ID/report

  Ctrl-C stops it.
TEXT

# ---- watching ----

# A deliberate stop of PostgreSQL (pg_ctl stop) is respected: the spool holds until somebody starts it again.
# However many clients were turned away since.
stopped_on_purpose() {
  tail -n 5000 "$work/log/postgres.log" | awk '/ready to accept connections/ { stopped = 0 }
    /received (fast|smart) shutdown request/ { stopped = 1 } END { exit !stopped }'
}

# After SIGHUP gate and web go on as a new process of the old one's session, which the sockets were handed to.
successor() {
  local pid
  for pid in $(ps -o pid= --sid "$1" 2>/dev/null); do
    if { tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | grep -qx "LISTEN_PID=$pid"; then echo "$pid"; fi
  done | tail -1
}

held=
while :; do
  sleep 0.5 9>&- &
  wait $! || true
  for name in "${order[@]}"; do
    pid=${pids[$name]:-}
    if [ "$name" = postgres ]; then
      if [ -n "$held" ] && alive "$(postmaster)"; then
        say "PostgreSQL is back."
        held= pid=$(postmaster)
        pids[postgres]=$pid
      fi
      [ -z "$held" ] || continue
      alive "$pid" && continue
      if stopped_on_purpose; then
        held=yes
        : >"$work/log/postgres.log"
        say "PostgreSQL was stopped; calls go on and the spool holds them. Start it with: $pg_bin/pg_ctl -D $data start"
        continue
      fi
    fi
    alive "$pid" && continue
    next=$(successor "${sessions[$name]}")
    if [ -n "$next" ]; then
      pids[$name]=$next
      continue
    fi
    wait "$pid" 2>/dev/null && ended=0 || ended=$?
    # who was killed from outside did not fail
    if [ $ended -ne 137 ] && [ $((SECONDS - started[$name])) -lt 5 ]; then failures[$name]=$((${failures[$name]:-0} + 1)); else failures[$name]=0; fi
    if [ "${failures[$name]}" -gt 5 ]; then
      tail -n 10 "$work/log/$name.log" >&2 || true
      die "$name keeps ending; its log is $work/log/$name.log"
    fi
    say "$name ended; starting it again"
    # somebody else may have started it meanwhile
    [ "$name" != postgres ] || alive "$(postmaster)" || rm -f "$data/postmaster.pid"
    start "$name"
  done
done
