/* table_fill.c: a new table out of PostgreSQL and the unread spool, or an earlier collector's gone on with */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/table_parts.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/intake/batch.h"
#include "lib/meter/limit_table/limit_table.h"

/*
 * The days come first, and each is added to its period, too, unless it is too old to be brought in. What the days have not
 * brought is added at the period's start.
 */
enum status table_put_count(void *arg, const struct publish_count *c)
{
    struct table_fill *f = arg;
    uint32_t tenant;
    int metric;
    int64_t rest = c->used;

    if (strcmp(f->tenant, c->tenant) != 0 || strcmp(f->metric, c->metric) != 0) {
        snprintf(f->tenant, sizeof(f->tenant), "%s", c->tenant);
        snprintf(f->metric, sizeof(f->metric), "%s", c->metric);
        f->n_days = 0;
    }
    if (!table_place(f->t, c->tenant, c->metric, &tenant, &metric))
        return STATUS_OK;
    if (c->day) {
        table_bring_in(f->t, tenant, metric, c->start_us, c->used, 0, 0);
        if (c->start_us >= f->t->oldest_day_us && f->n_days < sizeof(f->days) / sizeof(f->days[0])) {
            f->days[f->n_days].start_us = c->start_us;
            f->days[f->n_days++].used = c->used;
        }
        return STATUS_OK;
    }
    for (size_t i = 0; i < f->n_days; i++)
        if (f->days[i].start_us >= c->start_us && f->days[i].start_us < c->end_us)
            rest -= f->days[i].used;
    table_add_count(f->t, tenant, metric, c->start_us, rest);
    return STATUS_OK;
}

enum status table_put_tenant(void *arg, const struct limit_tenant *tenant, const struct publish_gauge *gauges, size_t n)
{
    struct table *t = arg;
    struct limit_tenant leased = *tenant;
    uint32_t index;

    for (uint32_t i = 0; i < LIMIT_TABLE_LIMITS; i++)
        leased.limits[i].lease_percent = (uint8_t)t->config->limits.lease_percent;
    enum status s = limit_table_put_tenant(t->limits, &leased, &index);

    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        s = limit_table_set_gauge(t->limits, index, (uint8_t)gauges[i].metric, gauges[i].level);
    return s;
}

enum status table_put_key(void *arg, const struct limit_key *key, const char *tenant)
{
    struct table *t = arg;
    struct limit_key k = *key;

    if (!k.is_operator && limit_table_tenant_index(t->limits, tenant, strlen(tenant), &k.tenant) != STATUS_OK)
        return STATUS_OK; /* its tenant went, or comes with a change of its own, and its keys with it */
    return limit_table_put_key(t->limits, &k);
}

static void fill_event(void *arg, const struct event *e, uint64_t segment)
{
    struct table *t = arg;
    uint32_t tenant;
    int metric = limit_table_metric(&t->catalogue, e->metric.at, e->metric.length);

    (void)segment;
    if (metric >= 0 && t->catalogue.metrics[metric].kind == LIMIT_KIND_COUNTER &&
        limit_table_tenant_index(t->limits, e->tenant.at, e->tenant.length, &tenant) == STATUS_OK)
        table_add_count(t, tenant, metric, e->recorded_us, e->value);
}

static void fill_read_to(void *arg, uint64_t segment, uint64_t position)
{
    struct table *t = arg;
    struct table_filled *f = calloc(1, sizeof(*f));

    if (!f)
        return;
    f->segment = segment;
    f->position = position;
    HASH_ADD(hh, t->filled, segment, sizeof(f->segment), f);
}

/* From one snapshot: the catalogue, tenants, their counts, the unread spool, then the keys, which open the door. */
static enum status fill(struct table *t, struct batch *b)
{
    struct limit_catalogue none;
    struct table_fill f;
    bool moved;
    enum status s = publish_begin(t->publish, t->cursor);

    if (s != STATUS_OK)
        return s;
    memset(&none, 0, sizeof(none));
    memset(&f, 0, sizeof(f));
    f.t = t;
    if ((s = table_read_catalogue(t, &none, &t->catalogue, &moved)) == STATUS_OK)
        s = limit_table_put_catalogue(t->limits, &t->catalogue);
    if (s == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, table_put_tenant, t);
    if (s == STATUS_OK)
        s = publish_counts(t->publish, NULL, table_put_count, &f);
    if (s == STATUS_OK)
        s = batch_each_unread(b, fill_event, t, fill_read_to);
    t->since_us = clock_wall_us();
    if (s == STATUS_OK)
        s = publish_keys(t->publish, NULL, table_put_key, t);
    return table_end_snapshot(t, s);
}

/* The database's count is in the table already. */
static enum status remember_count(void *arg, const struct publish_count *c)
{
    struct table *t = arg;
    uint32_t tenant;
    struct table_known *k;
    int metric;

    if (c->day && table_place(t, c->tenant, c->metric, &tenant, &metric) &&
        (k = table_known(t, tenant, (uint32_t)metric, c->start_us, true)))
        k->used = c->used;
    return STATUS_OK;
}

/*
 * An earlier collector's table: gates went on with it meanwhile, so its counts are kept. Everything that stands is brought in, and
 * what was removed lately goes; what other nodes added meanwhile is mended. STATUS_CONFLICT: it does not fit.
 */
static enum status adopt(struct table *t)
{
    struct limit_catalogue old;
    bool moved = true;
    enum status s = limit_table_catalogue(t->limits, &old, NULL);

    if (s != STATUS_OK || (s = publish_begin(t->publish, t->cursor)) != STATUS_OK)
        return s;
    if ((s = table_read_catalogue(t, &old, &t->catalogue, &moved)) == STATUS_OK && moved)
        s = STATUS_CONFLICT;
    if (s == STATUS_OK)
        s = limit_table_put_catalogue(t->limits, &t->catalogue);
    if (s == STATUS_OK)
        s = publish_removed(t->publish, table_follow_change, t);
    if (s == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, table_put_tenant, t);
    if (s == STATUS_OK)
        s = publish_counts(t->publish, NULL, remember_count, t);
    if (s == STATUS_OK)
        s = publish_keys(t->publish, NULL, table_put_key, t);
    t->since_us = 0;
    return table_end_snapshot(t, s);
}

static void let_go(struct table *t)
{
    if (t->limits)
        limit_table_close(t->limits);
    t->limits = NULL;
}

/* An empty table in place of what is there: its known totals are lost, or its fill was broken off. */
static enum status make_empty(struct table *t)
{
    char path[4096];
    bool fresh;
    enum status s;

    let_go(t);
    if ((s = io_path(path, sizeof(path), t->config->paths.run_dir, "limits")) != STATUS_OK)
        return s;
    if (unlink(path) != 0 && errno != ENOENT)
        return STATUS_IO;
    return limit_table_create(t->config->paths.run_dir, t->node->uuid, &t->limits, &fresh);
}

/* Does the database still tell all that was removed since the table was followed? It forgets after a day. */
static bool known_removals(struct table *t)
{
    int64_t ago = clock_wall_us() - limit_table_followed_at(t->limits);

    return ago >= 0 && ago < TABLE_DAY_US - TABLE_DAY_US / 8;
}

/* At the start: goes on with an intact table; *kept says so. */
static enum status try_adopt(struct table *t, bool *kept)
{
    bool fresh;
    enum status s = limit_table_create(t->config->paths.run_dir, t->node->uuid, &t->limits, &fresh);

    *kept = false;
    if (s != STATUS_OK || fresh || !limit_table_is_ready(t->limits) || !known_removals(t))
        return s;
    s = adopt(t);
    *kept = s == STATUS_OK && !t->rebuild;
    if (!*kept)
        table_forget(t);
    return s == STATUS_UNAVAILABLE ? s : STATUS_OK;
}

enum status table_build(struct table *t, struct batch *b, struct ingest *in)
{
    int64_t started = clock_mono_us();
    bool kept = false;
    enum status s = STATUS_OK;

    table_forget(t);
    t->oldest_day_us = clock_wall_us() - TABLE_OLDEST_US;
    if (!t->tried) {
        t->rebuild = false;
        s = try_adopt(t, &kept);
    }
    if (s == STATUS_OK && !kept) {
        t->rebuild = false;
        t->tried = true;
        s = make_empty(t);
        if (s == STATUS_OK)
            s = ingest_degraded_forget(in);
        if (s == STATUS_OK)
            s = fill(t, b);
    }
    if (s != STATUS_OK || t->rebuild) {
        let_go(t);
        return s == STATUS_OK ? STATUS_DAMAGED : s;
    }
    t->tried = true;
    t->leases_unread = true;
    if (!kept)
        limit_table_ready(t->limits);
    limit_table_followed(t->limits, clock_wall_us());
    log_info("the limit table is %s: %u tenants in %lld ms", kept ? "gone on with" : "filled",
             limit_table_tenants(t->limits), (long long)((clock_mono_us() - started) / 1000));
    return STATUS_OK;
}
