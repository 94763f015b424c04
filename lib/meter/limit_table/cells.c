/* cells.c: which of a tenant's metrics are counted, and the room for their limits */
#include <string.h>
#include <unistd.h>

#include "lib/meter/limit_table/layout.h"

enum status table_grow(struct limit_table *t, uint32_t need)
{
    uint32_t capacity = atomic_load(&t->header->capacity);
    if (need <= capacity)
        return STATUS_OK;
    if (need > LIMIT_TABLE_PLACES)
        return STATUS_LIMIT;
    uint32_t wanted = (need + TABLE_GROW - 1) / TABLE_GROW * TABLE_GROW;
    off_t bytes = (off_t)(TABLE_TENANTS_AT + (size_t)wanted * sizeof(struct table_tenant));
    if (ftruncate(t->fd, bytes) != 0)
        return STATUS_NO_SPACE;
    atomic_store(&t->header->capacity, wanted);
    return STATUS_OK;
}

void table_limit_put(struct limit_table *t, uint32_t index, uint32_t slot, struct table_limit *to,
                     const struct limit *l)
{
    *to = (struct table_limit){.max = l->max,
                               .until_us = l->until_us,
                               .max_after = l->max_after,
                               .grace_until_us = l->grace_until_us,
                               .grace_percent = (uint16_t)l->grace_percent,
                               .mode = l->mode,
                               .lease_percent = l->lease_percent};
    to->check = table_limit_check(t, index, slot, to);
}

enum status table_place_add(struct limit_table *t, uint32_t owner, uint32_t *place)
{
    uint32_t at = atomic_load(&t->header->n_places);
    enum status s = table_grow(t, at + 1);
    if (s != STATUS_OK)
        return s;
    struct table_more *more = (struct table_more *)&t->tenants[at];
    memset(more, 0, sizeof(*more));
    more->owner = owner + 1;
    atomic_store_explicit(&t->header->n_places, at + 1, memory_order_release);
    *place = at;
    return STATUS_OK;
}

/* Adds the place that holds cell `at`, if it is not there. */
static enum status add_place(struct limit_table *t, uint32_t index, uint32_t at)
{
    struct table_tenant *tenant = &t->tenants[index];
    if (at < TABLE_CELLS)
        return STATUS_OK;
    uint32_t which = (at - TABLE_CELLS) / TABLE_CELLS_MORE, place;
    if (which >= TABLE_PLACES_MORE)
        return STATUS_LIMIT;
    if (atomic_load(&tenant->more[which]))
        return STATUS_OK;
    enum status s = table_place_add(t, index, &place);
    if (s == STATUS_OK)
        atomic_store_explicit(&tenant->more[which], place + 1, memory_order_release);
    return s;
}

/* A cell of count 0 and no limit, which nobody looks at before its metric is held. */
static enum status add_cell(struct limit_table *t, uint32_t index, uint32_t slot)
{
    static const struct limit none = {.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
    struct table_tenant *tenant = &t->tenants[index];
    uint32_t at = tenant->n_cells;
    if (atomic_load(&tenant->cell_of[slot]))
        return STATUS_OK;
    enum status s = add_place(t, index, at);
    if (s != STATUS_OK)
        return s;
    struct table_cell *cell =
        at < TABLE_CELLS
            ? &tenant->cells[at]
            : &((struct table_more *)&t->tenants[atomic_load(&tenant->more[(at - TABLE_CELLS) / TABLE_CELLS_MORE]) - 1])
                   ->cells[(at - TABLE_CELLS) % TABLE_CELLS_MORE];
    memset(cell, 0, sizeof(*cell));
    table_limit_put(t, index, slot, &cell->limits[0], &none);
    table_limit_put(t, index, slot, &cell->limits[1], &none);
    tenant->n_cells = at + 1;
    atomic_store(&tenant->cell_of[slot], (uint8_t)(at + 1));
    return STATUS_OK;
}

static enum status hold(struct limit_table *t, uint32_t index, uint8_t metric)
{
    enum status s = table_catalogue_refresh(t);
    if (s != STATUS_OK)
        return s;
    if (metric >= t->catalogue.n_metrics)
        return STATUS_NOT_FOUND;
    struct table_tenant *tenant = &t->tenants[index];
    if (atomic_load(&tenant->held) >> metric & 1)
        return STATUS_OK;
    for (uint8_t next = t->first_limit[metric]; next && s == STATUS_OK; next = t->next_limit[next - 1])
        s = add_cell(t, index, next - 1u);
    if (s == STATUS_OK)
        atomic_fetch_or_explicit(&tenant->held, UINT64_C(1) << metric, memory_order_release);
    return s;
}

static enum status hold_tenants(struct limit_table *t, uint32_t index, uint8_t metric)
{
    return table_tenant_at(t, index) ? hold(t, index, metric) : STATUS_NOT_FOUND;
}

enum status limit_table_hold(struct limit_table *t, uint32_t tenant, uint8_t metric)
{
    GUARDED(t, hold_tenants(t, tenant, metric));
}

uint32_t limit_table_places(uint32_t limits)
{
    return limits <= TABLE_CELLS ? 1 : 1 + (limits - TABLE_CELLS + TABLE_CELLS_MORE - 1) / TABLE_CELLS_MORE;
}

/* Does the limit limit anything, now or later? */
static bool needs_cell(const struct limit *l)
{
    return l->max != LIMIT_UNLIMITED || (l->until_us != LIMIT_NEVER && l->max_after != LIMIT_UNLIMITED);
}

/*
 * What the plan limits, and what is asked for besides; all of it as long as the tenant's own place has room for all limits, so that
 * the first use of a metric is seen at once.
 */
enum status table_hold_wanted(struct limit_table *t, uint32_t index, const struct limit_tenant *tenant)
{
    enum status s = STATUS_OK;
    uint64_t wanted = t->catalogue.n_limits <= TABLE_CELLS ? ~UINT64_C(0) : tenant->held;
    for (uint32_t i = 0; i < t->catalogue.n_limits; i++)
        if (needs_cell(&tenant->limits[i]))
            wanted |= UINT64_C(1) << t->catalogue.limits[i].metric;
    for (uint8_t m = 0; m < t->catalogue.n_metrics && s == STATUS_OK; m++)
        if (wanted >> m & 1)
            s = hold(t, index, m);
    return s;
}
