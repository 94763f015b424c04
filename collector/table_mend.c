/* table_mend.c: counts that a kill left wrong: found twice the same, then mended */
#include <string.h>

#include "collector/table_parts.h"
#include "lib/base/log.h"
#include "lib/intake/batch.h"
#include "lib/meter/limit_table/limit_table.h"

#define MEND_TENANTS 32 /* looked at in a call of table_mend */

/* The database's counts of one tenant. */
struct counts {
    struct table *t;
    size_t n;
    struct {
        int metric;
        bool day;
        int64_t start_us, used;
    } list[LIMIT_TABLE_METRICS * 8];
};

static enum status take_count(void *arg, const struct publish_count *c)
{
    struct counts *k = arg;
    int metric = limit_table_metric(&k->t->catalogue, c->metric, strlen(c->metric));

    if (metric >= 0 && k->n < sizeof(k->list) / sizeof(k->list[0])) {
        k->list[k->n].metric = metric;
        k->list[k->n].day = c->day;
        k->list[k->n].start_us = c->start_us;
        k->list[k->n++].used = c->used;
    }
    return STATUS_OK;
}

static int64_t right_count(const struct counts *k, int metric, bool day, int64_t start_us)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->list[i].metric == metric && k->list[i].day == day && k->list[i].start_us == start_us)
            return k->list[i].used;
    return 0;
}

/* Notes drifts of one tenant, or mends those that were noted before and still stand as they did. */
static void compare(struct table *t, uint32_t index, const struct limit_tenant *tenant,
                    const int64_t seen[LIMIT_TABLE_LIMITS], const struct counts *k, int64_t now,
                    const struct table_drift *before, size_t n_before)
{
    for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++) {
        uint8_t window = t->catalogue.limits[slot].window;
        int metric = t->catalogue.limits[slot].metric;
        const struct limit_span *span;
        int64_t right;
        bool noted = false;

        if (seen[slot] < 0 || !(span = limit_table_window(tenant, window, now)))
            continue;
        right = right_count(k, metric, window == LIMIT_WINDOW_DAY, span->start_us);
        if (right == seen[slot])
            continue;
        for (size_t i = 0; i < n_before && !noted; i++)
            noted = before[i].tenant == index && before[i].slot == slot && before[i].start_us == span->start_us &&
                    before[i].seen == seen[slot];
        if (noted && limit_table_repair(t->limits, index, (uint8_t)slot, now, seen[slot], right) == STATUS_OK)
            log_info("tenant %s: count of %s mended from %lld to %lld", tenant->id, t->catalogue.limits[slot].key,
                     (long long)(seen[slot] / EVENT_MILLION), (long long)(right / EVENT_MILLION));
        else if (!noted && t->n_drifts < TABLE_DRIFTS)
            t->drifts[t->n_drifts++] = (struct table_drift){index, (uint8_t)slot, span->start_us, seen[slot]};
    }
}

/* The table's counts first, then the proof that all of it is stored, then the database's. */
static enum status mend_tenant(struct table *t, struct batch *b, uint32_t index, const struct table_drift *before,
                               size_t n_before)
{
    int64_t seen[LIMIT_TABLE_LIMITS], now = clock_wall_us();
    uint64_t undone, undone_now;
    struct limit_tenant tenant;
    char cursor[PUBLISH_CURSOR_SIZE];
    struct counts k;
    enum status s;

    if (limit_table_tenant(t->limits, index, &tenant) != STATUS_OK || tenant.state == LIMIT_TENANT_FREE)
        return STATUS_OK;
    if ((s = limit_table_undone(t->limits, &undone)) != STATUS_OK)
        return s;
    for (uint8_t slot = 0; slot < LIMIT_TABLE_LIMITS; slot++)
        if (slot >= t->catalogue.n_limits || limit_table_count(t->limits, index, slot, now, &seen[slot]) != STATUS_OK)
            seen[slot] = -1;
    /* what was taken before the counts were read has to be in the spool: a call in the middle is no drift */
    if ((s = limit_table_idle(t->limits, index)) != STATUS_OK ||
        (s = limit_table_undone(t->limits, &undone_now)) != STATUS_OK)
        return s;
    if (undone_now != undone || !batch_drained(b))
        return STATUS_CONFLICT;
    memset(&k, 0, sizeof(k));
    k.t = t;
    if ((s = publish_begin(t->publish, cursor)) != STATUS_OK)
        return s;
    s = publish_counts(t->publish, tenant.id, take_count, &k);
    s = table_end_snapshot(t, s);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < k.n; i++)
        if (k.list[i].day) {
            struct table_known *n = table_known(t, index, (uint32_t)k.list[i].metric, k.list[i].start_us, false);

            if (!n || n->used != k.list[i].used) /* another node's batch came between: it is brought in first */
                table_bring_in(t, index, k.list[i].metric, k.list[i].start_us, k.list[i].used, 0, 0);
        }
    compare(t, index, &tenant, seen, &k, now, before, n_before);
    return STATUS_OK;
}

enum status table_mend(struct table *t, struct batch *b)
{
    struct table_drift before[TABLE_DRIFTS];
    size_t n_before = t->n_drifts;
    uint32_t places = limit_table_tenants(t->limits);
    enum status s = STATUS_OK;

    memcpy(before, t->drifts, sizeof(before));
    t->n_drifts = 0;
    for (size_t i = 0; i < n_before && s == STATUS_OK; i++)
        if (i == 0 || before[i].tenant != before[i - 1].tenant)
            s = mend_tenant(t, b, before[i].tenant, before, n_before);
    for (uint32_t i = 0; i < MEND_TENANTS && i < places && n_before == 0 && s == STATUS_OK; i++)
        s = mend_tenant(t, b, t->mend_next++ % places, before, 0);
    return s == STATUS_CONFLICT ? STATUS_OK : s;
}
