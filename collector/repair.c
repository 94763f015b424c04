/* repair.c: counts that a kill left wrong: found twice the same, then set right */
#include <string.h>

#include "collector/counts_parts.h"
#include "lib/base/log.h"

#define TENANTS 32 /* looked at in a call of counts_repair */

/* The database's counts of one tenant. */
struct right_counts {
    const struct limit_catalogue *catalogue;
    size_t n;
    struct {
        int metric;
        uint8_t window;
        int64_t start_us, used;
    } list[LIMIT_TABLE_METRICS * 16];
};

/* One tenant's counts as the table had them before the database was asked. */
struct seen {
    uint32_t index;
    struct limit_tenant tenant;
    struct limit_catalogue catalogue;
    int64_t now_us;
    int64_t used[LIMIT_TABLE_LIMITS]; /* -1: none */
};

static enum status take_count(void *arg, const struct feed_count *c)
{
    struct right_counts *k = arg;
    int metric = limit_table_metric(k->catalogue, c->metric, strlen(c->metric));

    if (metric >= 0 && k->n < sizeof(k->list) / sizeof(k->list[0])) {
        k->list[k->n].metric = metric;
        k->list[k->n].window = c->window;
        k->list[k->n].start_us = c->start_us;
        k->list[k->n++].used = c->used;
    }
    return STATUS_OK;
}

static int64_t right_count(const struct right_counts *k, int metric, uint8_t window, int64_t start_us)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->list[i].metric == metric && k->list[i].window == window && k->list[i].start_us == start_us)
            return k->list[i].used;
    return 0;
}

/*
 * The table's counts, then the proof that whatever was taken before is in the spool: a call in the middle is no drift.
 * STATUS_CONFLICT: something moves, next time. STATUS_NOT_FOUND: nothing is to be compared.
 */
static enum status look(struct limit_table *t, const struct limit_catalogue *catalogue, struct seen *seen)
{
    uint64_t undone, undone_now;
    enum status s;

    if (!t || limit_table_tenant(t, seen->index, &seen->tenant) != STATUS_OK || seen->tenant.state == LIMIT_TENANT_FREE)
        return STATUS_NOT_FOUND;
    seen->catalogue = *catalogue;
    if ((s = limit_table_undone(t, &undone)) != STATUS_OK)
        return s;
    for (uint8_t slot = 0; slot < LIMIT_TABLE_LIMITS; slot++)
        if (slot >= catalogue->n_limits ||
            limit_table_count(t, seen->index, slot, seen->now_us, &seen->used[slot]) != STATUS_OK)
            seen->used[slot] = -1;
    if ((s = limit_table_idle(t, seen->index)) == STATUS_OK && (s = limit_table_undone(t, &undone_now)) == STATUS_OK)
        s = undone_now == undone ? STATUS_OK : STATUS_CONFLICT;
    return s;
}

/* Other nodes' batches that came between are brought in first; with the lock. */
static void bring_in(struct counts *c, uint32_t index, const struct right_counts *right)
{
    for (size_t i = 0; i < right->n; i++) {
        const struct counts_known *k;

        const struct counts_new n = {right->list[i].window, right->list[i].start_us, right->list[i].used, 0, 0};

        if (n.window != LIMIT_WINDOW_DAY && n.window != LIMIT_WINDOW_HOUR)
            continue;
        k = counts_known(c, index, right->list[i].metric, n.window, n.start_us, false);
        if (!k || k->used != n.used)
            counts_bring_in(c, index, right->list[i].metric, &n);
    }
}

static bool noted(const struct counts_drift *list, size_t n, const struct counts_drift *drift)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].tenant == drift->tenant && list[i].slot == drift->slot && list[i].start_us == drift->start_us &&
            list[i].seen == drift->seen)
            return true;
    return false;
}

/* Notes drifts of one tenant, or repairs those that were noted before and still stand as they did; with the lock. */
static void compare(struct counts *c, const struct seen *seen, const struct right_counts *k,
                    const struct counts_drift *before, size_t n_before)
{
    for (uint8_t slot = 0; slot < seen->catalogue.n_limits; slot++) {
        uint8_t window = seen->catalogue.limits[slot].window;
        struct limit_span span = {0};
        bool turns = limit_table_window(&seen->tenant, window, seen->now_us, &span);
        struct counts_drift drift = {seen->index, slot, span.start_us, seen->used[slot]};
        int64_t right;

        if (seen->used[slot] < 0 || !turns)
            continue;
        right = right_count(k, seen->catalogue.limits[slot].metric, window, span.start_us);
        if (right == drift.seen)
            continue;
        if (!noted(before, n_before, &drift)) {
            if (c->n_drifts < COUNTS_DRIFTS)
                c->drifts[c->n_drifts++] = drift;
        } else if (limit_table_repair(c->replica->table, seen->index, slot, seen->now_us, drift.seen, right) ==
                   STATUS_OK) {
            log_info("tenant %s: count of %s repaired from %lld to %lld", seen->tenant.id,
                     seen->catalogue.limits[slot].key, (long long)(drift.seen / EVENT_MILLION),
                     (long long)(right / EVENT_MILLION));
        }
    }
}

/* The table's counts first, then the proof that all of it is stored, then the database's. */
static enum status repair_tenant(struct counts *c, struct batch *b, uint32_t index, const struct counts_drift *before,
                                 size_t n_before)
{
    struct seen seen = {.index = index, .now_us = clock_wall_us()};
    struct right_counts right = {.catalogue = &seen.catalogue};
    char cursor[FEED_CURSOR_SIZE];
    enum status s = look(replica_lock(c->replica), &c->replica->catalogue, &seen);

    replica_unlock(c->replica);
    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    if (!batch_drained(b))
        return STATUS_CONFLICT;
    if ((s = feed_begin(c->feed, cursor)) != STATUS_OK)
        return s;
    s = feed_counts(c->feed, seen.tenant.id, take_count, &right);
    if ((s = counts_end_snapshot(c, s)) != STATUS_OK)
        return s;
    if (replica_lock(c->replica)) {
        bring_in(c, index, &right);
        compare(c, &seen, &right, before, n_before);
    }
    replica_unlock(c->replica);
    return STATUS_OK;
}

enum status counts_repair(struct counts *c, struct batch *b)
{
    struct counts_drift before[COUNTS_DRIFTS];
    size_t n_before = c->n_drifts;
    uint32_t places = c->places; /* those whose counts were read */
    enum status s = STATUS_OK;

    memcpy(before, c->drifts, sizeof(before));
    c->n_drifts = 0;
    for (size_t i = 0; i < n_before && s == STATUS_OK; i++)
        if (i == 0 || before[i].tenant != before[i - 1].tenant)
            s = repair_tenant(c, b, before[i].tenant, before, n_before);
    for (uint32_t i = 0; i < TENANTS && i < places && n_before == 0 && s == STATUS_OK; i++)
        s = repair_tenant(c, b, c->repair_next++ % places, before, 0);
    return s == STATUS_CONFLICT ? STATUS_OK : s;
}
