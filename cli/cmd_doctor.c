/* cmd_doctor.c: tollgate doctor: is each part well, and if not, what to do */
#include <inttypes.h>
#include <json-c/json.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/meter/spool.h"
#include "lib/store/db.h"

#define HEARTBEAT_MOST_US (10 * CLOCK_US_PER_SECOND)
#define LAG_MOST_S 60
#define DISK_LEAST_BYTES (64u << 20)
#define STATUS_FILE_MOST 65536

static const struct table_column columns[] = {
    {"part", "part", TABLE_TEXT},
    {"state", "", TABLE_TEXT},
    {"text", "", TABLE_TEXT},
    {0},
};

struct doctor {
    struct cli *cli;
    const struct config *config;
    struct table table;
    size_t wrong;
    bool json;
};

static void PRINTF_LIKE(4, 5) line(struct doctor *d, bool ok, const char *part, const char *format, ...)
{
    char text[700];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    d->wrong += !ok;
    if (d->json) {
        table_cell(&d->table, part);
        table_cell(&d->table, ok ? "ok" : "wrong");
        table_cell(&d->table, text);
    } else {
        printf("%-6s %-12s %s\n", ok ? "OK" : "WRONG", part, text);
    }
}

/* ---- who listens ---- */

static bool connects_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    ok = fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool connects_tcp(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    struct timeval patience = {.tv_sec = 3};
    bool ok = false;

    if (getaddrinfo(host, port, &hints, &list) != 0)
        return false;
    for (const struct addrinfo *a = list; a && !ok; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        ok = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
        close(fd);
    }
    freeaddrinfo(list);
    return ok;
}

/* "host:port" or "[::1]:port", up to `end`; a missing port is `standard`. */
static bool connects_authority(const char *text, size_t length, const char *standard)
{
    char host[256], *port;

    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = 0;
    port = strrchr(host, ':');
    if (port && strchr(port, ']'))
        port = NULL;
    if (port)
        *port++ = 0;
    if (host[0] == '[') {
        host[strcspn(host, "]")] = 0;
        return connects_tcp(host + 1, port ? port : standard);
    }
    return connects_tcp(host, port ? port : standard);
}

static void look_at_listeners(struct doctor *d, const char *part, const char *const listen[4], const char *program)
{
    for (int i = 0; i < 4 && listen[i]; i++) {
        bool ok = strncmp(listen[i], "unix:", 5) == 0 ? connects_unix(listen[i] + 5)
                                                      : connects_authority(listen[i], strlen(listen[i]), "9000");

        line(d, ok, part, ok ? "answers at %s" : "nothing answers at %s: start %s, and look into its log", listen[i],
             program);
    }
}

static void look_at_web_server(struct doctor *d)
{
    const char *url = d->config->web.public_url, *at = url ? strstr(url, "://") : NULL;
    bool ok;

    if (!at)
        return;
    ok = connects_authority(at + 3, strcspn(at + 3, "/?#"), strncmp(url, "https", 5) == 0 ? "443" : "80");
    line(d, ok, "web server",
         ok ? "takes connections at %s" : "nothing answers at %s (web.public_url): start the web server", url);
}

/* ---- the node ---- */

static int64_t number_of(struct json_object *o, const char *name)
{
    struct json_object *v;

    return json_object_object_get_ex(o, name, &v) ? json_object_get_int64(v) : 0;
}

static const char *text_of(struct json_object *o, const char *name)
{
    struct json_object *v;
    const char *text = json_object_object_get_ex(o, name, &v) ? json_object_get_string(v) : NULL;

    return text ? text : "";
}

static void judge_collector(struct doctor *d, struct json_object *o)
{
    const char *beat = text_of(o, "heartbeat");
    int64_t at = 0, lag = number_of(o, "lag_seconds");

    if (clock_parse_rfc3339(beat, strlen(beat), &at) != STATUS_OK || clock_wall_us() - at > HEARTBEAT_MOST_US) {
        line(d, false, "collector", "last heard of %s: start tollgate-collector, and look into its log",
             beat[0] ? beat : "never");
        return;
    }
    if (strcmp(text_of(o, "database"), "connected") != 0)
        line(d, false, "collector", "runs, but can't use PostgreSQL (%s); calls go on, events wait in the spool",
             text_of(o, "last_error"));
    else
        line(d, lag < LAG_MOST_S, "collector",
             lag < LAG_MOST_S ? "runs as %" PRId64 ", %" PRId64 " events behind, %" PRId64 " s"
                              : "process %" PRId64 " is %" PRId64 " events behind, %" PRId64
                                " s: it catches up, or the database is too slow",
             number_of(o, "pid"), number_of(o, "lag_events"), lag);
    line(d, strcmp(text_of(o, "table"), "ready") == 0, "limit table",
         strcmp(text_of(o, "table"), "ready") == 0 ? "%s" : "%s: calls go by gate.on_failure until it is filled",
         text_of(o, "table"));
}

static void look_at_collector(struct doctor *d)
{
    struct json_object *o = NULL;
    char path[4096], *text;
    size_t length;

    if (io_path(path, sizeof path, d->config->paths.run_dir, "collector.json") != STATUS_OK)
        return;
    if (io_read_file(path, STATUS_FILE_MOST, &text, &length) == STATUS_OK) {
        o = json_tokener_parse(text);
        free(text);
    }
    if (o)
        judge_collector(d, o);
    else
        line(d, false, "collector", "%s can't be read: start tollgate-collector", path);
    json_object_put(o);
}

static void look_at_spool(struct doctor *d)
{
    const char *dir = d->config->paths.spool_dir;
    struct spool_segment *list;
    struct spool_node node;
    uint64_t bytes = 0;
    size_t n, live = 0, foreign = 0;
    enum status s = spool_node_load(dir, false, &node);

    if (s == STATUS_OK)
        s = spool_list(dir, &list, &n);
    if (s != STATUS_OK) {
        line(d, false, "spool", "%s: %s; the collector makes it, and its user must be the gate's", dir, status_text(s));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += list[i].bytes;
        live += list[i].live;
        foreign += list[i].header_intact && memcmp(list[i].node, node.uuid, sizeof node.uuid) != 0;
    }
    free(list);
    line(d, true, "spool", "%zu segments, %zu being written, %" PRIu64 " bytes", n, live, bytes);
    if (foreign)
        line(d, false, "spool",
             "%zu segments are another node's: bring them in with `tollgate spool ingest`, then remove them", foreign);
}

static void look_at_disk(struct doctor *d, const char *name, const char *dir)
{
    struct statvfs fs;
    uint64_t free_bytes;
    bool ok;

    if (statvfs(dir, &fs) != 0) {
        line(d, false, "disk", "%s %s is not there", name, dir);
        return;
    }
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    ok = free_bytes >= DISK_LEAST_BYTES;
    line(d, ok, "disk",
         ok ? "%s has %" PRIu64 " MiB free"
            : "%s has only %" PRIu64 " MiB free: make room, or events are counted without their detail",
         dir, free_bytes >> 20);
}

/* ---- the database ---- */

struct question {
    const char *part, *sql; /* gives one row: ok, text */
};

static const struct question questions[] = {
    {"database",
     "SELECT current_setting('server_version_num')::int >= 150000 AND to_regproc('tollgate.ingest') IS NOT NULL, "
     "CASE WHEN to_regproc('tollgate.ingest') IS NULL THEN 'its schema is not Tollgate''s: run `tollgate migrate`' "
     "WHEN current_setting('server_version_num')::int < 150000 THEN 'PostgreSQL 15 or newer is needed' "
     "ELSE 'PostgreSQL ' || current_setting('server_version') || ', ' || "
     "pg_size_pretty(pg_database_size(current_database())) END"},
    {"partitions",
     "SELECT to_regclass('public.usage_tracking_' || to_char(now() + interval '1 month', 'YYYY_MM')) IS NOT NULL, "
     "CASE WHEN to_regclass('public.usage_tracking_' || to_char(now() + interval '1 month', 'YYYY_MM')) IS NULL "
     "THEN 'next month has none: the collector makes them, see whether it runs' "
     "ELSE (SELECT count(*) || ' months, up to ' || max(right(c.relname, 7)) FROM pg_inherits i JOIN pg_class c "
     "ON c.oid = i.inhrelid WHERE i.inhparent = 'public.usage_tracking'::regclass) END"},
    {"clock", "SELECT NOT EXISTS (SELECT FROM usage_tracking WHERE recorded_at > now() + interval '10 minutes'), "
              "CASE WHEN EXISTS (SELECT FROM usage_tracking WHERE recorded_at > now() + interval '10 minutes') "
              "THEN 'there are rows from the future: a node''s clock was ahead, up to ' || (SELECT "
              "max(recorded_at)::text FROM usage_tracking "
              "WHERE recorded_at > now()) ELSE 'no row from the future' END"},
    {"damage",
     "SELECT count(*) = 0, CASE count(*) WHEN 0 THEN 'none that nobody has seen' ELSE count(*) || ' damaged places in "
     "spools, the last of node ' "
     "|| (array_agg(node ORDER BY found_at DESC))[1] || ' segment ' || to_hex((array_agg(segment ORDER BY found_at "
     "DESC))[1]) || ' at ' || max(found_at)::text || "
     "': look for a failing disk, then say `tollgate doctor --seen`' END FROM spool_damage WHERE seen_at IS NULL"},
    {"rejected", "SELECT count(*) = 0, CASE count(*) WHEN 0 THEN 'none in a day' ELSE sum(n) || ' events in a day "
                 "could not be stored: ' "
                 "|| string_agg(reason || ' ' || n, ', ') || '; see table usage_rejected' END "
                 "FROM (SELECT reason, count(*) AS n FROM usage_rejected WHERE rejected_at > now() - interval '1 day' "
                 "GROUP BY reason) r"},
    {"nodes",
     "SELECT count(*) FILTER (WHERE seen_at < now() - interval '1 minute') = 0, "
     "count(*) || ' known' || coalesce('; not heard of for a minute: ' || string_agg(coalesce(nullif(host, ''), "
     "node::text), ', ') "
     "FILTER (WHERE seen_at < now() - interval '1 minute') || ': start the collector there, or bring its spool in with "
     "`tollgate spool ingest`', '') FROM collector_nodes"},
};

/* A question that fails must not keep the others from being asked. */
static bool ask(struct doctor *d, const struct question *q)
{
    struct db_rows *rows;
    enum status s = db_begin(d->cli->db, NULL);

    if (s == STATUS_OK)
        s = db_query(d->cli->db, q->sql, 0, NULL, &rows);
    if (s != STATUS_OK) {
        line(d, false, q->part, "%s", db_error(d->cli->db)[0] ? db_error(d->cli->db) : status_text(s));
        db_rollback(d->cli->db);
        return s != STATUS_UNAVAILABLE;
    }
    line(d, db_bool(rows, 0, 0), q->part, "%s", db_text(rows, 0, 1));
    db_rows_free(rows);
    db_rollback(d->cli->db);
    return true;
}

static void look_at_clock(struct doctor *d)
{
    struct db_rows *rows;
    int64_t before = clock_wall_us(), off;

    if (db_begin(d->cli->db, NULL) != STATUS_OK)
        return;
    if (db_query(d->cli->db, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", 0, NULL, &rows) ==
        STATUS_OK) {
        off = db_int(rows, 0, 0) - (before + clock_wall_us()) / 2;
        line(d,
             off > -2000000 && off<2000000, "clock", off> - 2000000 && off < 2000000
                 ? "within %.1f s of PostgreSQL's"
                 : "%.1f s off PostgreSQL's: set it with NTP",
             (double)off / 1e6);
        db_rows_free(rows);
    }
    db_rollback(d->cli->db);
}

static void look_at_database(struct doctor *d)
{
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        if (!ask(d, &questions[i]))
            return; /* it is away: one line says so */
        if (i == 0)
            look_at_clock(d);
    }
}

static int mark_seen(struct cli *c)
{
    struct db_rows *rows = NULL;
    enum status s = cli_begin(c);

    if (s == STATUS_OK)
        s = db_query(c->db, "UPDATE spool_damage SET seen_at = now() WHERE seen_at IS NULL", 0, NULL, &rows);
    if (s != STATUS_OK)
        return cli_fail(c, s, "the damage can't be marked as seen");
    printf("%" PRId64 " damaged places marked as seen\n", db_affected(rows));
    db_rows_free(rows);
    return cli_commit(c) == STATUS_OK ? CLI_OK : CLI_FAILED;
}

int cmd_doctor(struct cli *c, int argc, char *argv[])
{
    struct doctor d = {.cli = c, .config = c->config, .json = c->json};
    bool seen = false;

    if (cli_parse(argc, argv, (const struct cli_option[]){{"seen", NULL, &seen}, {0}}, NULL, 0, 0))
        return CLI_USAGE;
    if (!cli_db(c))
        return CLI_FAILED;
    if (seen)
        return mark_seen(c);
    table_init(&d.table, columns);
    look_at_web_server(&d);
    look_at_listeners(&d, "gate", c->config->gate.listen, "tollgate-gate");
    look_at_listeners(&d, "web", c->config->web.listen, "tollgate-web");
    look_at_collector(&d);
    look_at_spool(&d);
    look_at_disk(&d, "paths.spool_dir", c->config->paths.spool_dir);
    look_at_disk(&d, "paths.run_dir", c->config->paths.run_dir);
    look_at_database(&d);
    if (c->json && table_print(&d.table, true) != CLI_OK)
        return CLI_FAILED;
    return d.wrong ? CLI_FAILED : CLI_OK;
}
