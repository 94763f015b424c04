/* counts.c: what the collector does to counts: gauges, what others counted, repair; what was admitted without the spool */
#include <fcntl.h>
#include <string.h>

#include "lib/meter/limit_table/layout.h"

static enum status set_gauge(struct limit_table *t, uint32_t index, uint8_t metric, int64_t level)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    struct table_cell *cell;
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++)
        if (t->catalogue.limits[i].metric == metric && t->catalogue.limits[i].window == LIMIT_WINDOW_NONE &&
            table_find_cell(t, index, i, &cell) == STATUS_OK)
            atomic_store(&cell->counts[0], level);
    return s;
}

enum status limit_table_set_gauge(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t level)
{
    GUARDED(t, set_gauge(t, tenant, metric, level));
}

static void add_to(_Atomic int64_t *count, int64_t amount)
{
    int64_t seen = atomic_load(count), next;
    do {
        if (__builtin_add_overflow(seen, amount, &next))
            next = INT64_MAX;
        if (next < 0)
            next = 0;
    } while (!atomic_compare_exchange_weak(count, &seen, next));
}

/* The count of slot's window that holds at_us; NULL when there is none, or its window does not add up. */
static _Atomic int64_t *count_at(struct limit_table *t, uint32_t index, uint32_t slot, int64_t at_us)
{
    struct table_cell *cell;
    int n;
    struct table_span *spans = table_spans(&t->tenants[index], t->catalogue.limits[slot].window, &n);
    int span = spans ? table_span_at(spans, n, at_us) : -1;
    return span < 0 || table_find_cell(t, index, slot, &cell) != STATUS_OK ? NULL : &cell->counts[span];
}

static enum status add_amount(struct limit_table *t, uint32_t index, uint8_t metric, int64_t recorded_us,
                              int64_t amount)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s == STATUS_OK && !(atomic_load(&tenant->held) >> (metric % LIMIT_TABLE_METRICS) & 1))
        s = STATUS_NOT_FOUND;
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++) {
        _Atomic int64_t *count = t->catalogue.limits[i].metric == metric ? count_at(t, index, i, recorded_us) : NULL;
        if (count)
            add_to(count, amount);
    }
    return s;
}

enum status limit_table_add(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t recorded_us, int64_t amount)
{
    GUARDED(t, add_amount(t, tenant, metric, recorded_us, amount));
}

static enum status find_count(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at_us,
                              _Atomic int64_t **count)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s != STATUS_OK)
        return s;
    *count = slot < t->catalogue.n_limits ? count_at(t, index, slot, at_us) : NULL;
    return *count ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status read_count(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at_us, int64_t *used)
{
    _Atomic int64_t *count;
    enum status s = find_count(t, index, slot, at_us, &count);
    if (s == STATUS_OK)
        *used = atomic_load(count);
    return s;
}

enum status limit_table_count(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t at_us, int64_t *used)
{
    GUARDED(t, read_count(t, tenant, slot, at_us, used));
}

bool table_writer_lives(const struct limit_table *t, int i)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT + i, .l_len = 1};
    return fcntl(t->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static enum status idle(struct limit_table *t, uint32_t index)
{
    for (int i = 0; i < LIMIT_WRITERS; i++) {
        if (atomic_load(&t->writers[i].mark) != (uint64_t)index + 1)
            continue;
        if (i == t->writer || table_writer_lives(t, i))
            return STATUS_CONFLICT;
        atomic_fetch_add(&t->writers[i].undone, 1); /* it may have died between giving back and telling */
        atomic_store(&t->writers[i].mark, 0);
    }
    return STATUS_OK;
}

static enum status sum_undone(struct limit_table *t, uint64_t *sum)
{
    *sum = 0;
    for (int i = 0; i < LIMIT_WRITERS; i++)
        *sum += atomic_load(&t->writers[i].undone);
    return STATUS_OK;
}

enum status limit_table_undone(struct limit_table *t, uint64_t *sum)
{
    GUARDED(t, sum_undone(t, sum));
}

enum status limit_table_idle(struct limit_table *t, uint32_t tenant)
{
    GUARDED(t, idle(t, tenant));
}

static enum status repair(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at_us, int64_t seen,
                          int64_t right)
{
    _Atomic int64_t *count;
    enum status s = find_count(t, index, slot, at_us, &count);
    if (s == STATUS_OK)
        s = idle(t, index);
    if (s == STATUS_OK && !atomic_compare_exchange_strong(count, &seen, right))
        s = STATUS_CONFLICT;
    return s;
}

enum status limit_table_repair(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t at_us, int64_t seen,
                               int64_t right)
{
    GUARDED(t, repair(t, tenant, slot, at_us, seen, right));
}

static enum status read_degraded(struct limit_table *t, uint32_t index, uint8_t metric, int64_t *total)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    if (!tenant || metric >= LIMIT_TABLE_METRICS)
        return STATUS_NOT_FOUND;
    *total = atomic_load(&tenant->degraded[metric]);
    return STATUS_OK;
}

enum status limit_table_degraded(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t *total)
{
    GUARDED(t, read_degraded(t, tenant, metric, total));
}
