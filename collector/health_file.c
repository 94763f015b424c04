/* health_file.c: what the collector is doing, as collector.json */
#include "collector/health_file.h"

#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"

static void put_count(struct json_object *o, const char *name, uint64_t v)
{
    json_object_object_add(o, name, json_object_new_uint64(v));
}

static void put_text(struct json_object *o, const char *name, const char *text)
{
    json_object_object_add(o, name, json_object_new_string(text));
}

static void put_time(struct json_object *o, const char *name, int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(text, us, 0, 1);
    json_object_object_add(o, name, us ? json_object_new_string(text) : NULL);
}

static struct json_object *describe_part(const struct health_part *p, bool job)
{
    struct json_object *o = json_object_new_object();

    put_text(o, "name", p->name);
    json_object_object_add(o, "failing", json_object_new_boolean(p->failing));
    put_time(o, "failing_since", p->since_us);
    put_time(o, "last_done", p->done_us);
    put_time(o, "busy_since", p->began_us);
    put_text(o, "last_error", p->error);
    put_time(o, "last_error_at", p->error_us);
    put_count(o, "done", p->done);
    put_count(o, "failed", p->failed);
    if (job) {
        put_count(o, "overran", p->overran);
        json_object_object_add(o, "duration", json_object_new_double((double)p->took_us / 1e6));
    } else {
        put_count(o, "behind", p->behind);
    }
    return o;
}

/* What failed last of all parts; "" when nothing has. */
static const char *last_error(const struct health *h)
{
    const struct health_part *last = &h->parts[0];

    for (size_t i = 1; i < h->n_parts; i++)
        if (h->parts[i].error_us > last->error_us)
            last = &h->parts[i];
    return last->error;
}

static void put_parts(struct json_object *o, const struct health *h)
{
    struct json_object *workers = json_object_new_array(), *jobs = json_object_new_array();
    bool unavailable = false;

    for (size_t i = 0; i < h->n_parts; i++) {
        bool job = i >= HEALTH_WORKERS;

        json_object_array_add(job ? jobs : workers, describe_part(&h->parts[i], job));
        unavailable = unavailable || h->parts[i].unavailable;
    }
    put_text(o, "database", unavailable ? "unavailable" : "connected");
    put_text(o, "last_error", last_error(h));
    json_object_object_add(o, "workers", workers);
    json_object_object_add(o, "jobs", jobs);
}

static void put_import(struct json_object *o, const struct health *h)
{
    put_time(o, "stored", h->counts.stored_us);
    put_count(o, "lag_events", h->lag.events);
    put_count(o, "lag_bytes", h->lag.bytes);
    json_object_object_add(o, "lag_seconds", json_object_new_double(health_lag_seconds(&h->lag)));
    put_count(o, "segments", h->lag.segments);
    put_count(o, "spool_bytes", h->lag.spool_bytes);
    put_count(o, "batches", h->counts.batches);
    put_count(o, "rows", h->counts.rows);
    put_count(o, "duplicates", h->counts.duplicates);
    put_count(o, "rejected", h->counts.rejected);
    put_count(o, "degraded", h->counts.degraded);
    put_count(o, "damaged", h->counts.damaged);
}

static struct json_object *describe(struct collector *c)
{
    struct json_object *o = json_object_new_object();
    char node[SPOOL_NODE_TEXT];
    int64_t synced = sync_age_us(c->sync);

    spool_node_text(&c->node, node);
    json_object_object_add(o, "pid", json_object_new_int64(getpid()));
    put_text(o, "node", node);
    put_time(o, "started", c->health.started_us);
    put_time(o, "heartbeat", clock_wall_us());
    put_text(o, "table", replica_good(&c->replica) ? "ready" : "being built");
    json_object_object_add(o, "last_sync_age", synced < 0 ? NULL : json_object_new_double((double)synced / 1e6));
    pthread_mutex_lock(&c->health.lock);
    put_import(o, &c->health);
    put_parts(o, &c->health);
    pthread_mutex_unlock(&c->health.lock);
    return o;
}

enum status health_file_write(struct collector *c)
{
    struct json_object *o = describe(c);
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
    char path[4096];
    enum status s = io_path(path, sizeof(path), c->config->paths.run_dir, "collector.json");

    if (s == STATUS_OK)
        s = io_replace_file(path, text, strlen(text), 0644);
    if (s != STATUS_OK)
        log_warning("collector.json can't be written: %s", status_text(s));
    json_object_put(o);
    return s;
}
