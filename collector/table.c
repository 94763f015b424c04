/* table.c: the limit table's life, what is known of its counts, and what a batch brings to them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/lease.h"
#include "collector/table_parts.h"
#include "lib/base/log.h"
#include "lib/meter/limit_table/limit_table.h"

#define DEGRADED_TENANTS 4096 /* looked at in a call of table_degraded */
#define DEGRADED_MOST 64

enum status table_create(const struct config *config, const struct spool_node *node, struct table **out)
{
    struct table *t = calloc(1, sizeof(*t));
    enum status s;

    if (!t)
        return STATUS_NO_MEMORY;
    t->config = config;
    t->node = node;
    spool_node_text(node, t->node_text);
    s = publish_open(config->database.collector, (int)config->database.connect_timeout_s,
                     (int)config->database.statement_timeout_s, &t->publish);
    if (s == STATUS_OK)
        s = leases_create(&t->leases);
    if (s != STATUS_OK) {
        publish_close(t->publish);
        free(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

/* The analyser does not see that uthash takes an element out of its lists before it is freed. */
void table_forget(struct table *t)
{
    struct table_known *k, *k2;
    struct table_filled *f, *f2;

    HASH_ITER(hh, t->known, k, k2)
    {
        HASH_DEL(t->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see table_forget */
        free(k);
    }
    HASH_ITER(hh, t->filled, f, f2)
    {
        HASH_DEL(t->filled, f); /* NOLINT(clang-analyzer-unix.Malloc): see table_forget */
        free(f);
    }
    leases_forget(t->leases);
    t->n_drifts = 0;
    t->mend_next = t->degraded_next = 0;
}

void table_destroy(struct table *t)
{
    if (!t)
        return;
    table_forget(t);
    leases_destroy(t->leases);
    if (t->limits)
        limit_table_close(t->limits);
    publish_close(t->publish);
    free(t);
}

const char *table_error(const struct table *t)
{
    return publish_error(t->publish);
}

bool table_good(const struct table *t)
{
    return t->limits && !t->rebuild && !limit_table_stale(t->limits) && limit_table_is_ready(t->limits);
}

bool table_holds(const struct table *t, uint64_t segment, uint64_t position, const struct event *e)
{
    struct table_filled *f;

    HASH_FIND(hh, t->filled, &segment, sizeof(segment), f);
    if (f && position < f->position)
        return true;
    return (e->flags & EVENT_COUNTED) && e->appended_us >= t->since_us;
}

void table_doubt(struct table *t)
{
    t->rebuild = true;
}

enum status table_end_snapshot(struct table *t, enum status s)
{
    enum status ended = publish_end(t->publish);

    return s == STATUS_OK ? ended : s;
}

/* ---- known totals ---- */

struct table_known *table_known(struct table *t, uint32_t tenant, uint32_t metric, int64_t day_us, bool make)
{
    struct table_known_key key;
    struct table_known *k;

    memset(&key, 0, sizeof(key));
    key.tenant = tenant;
    key.metric = metric;
    key.day_us = day_us;
    HASH_FIND(hh, t->known, &key, sizeof(key), k);
    if (!k && make && (k = calloc(1, sizeof(*k)))) {
        k->key = key;
        HASH_ADD(hh, t->known, key, sizeof(k->key), k);
    }
    return k;
}

bool table_place(struct table *t, const char *tenant, const char *metric, uint32_t *index, int *m)
{
    *m = limit_table_metric(&t->catalogue, metric, strlen(metric));
    return *m >= 0 && limit_table_tenant_index(t->limits, tenant, strlen(tenant), index) == STATUS_OK;
}

enum status table_read_catalogue(struct table *t, const struct limit_catalogue *old, struct limit_catalogue *out,
                                 bool *moved)
{
    char left_out[PUBLISH_LEFT_OUT_SIZE];
    enum status s = publish_catalogue(t->publish, old, out, moved, left_out);

    if (s == STATUS_OK && left_out[0] && strcmp(left_out, t->left_out) != 0)
        log_error("the limit table has room for %d metrics and %d limits, and none for the %s: it is not counted or "
                  "limited until others are removed (tollgate metric remove)",
                  LIMIT_TABLE_METRICS, LIMIT_TABLE_LIMITS, left_out);
    if (s == STATUS_OK)
        memcpy(t->left_out, left_out, sizeof(t->left_out));
    return s;
}

void table_add_count(struct table *t, uint32_t tenant, int metric, int64_t at_us, int64_t amount)
{
    if (amount != 0 && limit_table_add(t->limits, tenant, (uint8_t)metric, at_us, amount) == STATUS_DAMAGED)
        t->rebuild = true;
}

void table_bring_in(struct table *t, uint32_t tenant, int metric, int64_t day_us, int64_t used, int64_t added,
                    int64_t uncounted)
{
    struct table_known *k = table_known(t, tenant, (uint32_t)metric, day_us, false);
    int64_t before = k ? k->used : 0, foreign = 0;

    if (k || day_us >= t->oldest_day_us)
        foreign = used - added - before;
    table_add_count(t, tenant, metric, day_us, foreign + uncounted);
    if (!k)
        k = table_known(t, tenant, (uint32_t)metric, day_us, true);
    if (k)
        k->used = used;
}

void table_apply(struct table *t, const struct ingest_result *result)
{
    uint32_t tenant;
    int metric;

    if (!t->limits)
        return;
    for (size_t i = 0; i < result->n_totals; i++) {
        const struct ingest_total *r = &result->totals[i];

        if (table_place(t, r->tenant, r->metric, &tenant, &metric))
            table_bring_in(t, tenant, metric, r->day_us, r->used, r->added, r->uncounted);
    }
}

/* ---- degraded counts ---- */

enum status table_degraded(struct table *t, struct ingest *in, uint64_t *recorded)
{
    static char tenants[DEGRADED_MOST][LIMIT_TENANT_SIZE];
    struct ingest_degraded list[DEGRADED_MOST];
    struct ingest_result result;
    struct limit_tenant tenant;
    uint32_t places = limit_table_tenants(t->limits);
    size_t n = 0;
    enum status s;

    for (uint32_t i = 0; i < DEGRADED_TENANTS && i < places && n < DEGRADED_MOST; i++) {
        uint32_t index = t->degraded_next++ % places;
        bool named = false;

        for (uint8_t m = 0; m < t->catalogue.n_metrics && n < DEGRADED_MOST; m++) {
            int64_t total;

            if (limit_table_degraded(t->limits, index, m, &total) != STATUS_OK || total <= 0)
                continue;
            if (!named && limit_table_tenant(t->limits, index, &tenant) != STATUS_OK)
                break;
            snprintf(tenants[n], sizeof(tenants[n]), "%s", tenant.id);
            named = true;
            list[n] = (struct ingest_degraded){tenants[n], t->catalogue.metrics[m].name, total};
            n++;
        }
    }
    if (n == 0)
        return STATUS_OK;
    s = ingest_degraded(in, list, n, &result);
    if (s == STATUS_OK)
        table_apply(t, &result);
    else if (result.unsure)
        t->rebuild = true; /* not known whether it stands: built anew from what the database then says */
    *recorded += s == STATUS_OK ? result.stored : 0;
    ingest_result_free(&result);
    return s;
}

enum status table_stats(struct table *t, struct limit_stats *out)
{
    return table_good(t) ? limit_table_stats(t->limits, out) : STATUS_UNAVAILABLE;
}
