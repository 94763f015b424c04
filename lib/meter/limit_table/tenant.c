/* tenant.c: tenants, their limits and the catalogue: consistent copies of what is published */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "lib/meter/limit_table/layout.h"

#define READ_TRIES 64 /* a reader is overtaken only by publications of the same entry */

/* ---- tenants ---- */

struct table_tenant *table_tenant_at(struct limit_table *t, uint32_t index)
{
    bool there = index < atomic_load_explicit(&t->header->n_places, memory_order_acquire) && index < LIMIT_TABLE_PLACES;
    return there && t->tenants[index].id[0] ? &t->tenants[index] : NULL;
}

static enum status find_tenant(struct limit_table *t, const char *id, size_t length, uint32_t *index)
{
    enum status s = length && length < LIMIT_TENANT_SIZE ? table_index_refresh(t) : STATUS_NOT_FOUND;
    if (s != STATUS_OK)
        return s;
    uint64_t hash = XXH3_64bits(id, length), mask = t->tenant_places - 1;
    const struct index_tenant *places = table_index_tenants(t);
    for (uint64_t i = 0; i <= mask; i++) {
        const struct index_tenant *p = &places[(hash + i) & mask];
        uint64_t place = atomic_load_explicit(&p->place, memory_order_acquire);
        if (!place)
            return STATUS_NOT_FOUND;
        if (atomic_load(&p->hash) != hash)
            continue;
        const struct table_tenant *tenant = table_tenant_at(t, (uint32_t)(place - 1));
        if (!tenant)
            return STATUS_DAMAGED;
        if (memcmp(tenant->id, id, length) == 0 && tenant->id[length] == '\0') {
            *index = (uint32_t)(place - 1);
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

uint64_t table_config_checksum(const struct limit_table *t, const struct table_config *c, uint32_t index)
{
    const char *name = t->tenants[index].id;
    uint64_t id = XXH3_64bits_withSeed(name, strnlen(name, LIMIT_TENANT_SIZE), t->id + index);
    return XXH3_64bits_withSeed(c, offsetof(struct table_config, checksum), id);
}

enum status table_report(struct limit_table *t, enum status s)
{
    if (s == STATUS_DAMAGED)
        atomic_store(&t->header->damaged, 1);
    return s;
}

enum status table_config_copy(const struct limit_table *t, uint32_t index, uint32_t version, struct table_config *out)
{
    memcpy(out, &t->tenants[index].configs[version & 1], sizeof(*out));
    return out->checksum == table_config_checksum(t, out, index) ? STATUS_OK : STATUS_DAMAGED;
}

bool table_read_again(const struct limit_table *t, uint32_t index, uint32_t version, int *tries)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&t->tenants[index].version) != version && ++*tries < READ_TRIES;
}

enum status table_config_read(const struct limit_table *t, uint32_t index, struct table_config *out)
{
    uint32_t version;
    int tries = 0;
    enum status s;
    do {
        version = atomic_load_explicit(&t->tenants[index].version, memory_order_acquire);
        s = table_config_copy(t, index, version, out);
    } while (table_read_again(t, index, version, &tries));
    return s;
}

/* ---- limits ---- */

enum status table_find_cell(const struct limit_table *t, uint32_t index, uint32_t slot, struct table_cell **out)
{
    struct table_tenant *tenant = &t->tenants[index];
    uint32_t at = atomic_load(&tenant->cell_of[slot]);
    if (!at || !(atomic_load_explicit(&tenant->held, memory_order_acquire) >> t->catalogue.limits[slot].metric & 1))
        return STATUS_NOT_FOUND;
    if (--at < TABLE_CELLS) {
        *out = &tenant->cells[at];
        return STATUS_OK;
    }
    at -= TABLE_CELLS;
    if (at / TABLE_CELLS_MORE >= TABLE_PLACES_MORE)
        return STATUS_DAMAGED;
    uint32_t place = atomic_load(&tenant->more[at / TABLE_CELLS_MORE]);
    struct table_more *more = (struct table_more *)&t->tenants[place - 1];
    if (!place || place > atomic_load(&t->header->n_places) || place > LIMIT_TABLE_PLACES || more->owner != index + 1)
        return STATUS_DAMAGED;
    *out = &more->cells[at % TABLE_CELLS_MORE];
    return STATUS_OK;
}

uint32_t table_limit_check(const struct limit_table *t, uint32_t index, uint32_t slot, const struct table_limit *l)
{
    uint64_t seed = t->id ^ ((uint64_t)index << 8 | slot);
    return (uint32_t)XXH3_64bits_withSeed(l, offsetof(struct table_limit, check), seed);
}

enum status table_limit_copy(const struct limit_table *t, uint32_t index, uint32_t slot, const struct table_cell *cell,
                             uint32_t version, struct limit *out)
{
    struct table_limit l;
    memcpy(&l, &cell->limits[version & 1], sizeof(l));
    uint8_t metric = t->catalogue.limits[slot].metric;
    *out = (struct limit){.max = l.max,
                          .until_us = l.until_us,
                          .max_after = l.max_after,
                          .grace_until_us = l.grace_until_us,
                          .grace_percent = l.grace_percent,
                          .mode = l.mode,
                          .window = t->catalogue.limits[slot].window,
                          .lease_percent = l.lease_percent,
                          .aggregation = t->catalogue.metrics[metric % LIMIT_TABLE_METRICS].aggregation};
    return l.check == table_limit_check(t, index, slot, &l) ? STATUS_OK : STATUS_DAMAGED;
}

static enum status index_of(struct limit_table *t, const char *id, size_t length, uint32_t *index)
{
    struct table_config config;
    enum status s = find_tenant(t, id, length, index);
    if (s == STATUS_OK)
        s = table_config_read(t, *index, &config);
    return s == STATUS_OK && config.state == LIMIT_TENANT_FREE ? STATUS_NOT_FOUND : s;
}

enum status limit_table_tenant_index(struct limit_table *t, const char *id, size_t length, uint32_t *index)
{
    uint32_t found = 0;
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, index_of(t, id, length, &found));
    guard_leave(t);
    if (s == STATUS_OK)
        *index = found;
    return s;
}

static int compare_spans(const void *a, const void *b)
{
    const struct limit_span *x = a, *y = b;
    if (!x->end_us || !y->end_us)
        return !x->end_us - !y->end_us;
    return (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

static void copy_spans(const struct table_span *from, int n, struct limit_span *to)
{
    for (int i = 0; i < n; i++)
        to[i] = table_span_read(&from[i]);
    qsort(to, (size_t)n, sizeof(*to), compare_spans);
}

/* The limits of `version`; what is not held is unlimited. */
static enum status copy_limits(struct limit_table *t, uint32_t index, uint32_t version, struct limit limits[])
{
    struct table_cell *cell;
    for (uint32_t slot = 0; slot < LIMIT_TABLE_LIMITS; slot++) {
        limits[slot] = (struct limit){.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
        if (slot >= t->catalogue.n_limits)
            continue;
        limits[slot].window = t->catalogue.limits[slot].window;
        limits[slot].aggregation =
            t->catalogue.metrics[t->catalogue.limits[slot].metric % LIMIT_TABLE_METRICS].aggregation;
        enum status s = table_find_cell(t, index, slot, &cell);
        if (s == STATUS_OK)
            s = table_limit_copy(t, index, slot, cell, version, &limits[slot]);
        if (s == STATUS_DAMAGED)
            return s;
    }
    return STATUS_OK;
}

static enum status copy_tenant(struct limit_table *t, uint32_t index, struct limit_tenant *out)
{
    struct table_config config;
    const struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    uint32_t version;
    int tries = 0;
    if (s != STATUS_OK)
        return s;
    do {
        version = atomic_load_explicit(&tenant->version, memory_order_acquire);
        s = table_config_copy(t, index, version, &config);
        if (s == STATUS_OK)
            s = copy_limits(t, index, version, out->limits);
        if (s == STATUS_OK)
            s = table_credits_copy(t, index, version, out);
        out->n_key_limits = 0;
    } while (table_read_again(t, index, version, &tries));
    if (s != STATUS_OK)
        return s;
    memcpy(out->id, tenant->id, sizeof(out->id));
    out->id[sizeof(out->id) - 1] = '\0';
    memcpy(out->tier, config.tier, sizeof(out->tier));
    out->state = (uint8_t)config.state;
    out->held = atomic_load(&tenant->held);
    copy_spans(tenant->days, LIMIT_DAYS, out->days);
    copy_spans(tenant->weeks, LIMIT_WEEKS, out->weeks);
    copy_spans(tenant->periods, LIMIT_PERIODS, out->periods);
    return STATUS_OK;
}

enum status limit_table_tenant(struct limit_table *t, uint32_t index, struct limit_tenant *out)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, copy_tenant(t, index, out));
    guard_leave(t);
    return s;
}

bool limit_table_window(const struct limit_tenant *tenant, uint8_t window, int64_t at_us, struct limit_span *out)
{
    const struct limit_span *spans = tenant->days;
    int n = 0;
    if (window == LIMIT_WINDOW_DAY || window == LIMIT_WINDOW_HOUR)
        n = LIMIT_DAYS;
    else if (window == LIMIT_WINDOW_WEEK) {
        spans = tenant->weeks;
        n = LIMIT_WEEKS;
    } else if (window == LIMIT_WINDOW_PERIOD) {
        spans = tenant->periods;
        n = LIMIT_PERIODS;
    }
    for (int i = 0; i < n; i++)
        if (at_us >= spans[i].start_us && at_us < spans[i].end_us) {
            *out = window == LIMIT_WINDOW_HOUR ? table_hour_of(&spans[i], at_us) : spans[i];
            return true;
        }
    return false;
}

/* ---- the catalogue ---- */

/* Which limits a metric has, in their order. */
static void list_limits(struct limit_table *t)
{
    memset(t->first_limit, 0, sizeof(t->first_limit));
    for (uint32_t i = t->catalogue.n_limits; i-- > 0;) {
        uint8_t *first = &t->first_limit[t->catalogue.limits[i].metric % LIMIT_TABLE_METRICS];
        t->next_limit[i] = *first;
        *first = (uint8_t)(i + 1);
    }
}

enum status table_catalogue_refresh(struct limit_table *t)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t version = atomic_load_explicit(&t->header->catalogue_version, memory_order_acquire);
        if (version == t->catalogue_version)
            return STATUS_OK;
        memcpy(&t->catalogue, &t->header->catalogues[version & 1].catalogue, sizeof(t->catalogue));
        uint64_t checksum = t->header->catalogues[version & 1].checksum;
        if (version == 0) /* nothing was put yet */
            memset(&t->catalogue, 0, sizeof(t->catalogue));
        if ((version == 0 || checksum == XXH3_64bits(&t->catalogue, sizeof(t->catalogue))) &&
            t->catalogue.n_limits <= LIMIT_TABLE_LIMITS && t->catalogue.n_metrics <= LIMIT_TABLE_METRICS) {
            t->catalogue_version = version;
            list_limits(t);
            return STATUS_OK;
        }
    }
    t->catalogue_version = UINT32_MAX;
    return STATUS_DAMAGED;
}

enum status limit_table_catalogue(struct limit_table *t, struct limit_catalogue *out, uint64_t *version)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, table_catalogue_refresh(t));
    guard_leave(t);
    uint64_t now = (uint64_t)t->catalogue_version + 1;
    if (s != STATUS_OK || (version && *version == now))
        return s;
    memcpy(out, &t->catalogue, sizeof(*out));
    if (version)
        *version = now;
    return STATUS_OK;
}

int limit_table_metric(const struct limit_catalogue *c, const char *name, size_t length)
{
    for (uint32_t i = 0; i < c->n_metrics; i++)
        if (strlen(c->metrics[i].name) == length && memcmp(c->metrics[i].name, name, length) == 0)
            return (int)i;
    return -1;
}

bool limit_table_for_rules(const struct limit_catalogue *c, int metric)
{
    return !c->metrics[metric].derived || c->metrics[metric].kind == LIMIT_KIND_GAUGE;
}

/* ---- windows ---- */

#define HOUR_US (3600 * INT64_C(1000000))
#define HOUR_MARK_SHIFT 60
#define HOUR_COUNT_MAX ((INT64_C(1) << HOUR_MARK_SHIFT) - 1) /* beyond the largest limit that can be set, 10^18 */

struct limit_span table_span_read(const struct table_span *span)
{
    uint64_t end = atomic_load_explicit(&span->end, memory_order_acquire);
    return (struct limit_span){.start_us = atomic_load_explicit(&span->start_us, memory_order_relaxed),
                               .end_us = (int64_t)(end >> 32) * 1000000,
                               .end_offset_s = (int32_t)(uint32_t)end};
}

struct table_span *table_spans(struct table_tenant *tenant, uint8_t window, int *n)
{
    switch (window) {
    case LIMIT_WINDOW_DAY:
        *n = LIMIT_DAYS;
        return tenant->days;
    case LIMIT_WINDOW_WEEK:
        *n = LIMIT_WEEKS;
        return tenant->weeks;
    case LIMIT_WINDOW_PERIOD:
        *n = LIMIT_PERIODS;
        return tenant->periods;
    default:
        *n = 0;
        return NULL;
    }
}

struct limit_span table_hour_of(const struct limit_span *day, int64_t at_us)
{
    struct limit_span hour = {.start_us = at_us - (at_us - day->start_us) % HOUR_US, .end_offset_s = day->end_offset_s};
    hour.end_us = hour.start_us + HOUR_US < day->end_us ? hour.start_us + HOUR_US : day->end_us;
    return hour;
}

/* Half an hour at most lies between the starts of two hours: no two that are near each other have the same count and mark. */
static void place_hour(struct table_window *w)
{
    int64_t half_hours = w->start_us / (HOUR_US / 2);
    w->at = (int)(half_hours % LIMIT_DAYS);
    w->hour = (int)(half_hours / LIMIT_DAYS & 15);
}

bool table_window_at(struct table_tenant *tenant, uint8_t window, int64_t at_us, struct table_window *out)
{
    bool turns = window != LIMIT_WINDOW_NONE && window != LIMIT_WINDOW_MINUTE;
    int n;
    const struct table_span *spans = table_spans(tenant,
                                                 turns && window != LIMIT_WINDOW_HOUR ? window : LIMIT_WINDOW_DAY, &n);
    *out = (struct table_window){.hour = -1};
    for (int i = 0; i < n; i++) {
        struct limit_span span = table_span_read(&spans[i]);
        if (at_us >= span.end_us || at_us < span.start_us)
            continue;
        out->end_offset_s = span.end_offset_s; /* a minute has no window of its own: messages use the day's offset */
        if (!turns)
            return true;
        if (window == LIMIT_WINDOW_HOUR)
            span = table_hour_of(&span, at_us);
        out->start_us = span.start_us;
        out->end_us = span.end_us;
        out->at = i;
        if (window == LIMIT_WINDOW_HOUR)
            place_hour(out);
        return true;
    }
    return !turns;
}

/* ---- counts ---- */

int64_t table_count_of(int64_t word, int hour)
{
    if (hour < 0)
        return word;
    return (int)((uint64_t)word >> HOUR_MARK_SHIFT) == hour ? word & HOUR_COUNT_MAX : 0;
}

int64_t table_count_word(int64_t count, int hour)
{
    if (hour < 0)
        return count;
    if (count > HOUR_COUNT_MAX)
        count = HOUR_COUNT_MAX;
    return (int64_t)((uint64_t)hour << HOUR_MARK_SHIFT | (uint64_t)count);
}

void table_count_add(_Atomic int64_t *word, int hour, int64_t amount)
{
    int64_t seen = atomic_load(word), next;
    do {
        if (__builtin_add_overflow(table_count_of(seen, hour), amount, &next))
            next = INT64_MAX;
        if (next <= 0 && hour >= 0 && amount < 0 && (int)((uint64_t)seen >> HOUR_MARK_SHIFT) != hour)
            return; /* another hour's count stands there: there is nothing to take from this one's */
    } while (!atomic_compare_exchange_weak(word, &seen, table_count_word(next < 0 ? 0 : next, hour)));
}
