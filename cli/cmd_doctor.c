/* cmd_doctor.c: tollgate doctor: is each part well, and if not, what to do */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/probe.h"
#include "cli/rules.h"
#include "cli/spool_view.h"
#include "cli/table.h"
#include "lib/base/clock.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/db.h"
#include "lib/store/health.h"
#include "lib/store/journal.h"
#include "lib/web/node.h"

#define HEARTBEAT_MOST_US (10 * CLOCK_US_PER_SECOND)
#define LAG_MOST_S 60
#define BUSY_MOST_S 60                         /* longer than a statement may take, unless that is configured */
#define SYNC_LATE_US (5 * CLOCK_US_PER_SECOND) /* beyond spool.sync_ms */
#define CLOCK_OFF_MOST_US (2 * CLOCK_US_PER_SECOND)
#define DISK_LEAST_BYTES (64u << 20)

static const struct table_column columns[] = {
    {"part", "part", TABLE_TEXT},
    {"state", "", TABLE_TEXT},
    {"text", "", TABLE_TEXT},
    {0},
};

void doctor_line(struct doctor *d, bool ok, const char *part, const char *format, ...)
{
    char text[700];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
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

static void look_at_listeners(struct doctor *d, const char *part, const char *const listen[4], const char *program,
                              const char *path)
{
    bool authorizer = strcmp(part, "gate") == 0;

    for (int i = 0; i < 4 && listen[i]; i++) {
        int status = 0;

        switch (probe_fastcgi(listen[i], authorizer, path, &status)) {
        case PROBE_NOTHING:
            doctor_line(d, false, part, "nothing listens at %s: start %s, and look into its log", listen[i], program);
            break;
        case PROBE_SILENT:
            doctor_line(d, false, part,
                        "takes connections at %s but does not answer within %d s: its processes hang or are "
                        "too few; look into its log, then restart %s",
                        listen[i], PROBE_PATIENCE_S, program);
            break;
        default:
            doctor_line(d, status < 500, part,
                        status < 500 ? "answers at %s" : "answers %2$d at %1$s: look into its log", listen[i], status);
        }
    }
}

/* ---- the node ---- */

static int64_t number_of(struct json_object *o, const char *name)
{
    return (int64_t)node_number(o, name);
}

/* Is it there and does it say so? The rest of what it says is worth nothing otherwise. */
static bool collector_speaks(struct doctor *d, struct json_object *o)
{
    const char *beat = node_text(o, "heartbeat");
    int64_t at = node_time(o, "heartbeat"), pid = number_of(o, "pid");

    if (!spool_is_served(d->config->paths.spool_dir)) {
        doctor_line(d, false, "collector",
                    "does not run; last heard of %s: start tollgate-collector, and look into its log",
                    beat[0] ? beat : "never");
        return false;
    }
    if (pid <= 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) {
        doctor_line(d, false, "collector",
                    "one serves the spool, but %s/collector.json is of process %" PRId64
                    ", which is gone: it waits for PostgreSQL since its start, or has another paths.run_dir",
                    d->config->paths.run_dir, pid);
        return false;
    }
    if (!at || clock_wall_us() - at > HEARTBEAT_MOST_US) {
        doctor_line(d, false, "collector",
                    "process %" PRId64 " lives, but was last heard of %s: it hangs, or its disk does", pid,
                    beat[0] ? beat : "never");
        return false;
    }
    return true;
}

static void judge_sync(struct doctor *d, struct json_object *o)
{
    int64_t most_us = d->config->spool.sync_ms * 1000 + SYNC_LATE_US;
    struct json_object *v;
    double age;

    if (!json_object_object_get_ex(o, "last_sync_age", &v) || !v)
        return;
    age = json_object_get_double(v);
    doctor_line(d, age * 1e6 <= (double)most_us, "sync",
                age * 1e6 <= (double)most_us ? "the spool was synced %.1f s ago"
                                             : "the spool was last synced %.1f s ago: its disk is too slow, or failing",
                age);
}

static void judge_worker(struct doctor *d, struct json_object *o)
{
    char part[64];
    double busy = node_since(o, "busy_since"), done = node_since(o, "last_done");

    snprintf(part, sizeof(part), "worker %s", node_text(o, "name"));
    if (number_of(o, "failing"))
        doctor_line(d, false, part, "fails since %s: %s", node_text(o, "failing_since"), node_text(o, "last_error"));
    else if (busy > BUSY_MOST_S)
        doctor_line(d, false, part,
                    "is at the same work for %.0f s: it waits for a lock or a slow statement in PostgreSQL "
                    "(pg_stat_activity), or hangs",
                    busy);
    else if (done < 0)
        doctor_line(d, true, part, "has not been at work yet");
    else
        doctor_line(d, true, part, "was at work %.0f s ago, %" PRId64 " behind", done, number_of(o, "behind"));
}

static void judge_jobs(struct doctor *d, struct json_object *collector)
{
    size_t n, failing = 0;
    struct json_object *jobs = node_parts(collector, "jobs", &n);

    for (size_t i = 0; i < n; i++) {
        struct json_object *o = json_object_array_get_idx(jobs, i);
        char part[80];

        if (!number_of(o, "failing"))
            continue;
        failing++;
        snprintf(part, sizeof(part), "job %s", node_text(o, "name"));
        doctor_line(d, false, part, "fails since %s: %s; it is tried again", node_text(o, "failing_since"),
                    node_text(o, "last_error"));
    }
    if (jobs && failing == 0)
        doctor_line(d, true, "jobs", "%zu, and none fails", n);
}

static void judge_parts(struct doctor *d, struct json_object *o)
{
    size_t n;
    struct json_object *workers = node_parts(o, "workers", &n);

    for (size_t i = 0; i < n; i++)
        judge_worker(d, json_object_array_get_idx(workers, i));
    judge_jobs(d, o);
}

static void judge_collector(struct doctor *d, struct json_object *o)
{
    int64_t lag = number_of(o, "lag_seconds");
    bool ready = strcmp(node_text(o, "table"), "ready") == 0;

    if (!collector_speaks(d, o))
        return;
    if (strcmp(node_text(o, "database"), "connected") != 0)
        doctor_line(d, false, "collector", "runs, but can't use PostgreSQL (%s); calls go on, events wait in the spool",
                    node_text(o, "last_error"));
    else
        doctor_line(d, lag < LAG_MOST_S, "collector",
                    lag < LAG_MOST_S ? "runs as %" PRId64 ", %" PRId64 " events behind, %" PRId64 " s"
                                     : "process %" PRId64 " is %" PRId64 " events behind, %" PRId64
                                       " s: it catches up, or the database is too slow",
                    number_of(o, "pid"), number_of(o, "lag_events"), lag);
    if (strcmp(node_text(o, "database"), "connected") == 0) /* else that line says it for all */
        judge_parts(d, o);
    if (ready && limit_table_others(d->config->paths.run_dir) > 0)
        doctor_line(d, false, "limit table",
                    "a gate or tollgate-web of another version runs, without what changes since: "
                    "systemctl restart tollgate-gate tollgate-web");
    else
        doctor_line(d, ready, "limit table", ready ? "%s" : "%s: calls go by gate.on_failure until it is filled",
                    node_text(o, "table"));
    judge_sync(d, o);
}

static void look_at_collector(struct doctor *d)
{
    struct json_object *o = node_collector(d->config->paths.run_dir);

    if (o)
        judge_collector(d, o);
    else
        doctor_line(d, false, "collector", "%s/collector.json can't be read: start tollgate-collector",
                    d->config->paths.run_dir);
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
        doctor_line(d, false, "spool", "%s: %s; the collector makes it, and its user must be the gate's", dir,
                    status_text(s));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += list[i].bytes;
        live += list[i].live;
        foreign += list[i].header_intact && memcmp(list[i].node, node.uuid, sizeof(node.uuid)) != 0;
    }
    free(list);
    doctor_line(d, true, "spool", "%zu segments, %zu being written, %" PRIu64 " bytes", n, live, bytes);
    if (foreign)
        doctor_line(d, false, "spool",
                    "%zu segments are another node's: bring them in with `tollgate spool ingest`, then remove them",
                    foreign);
}

static void look_at_disk(struct doctor *d, const char *name, const char *dir)
{
    struct statvfs fs;
    uint64_t free_bytes;
    bool ok;

    if (statvfs(dir, &fs) != 0) {
        doctor_line(d, false, "disk", "%s %s is not there", name, dir);
        return;
    }
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    ok = free_bytes >= DISK_LEAST_BYTES;
    doctor_line(d, ok, "disk",
                ok ? "%s has %" PRIu64 " MiB free"
                   : "%s has only %" PRIu64 " MiB free: make room, or events are counted without their detail",
                dir, free_bytes >> 20);
}

static void say_rule(void *arg, const char *problem)
{
    doctor_line(arg, false, "rules", "%s", problem);
}

/* ---- the database ---- */

/* A question that fails must not keep the others from being asked. */
static bool ask(struct doctor *d, size_t question)
{
    struct db *db = d->cli->db;
    const char *part = health_part(question);
    struct db_rows *rows;
    enum status s = db_begin(db, NULL);

    if (s == STATUS_OK)
        s = health_ask(db, question, d->config->collector.partitions_ahead, &rows);
    if (s == STATUS_OK) {
        doctor_line(d, db_bool(rows, 0, 0), part, "%s", db_text(rows, 0, 1));
        db_rows_free(rows);
    } else {
        doctor_line(d, false, part, "%s%s", db_error(db)[0] ? db_error(db) : status_text(s),
                    s == STATUS_UNAVAILABLE && !db_other_version(db)
                        ? ": start PostgreSQL, or correct [database] owner in the configuration"
                        : "");
    }
    db_rollback(db);
    return s != STATUS_UNAVAILABLE;
}

/* Against PostgreSQL's clock now, and against what other clocks have left in the rows. */
static void look_at_clock(struct doctor *d)
{
    char future[HEALTH_TIME_SIZE];
    int64_t before = clock_wall_us(), now, off;

    if (db_begin(d->cli->db, NULL) != STATUS_OK)
        return;
    if (health_clock(d->cli->db, &now, future) == STATUS_OK) {
        off = now - (before + clock_wall_us()) / 2;
        if (off <= -CLOCK_OFF_MOST_US || off >= CLOCK_OFF_MOST_US)
            doctor_line(d, false, "clock", "PostgreSQL's is %.1f s ahead of this machine's: set both with NTP",
                        (double)off / 1e6);
        else if (future[0])
            doctor_line(d, false, "clock",
                        "right now, but there are events from the future, up to %s: a node's clock was ahead, or a "
                        "client sent them",
                        future);
        else
            doctor_line(d, true, "clock", "within %.1f s of PostgreSQL's, no event from the future",
                        (double)(off < 0 ? -off : off) / 1e6);
    }
    db_rollback(d->cli->db);
}

static void look_at_database(struct doctor *d)
{
    size_t wrong = d->wrong;

    for (size_t i = 0; health_part(i); i++) {
        if (!ask(d, i))
            return; /* it is away: one line says so */
        if (i == 0 && d->wrong > wrong)
            return; /* its schema is not ours: so does one */
        if (i == 0)
            look_at_clock(d);
    }
}

static int mark_seen(struct cli *c)
{
    int64_t marked = 0;
    enum status s = cli_begin(c);

    if (s == STATUS_OK)
        s = journal_damage_seen(c->db, &marked);
    if (s != STATUS_OK)
        return cli_fail(c, s, "the damage can't be marked as seen");
    printf("%" PRId64 " damaged places marked as seen\n", marked);
    return cli_commit(c) == STATUS_OK ? CLI_OK : CLI_FAILED;
}

int cmd_doctor(struct cli *c, int argc, char *argv[])
{
    struct doctor d = {.cli = c, .config = c->config, .json = c->json};
    bool seen = false;
    const char *at = NULL;
    const struct cli_option options[] = {{"seen", NULL, &seen}, {"at", &at, NULL}, {0}};

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if (at && strncmp(at, "http://", 7) != 0) {
        cli_say("--at needs an address such as http://127.0.0.1");
        return CLI_USAGE;
    }
    if (!cli_db(c))
        return CLI_FAILED;
    if (seen)
        return mark_seen(c);
    table_init(&d.table, columns);
    doctor_front(&d, at ? at : c->config->web.public_url);
    look_at_listeners(&d, "gate", c->config->gate.listen, "tollgate-gate", c->config->gate.prefix[0]);
    look_at_listeners(&d, "web", c->config->web.listen, "tollgate-web", "/healthz");
    look_at_listeners(&d, "pages", c->config->web.pages_listen, "tollgate-web", "/healthz");
    if (c->config->n_rules && rules_check(c->config, config_path(c->config_path), say_rule, &d) == 0)
        doctor_line(&d, true, "rules", "%zu, each of a metric that calls may record", c->config->n_rules);
    look_at_collector(&d);
    look_at_spool(&d);
    look_at_disk(&d, "paths.spool_dir", c->config->paths.spool_dir);
    look_at_disk(&d, "paths.run_dir", c->config->paths.run_dir);
    look_at_database(&d);
    if (c->json && table_print(&d.table, true) != CLI_OK)
        return CLI_FAILED;
    return d.wrong ? CLI_FAILED : CLI_OK;
}
