#!/bin/sh
# pg.sh: a private PostgreSQL for tests: unix socket only, superuser "postgres", no fsync.
#   tests/pg.sh start DIR   makes the cluster when there is none, starts it, prints "host=DIR user=postgres"
#   tests/pg.sh stop DIR [fast|immediate]
#   tests/pg.sh remove DIR  stops it and removes the folder
set -eu

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || { echo "pg.sh: PostgreSQL's programs are not installed (apt-get install postgresql)" >&2; exit 1; }
[ $# -ge 2 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
dir=$2

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

stop() {
    if as_postgres "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1; then
        as_postgres "$bin/pg_ctl" -D "$dir/data" -m "${1:-fast}" -w stop >/dev/null
    fi
}

case $1 in
start)
    if [ ! -d "$dir/data" ]; then
        mkdir -p "$dir"
        if [ "$(id -u)" = 0 ]; then chown postgres "$dir"; chmod 711 "$dir"; fi
        as_postgres "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
        as_postgres sh -c 'cat >>"$1/data/postgresql.conf"' sh "$dir" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
unix_socket_permissions = 0777
fsync = off
max_connections = 60
shared_buffers = 64MB
logging_collector = off
log_min_messages = warning
CONF
    fi
    if ! as_postgres "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1; then
        as_postgres "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/log" -w start >/dev/null
    fi
    echo "host=$dir user=postgres"
    ;;
stop) stop "${3:-fast}" ;;
remove) stop immediate; rm -rf "$dir" ;;
*) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
