/* counts.c: what the collector does to counts: gauges, what others counted, repair; what was admitted without the spool */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/base/clock.h"
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

#define HOURS_BACK_US (3 * 3600 * CLOCK_US_PER_SECOND) /* an hour that is older has given its place to another */

/* ---- posted levels: counts[0] is the level, [1] when its newest event was recorded, [2] when it was last set ---- */

/* One at a time, by a lock that ends with the process that holds it. */
static enum status lock_levels(const struct limit_table *t, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT + LIMIT_WRITERS, .l_len = 1};
    int failed;
    do
        failed = fcntl(t->fd, F_OFD_SETLKW, &lock);
    while (failed && errno == EINTR);
    return failed ? STATUS_IO : STATUS_OK;
}

static void put_level(struct table_cell *cell, int64_t level, int64_t recorded_us, int64_t set_us)
{
    atomic_store(&cell->counts[0], level);
    atomic_store(&cell->counts[1], recorded_us);
    atomic_store(&cell->counts[2], set_us);
}

/* A change counts unless it is older than the level that was set; a level, unless it is older than anything that counts. */
static void post_to(struct table_cell *cell, int64_t recorded_us, int64_t value, bool delta)
{
    int64_t level = atomic_load(&cell->counts[0]), newest = atomic_load(&cell->counts[1]);
    int64_t set_us = atomic_load(&cell->counts[2]);
    if (delta && recorded_us >= set_us) {
        if (__builtin_add_overflow(level, value, &level))
            level = value > 0 ? INT64_MAX : INT64_MIN;
        put_level(cell, level, newest > recorded_us ? newest : recorded_us, set_us);
    } else if (!delta && recorded_us >= newest) {
        put_level(cell, value, recorded_us, recorded_us);
    }
}

static void set_in(struct table_cell *cell, const struct limit_level *l, int64_t until_us)
{
    int64_t newest = atomic_load(&cell->counts[1]);
    if (newest <= until_us || newest <= l->recorded_us)
        put_level(cell, l->level, l->recorded_us, l->set_us);
}

/* The next cell of the gauge from limit *i on; NULL: no more. */
static struct table_cell *gauge_cell(struct limit_table *t, uint32_t index, uint8_t metric, uint32_t *i)
{
    struct table_cell *cell;
    for (; *i < t->catalogue.n_limits; ++*i)
        if (t->catalogue.limits[*i].metric == metric && t->catalogue.limits[*i].window == LIMIT_WINDOW_NONE &&
            table_find_cell(t, index, *i, &cell) == STATUS_OK) {
            ++*i;
            return cell;
        }
    return NULL;
}

static enum status find_gauge(struct limit_table *t, uint32_t index)
{
    enum status s = table_tenant_at(t, index) ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    return s == STATUS_OK ? lock_levels(t, F_WRLCK) : s;
}

static enum status post_level(struct limit_table *t, uint32_t index, uint8_t metric, int64_t recorded_us, int64_t value,
                              bool delta)
{
    enum status s = find_gauge(t, index);
    struct table_cell *cell;
    if (s != STATUS_OK)
        return s;
    for (uint32_t i = 0; (cell = gauge_cell(t, index, metric, &i));)
        post_to(cell, recorded_us, value, delta);
    return lock_levels(t, F_UNLCK);
}

enum status limit_table_post_level(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t recorded_us,
                                   int64_t value, bool delta)
{
    GUARDED(t, post_level(t, tenant, metric, recorded_us, value, delta));
}

static enum status set_level(struct limit_table *t, uint32_t index, uint8_t metric, const struct limit_level *l,
                             int64_t until_us)
{
    enum status s = find_gauge(t, index);
    struct table_cell *cell;
    if (s != STATUS_OK)
        return s;
    for (uint32_t i = 0; (cell = gauge_cell(t, index, metric, &i));)
        set_in(cell, l, until_us);
    return lock_levels(t, F_UNLCK);
}

enum status limit_table_set_level(struct limit_table *t, uint32_t tenant, uint8_t metric,
                                  const struct limit_level *level, int64_t until_us)
{
    GUARDED(t, set_level(t, tenant, metric, level, until_us));
}

/* ---- counters ---- */

/* Where the count of slot's window is that holds at_us; false: there is none, or its window does not add up. */
static bool count_at(struct limit_table *t, uint32_t index, uint32_t slot, int64_t at_us, struct table_window *w,
                     _Atomic int64_t **count)
{
    struct table_cell *cell;
    uint8_t window = t->catalogue.limits[slot].window;
    if (!table_window_at(&t->tenants[index], window, at_us, w) || !w->end_us ||
        table_find_cell(t, index, slot, &cell) != STATUS_OK)
        return false;
    *count = &cell->counts[w->at];
    return true;
}

static bool too_old(const struct table_window *w)
{
    int64_t ago = clock_wall_us() - w->start_us;
    return w->hour >= 0 && (ago < 0 || ago > HOURS_BACK_US);
}

static enum status metric_held(struct limit_table *t, uint32_t index, uint8_t metric)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s == STATUS_OK && !(atomic_load(&tenant->held) >> (metric % LIMIT_TABLE_METRICS) & 1))
        s = STATUS_NOT_FOUND;
    return s;
}

static enum status add_amount(struct limit_table *t, uint32_t index, uint8_t metric, unsigned windows,
                              int64_t recorded_us, int64_t amount)
{
    struct table_window w;
    _Atomic int64_t *count;
    enum status s = metric_held(t, index, metric);
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++)
        if (t->catalogue.limits[i].metric == metric && windows >> t->catalogue.limits[i].window & 1 &&
            count_at(t, index, i, recorded_us, &w, &count) && !too_old(&w))
            table_count_add(count, w.hour, amount);
    return s;
}

enum status limit_table_add(struct limit_table *t, uint32_t tenant, uint8_t metric, unsigned windows,
                            int64_t recorded_us, int64_t amount)
{
    GUARDED(t, add_amount(t, tenant, metric, windows, recorded_us, amount));
}

static enum status observe(struct limit_table *t, uint32_t index, uint8_t metric, uint8_t window, int64_t start_us,
                           int64_t used)
{
    struct table_window w;
    _Atomic int64_t *count;
    enum status s = metric_held(t, index, metric);
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++)
        if (t->catalogue.limits[i].metric == metric && t->catalogue.limits[i].window == window &&
            count_at(t, index, i, start_us, &w, &count) && !too_old(&w))
            atomic_store(count, table_count_word(used, w.hour));
    return s;
}

enum status limit_table_observe_count(struct limit_table *t, uint32_t tenant, uint8_t metric, uint8_t window,
                                      int64_t start_us, int64_t used)
{
    GUARDED(t, observe(t, tenant, metric, window, start_us, used));
}

/* What has the mark of no hour from `now_us` back to the oldest that may be added to. */
static void forget_in(struct table_cell *cell, int64_t now_us)
{
    int64_t now = now_us / (HOURS_BACK_US / 6); /* in half hours, by which they are placed */
    for (int i = 0; i < LIMIT_DAYS; i++) {
        int64_t word = atomic_load(&cell->counts[i]), last = now - ((now - i) % LIMIT_DAYS);
        if (word != 0 && table_count_of(word, (int)(last / LIMIT_DAYS & 15)) == 0)
            atomic_compare_exchange_strong(&cell->counts[i], &word, 0);
    }
}

static enum status forget_hours(struct limit_table *t, uint32_t index, int64_t now_us)
{
    struct table_cell *cell;
    enum status s = table_tenant_at(t, index) ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++)
        if (t->catalogue.limits[i].window == LIMIT_WINDOW_HOUR && table_find_cell(t, index, i, &cell) == STATUS_OK)
            forget_in(cell, now_us);
    return s;
}

enum status limit_table_forget_hours(struct limit_table *t, uint32_t tenant, int64_t now_us)
{
    GUARDED(t, forget_hours(t, tenant, now_us));
}

static enum status find_count(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at_us,
                              _Atomic int64_t **count, int *hour)
{
    struct table_window w;
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s != STATUS_OK)
        return s;
    if (slot >= t->catalogue.n_limits || !count_at(t, index, slot, at_us, &w, count))
        return STATUS_NOT_FOUND;
    *hour = w.hour;
    return STATUS_OK;
}

static enum status read_count(struct limit_table *t, uint32_t index, uint8_t slot, int64_t at_us, int64_t *used)
{
    _Atomic int64_t *count;
    int hour;
    enum status s = find_count(t, index, slot, at_us, &count, &hour);
    if (s == STATUS_OK)
        *used = table_count_of(atomic_load(count), hour);
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
    int hour;
    enum status s = find_count(t, index, slot, at_us, &count, &hour);
    if (s == STATUS_OK)
        s = idle(t, index);
    if (s != STATUS_OK)
        return s;
    int64_t word = atomic_load(count);
    if (table_count_of(word, hour) != seen ||
        !atomic_compare_exchange_strong(count, &word, table_count_word(right, hour)))
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
    *total = 0;
    for (uint32_t i = 0; i < TABLE_DEGRADED; i++) {
        uint64_t word = atomic_load(&tenant->degraded[i]);
        if (word >> TABLE_DEGRADED_SHIFT == metric + 1u)
            *total = (int64_t)(word & TABLE_DEGRADED_AMOUNT);
    }
    return STATUS_OK;
}

enum status limit_table_degraded(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t *total)
{
    GUARDED(t, read_degraded(t, tenant, metric, total));
}
