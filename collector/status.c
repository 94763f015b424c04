/* status.c: what the collector is doing, as collector.json and in the log */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/collector.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"

#define LOG_AGAIN_US (30 * CLOCK_US_PER_SECOND)

void status_failed(struct collector *c, const char *what, enum status s, const char *why)
{
    static int64_t logged_us;
    char text[sizeof(c->seen.error)];
    int64_t now = clock_mono_us();

    snprintf(text, sizeof(text), "%s: %s%s%s", what, why[0] ? why : status_text(s), why[0] ? " - " : "",
             why[0] ? status_text(s) : "");
    if (strcmp(text, c->seen.error) != 0 || now - logged_us > LOG_AGAIN_US) {
        log_warning("%s; trying again", text);
        logged_us = now;
    }
    memcpy(c->seen.error, text, sizeof(text));
    if (s == STATUS_UNAVAILABLE)
        c->seen.database_away = true;
}

static void put_count(struct json_object *o, const char *name, uint64_t v)
{
    json_object_object_add(o, name, json_object_new_uint64(v));
}

static void put_time(struct json_object *o, const char *name, int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(text, us, 0, 1);
    json_object_object_add(o, name, us ? json_object_new_string(text) : NULL);
}

static struct json_object *describe(struct collector *c)
{
    struct json_object *o = json_object_new_object();
    char node[SPOOL_NODE_TEXT];
    struct batch_lag lag;

    batch_lag(c->batch, &lag);
    samples_note(c, &lag);
    spool_node_text(&c->node, node);
    json_object_object_add(o, "pid", json_object_new_int64(getpid()));
    json_object_object_add(o, "node", json_object_new_string(node));
    put_time(o, "started", c->seen.started_us);
    put_time(o, "heartbeat", clock_wall_us());
    put_time(o, "stored", c->seen.stored_us);
    json_object_object_add(o, "database", json_object_new_string(c->seen.database_away ? "away" : "connected"));
    json_object_object_add(o, "table", json_object_new_string(table_good(c->table) ? "ready" : "being built"));
    put_count(o, "lag_events", lag.events);
    put_count(o, "lag_bytes", lag.bytes);
    json_object_object_add(o, "lag_seconds",
                           json_object_new_double(lag.oldest_us ? (double)(clock_wall_us() - lag.oldest_us) / 1e6 : 0));
    json_object_object_add(o, "last_sync_age",
                           sync_age_us(c->sync) < 0 ? NULL
                                                    : json_object_new_double((double)sync_age_us(c->sync) / 1e6));
    put_count(o, "segments", lag.segments);
    put_count(o, "spool_bytes", lag.spool_bytes);
    put_count(o, "batches", c->seen.batches);
    put_count(o, "rows", c->seen.rows);
    put_count(o, "duplicates", c->seen.duplicates);
    put_count(o, "rejected", c->seen.rejected);
    put_count(o, "degraded", c->seen.degraded);
    put_count(o, "damaged", c->seen.damaged);
    json_object_object_add(o, "last_error", json_object_new_string(c->seen.error));
    return o;
}

void status_write(struct collector *c)
{
    struct json_object *o = describe(c);
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
    char path[4096];
    enum status s = io_path(path, sizeof(path), c->config->paths.run_dir, "collector.json");

    if (s == STATUS_OK)
        s = io_replace_file(path, text, strlen(text), 0644);
    if (s == STATUS_NO_SPACE)
        chores_reserve(c, true);
    if (s != STATUS_OK)
        log_warning("collector.json can't be written: %s", status_text(s));
    json_object_put(o);
}
