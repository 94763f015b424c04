/* publish.c: what the collector writes of the catalogue and of tenants */
#include <string.h>

#include <xxhash.h>

#include "lib/meter/limit_table/layout.h"

/* ---- catalogue ---- */

/*
 * What has a place keeps it: counts are found by it. A metric that is there gets no other limit: its count would lack what was
 * before.
 */
static bool keeps_places(const struct limit_catalogue *old, const struct limit_catalogue *c)
{
    if (c->n_metrics < old->n_metrics || c->n_limits < old->n_limits)
        return false;
    for (uint32_t i = 0; i < old->n_metrics; i++)
        if (strcmp(old->metrics[i].name, c->metrics[i].name) != 0)
            return false;
    for (uint32_t i = 0; i < old->n_limits; i++)
        if (strcmp(old->limits[i].key, c->limits[i].key) != 0 || old->limits[i].metric != c->limits[i].metric ||
            old->limits[i].window != c->limits[i].window)
            return false;
    for (uint32_t i = old->n_limits; i < c->n_limits; i++)
        if (c->limits[i].metric < old->n_metrics)
            return false;
    return true;
}

static enum status put_catalogue(struct limit_table *t, const struct limit_catalogue *c)
{
    if (c->n_metrics > LIMIT_TABLE_METRICS || c->n_limits > LIMIT_TABLE_LIMITS)
        return STATUS_LIMIT;
    for (uint32_t i = 0; i < c->n_limits; i++)
        if (c->limits[i].metric >= c->n_metrics)
            return STATUS_INVALID;
    enum status s = table_catalogue_refresh(t);
    if (s != STATUS_OK)
        return s;
    if (!keeps_places(&t->catalogue, c))
        return STATUS_CONFLICT;
    uint32_t version = atomic_load(&t->header->catalogue_version) + 1;
    memcpy(&t->header->catalogues[version & 1].catalogue, c, sizeof(*c));
    t->header->catalogues[version & 1].checksum = XXH3_64bits(&t->header->catalogues[version & 1].catalogue,
                                                              sizeof(*c));
    atomic_store_explicit(&t->header->catalogue_version, version, memory_order_release);
    return STATUS_OK;
}

enum status limit_table_put_catalogue(struct limit_table *t, const struct limit_catalogue *c)
{
    GUARDED(t, put_catalogue(t, c));
}

/* ---- tenants ---- */

static enum status put_config(struct limit_table *t, uint32_t index, const struct limit_tenant *from)
{
    struct table_tenant *to = &t->tenants[index];
    uint32_t version = atomic_load(&to->version) + 1;
    struct table_config *config = &to->configs[version & 1];
    struct table_cell *cell;
    enum status s = table_credits_put(t, index, version, from);
    if (s == STATUS_OK)
        s = table_keys_put(t, index, version, from);
    if (s != STATUS_OK)
        return s;
    memcpy(config->tier, from->tier, sizeof(config->tier));
    config->state = from->state;
    config->checksum = table_config_checksum(t, config, index);
    for (uint32_t i = 0; i < t->catalogue.n_limits; i++) {
        s = table_find_cell(t, index, i, &cell);
        if (s == STATUS_OK)
            table_limit_put(t, index, i, &cell->limits[version & 1], &from->limits[i]);
        else if (s != STATUS_NOT_FOUND)
            return s;
    }
    atomic_store_explicit(&to->version, version, memory_order_release);
    return STATUS_OK;
}

static bool wanted_span(const struct limit_span *wanted, int n, int64_t start_us)
{
    for (int i = 0; i < n; i++)
        if (wanted[i].end_us && wanted[i].start_us == start_us)
            return true;
    return false;
}

static int span_starting(const struct table_span *spans, int n, int64_t start_us)
{
    for (int i = 0; i < n; i++)
        if (atomic_load(&spans[i].end) && atomic_load(&spans[i].start_us) == start_us)
            return i;
    return -1;
}

/* A place of the ring that none of the wanted spans is in. */
static int free_span(const struct table_span *spans, const struct limit_span *wanted, int n)
{
    for (int i = 0; i < n; i++)
        if (!atomic_load(&spans[i].end) || !wanted_span(wanted, n, atomic_load(&spans[i].start_us)))
            return i;
    return -1;
}

/* The counts of span `at`, before it is shown as another window. */
static void empty_counts(struct limit_table *t, uint32_t index, uint8_t window, int at)
{
    struct table_cell *cell;
    for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++)
        if (t->catalogue.limits[slot].window == window && table_find_cell(t, index, slot, &cell) == STATUS_OK)
            atomic_store(&cell->counts[at], 0);
}

/* Spans that stay keep their counts; new ones take the places of those that are past, emptied before they are shown. */
static void put_spans(struct limit_table *t, uint32_t index, const struct limit_span *wanted, uint8_t window)
{
    int n;
    struct table_span *spans = table_spans(&t->tenants[index], window, &n);
    for (int i = 0; i < n; i++) {
        if (!wanted[i].end_us)
            continue;
        int at = span_starting(spans, n, wanted[i].start_us);
        if (at < 0) {
            at = free_span(spans, wanted, n);
            if (at < 0)
                continue;
            atomic_store(&spans[at].end, 0);
            empty_counts(t, index, window, at);
            atomic_store(&spans[at].start_us, wanted[i].start_us);
        }
        atomic_store_explicit(&spans[at].end,
                              (uint64_t)(wanted[i].end_us / 1000000) << 32 | (uint32_t)wanted[i].end_offset_s,
                              memory_order_release);
    }
}

/* Like limit_table_tenant_index, but finds places whose tenant was dropped too. */
static enum status place_of(struct limit_table *t, const char *id, uint32_t *index)
{
    uint64_t length = strlen(id), hash = XXH3_64bits(id, length), mask = t->tenant_places - 1;
    for (uint64_t i = 0; i <= mask; i++) {
        const struct index_tenant *p = &table_index_tenants(t)[(hash + i) & mask];
        uint64_t place = atomic_load(&p->place);
        if (!place)
            return STATUS_NOT_FOUND;
        if (atomic_load(&p->hash) != hash)
            continue;
        const struct table_tenant *tenant = table_tenant_at(t, (uint32_t)(place - 1));
        if (!tenant)
            return STATUS_DAMAGED;
        if (strncmp(tenant->id, id, sizeof(tenant->id)) == 0) {
            *index = (uint32_t)(place - 1);
            return STATUS_OK;
        }
    }
    return STATUS_DAMAGED;
}

/* A place for a tenant that has none; nobody looks at it yet. */
static enum status new_place(struct limit_table *t, const char *id, uint32_t *index)
{
    uint32_t at = atomic_load(&t->header->n_places);
    enum status s = table_grow(t, at + 1);
    if (s != STATUS_OK)
        return s;
    memset(&t->tenants[at], 0, sizeof(t->tenants[at]));
    atomic_store_explicit(&t->header->n_places, at + 1, memory_order_release);
    memcpy(t->tenants[at].id, id, strlen(id) + 1);
    *index = at;
    return STATUS_OK;
}

static enum status put_tenant(struct limit_table *t, const struct limit_tenant *tenant, uint32_t *index)
{
    uint32_t at = 0;
    if (!tenant->id[0] || !memchr(tenant->id, '\0', sizeof(tenant->id)))
        return STATUS_INVALID;
    enum status s = table_catalogue_refresh(t);
    if (s == STATUS_OK)
        s = table_index_for_writing(t);
    if (s == STATUS_OK)
        s = place_of(t, tenant->id, &at);
    bool new = s == STATUS_NOT_FOUND;
    if (new && (s = table_index_room(t)) == STATUS_OK)
        s = new_place(t, tenant->id, &at);
    if (s != STATUS_OK)
        return s;
    enum status held = table_hold_wanted(t, at, tenant);
    if (held != STATUS_OK && held != STATUS_LIMIT)
        return held;
    put_spans(t, at, tenant->days, LIMIT_WINDOW_DAY);
    put_spans(t, at, tenant->weeks, LIMIT_WINDOW_WEEK);
    put_spans(t, at, tenant->periods, LIMIT_WINDOW_PERIOD);
    s = put_config(t, at, tenant);
    if (s == STATUS_OK && new)
        s = table_index_insert(t, XXH3_64bits(tenant->id, strlen(tenant->id)), (uint64_t)at + 1);
    if (s != STATUS_OK)
        return s;
    *index = at;
    return held;
}

enum status limit_table_put_tenant(struct limit_table *t, const struct limit_tenant *tenant, uint32_t *index)
{
    GUARDED(t, put_tenant(t, tenant, index));
}

static enum status drop_tenant(struct limit_table *t, uint32_t index)
{
    struct table_config config;
    struct limit_tenant empty = {.state = LIMIT_TENANT_FREE};
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_config_read(t, index, &config) : STATUS_NOT_FOUND;
    return s == STATUS_OK ? put_config(t, index, &empty) : s;
}

enum status limit_table_drop_tenant(struct limit_table *t, uint32_t index)
{
    GUARDED(t, drop_tenant(t, index));
}

uint32_t limit_table_tenants(const struct limit_table *constant)
{
    struct limit_table *t = (struct limit_table *)(uintptr_t)constant;
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return 0;
    }
    uint32_t n = atomic_load(&t->header->n_places);
    guard_leave(t);
    return n <= LIMIT_TABLE_PLACES ? n : 0;
}
