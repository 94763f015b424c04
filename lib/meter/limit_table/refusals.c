/* refusals.c: what was refused, by tenant, limit and hour */
#include "lib/meter/limit_table/layout.h"

#define QUARTER_US (900 * INT64_C(1000000))
#define REFUSED_SHIFT 40
#define REFUSED_MAX ((UINT64_C(1) << REFUSED_SHIFT) - 1)

static uint64_t quarter_of(struct limit_table *t, uint32_t index, int64_t now_us)
{
    struct table_window w;
    if (!table_window_at(&t->tenants[index], LIMIT_WINDOW_HOUR, now_us, &w))
        w.start_us = now_us - now_us % (4 * QUARTER_US);
    return (uint64_t)(w.start_us / QUARTER_US);
}

/* In the place of this hour, else in that of the older one of the two. */
static void count_refusal(struct table_cell *cell, uint64_t quarter)
{
    uint64_t first = atomic_load(&cell->refused[0]), second = atomic_load(&cell->refused[1]), next;
    _Atomic uint64_t *place = &cell->refused[0];
    uint64_t seen = first;
    if (second >> REFUSED_SHIFT == quarter || (first >> REFUSED_SHIFT != quarter && second < first)) {
        place = &cell->refused[1];
        seen = second;
    }
    do {
        next = seen >> REFUSED_SHIFT == quarter ? seen + 1 : quarter << REFUSED_SHIFT | 1;
        if ((next & REFUSED_MAX) == 0) /* no more fit */
            return;
    } while (!atomic_compare_exchange_weak(place, &seen, next));
}

/* The bit is told after the count, and read before it: none is overlooked. */
void table_note_refusal(struct limit_table *t, uint32_t index, const struct limit_answer *answer, int64_t now_us)
{
    struct table_cell *cell;
    uint64_t bit = UINT64_C(1) << index % 64;
    if (answer->decisive < 0 || table_find_cell(t, index, answer->limits[answer->decisive].slot, &cell) != STATUS_OK)
        return;
    count_refusal(cell, quarter_of(t, index, now_us));
    atomic_fetch_add_explicit(&t->header->refused[answer->limits[answer->decisive].slot], 1, memory_order_relaxed);
    if (!(atomic_load(&t->refused[index / 64]) & bit))
        atomic_fetch_or(&t->refused[index / 64], bit);
}

static void read_tenant(struct limit_table *t, uint32_t index, struct limit_refusal *out, size_t *n)
{
    struct table_cell *cell;
    for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++) {
        if (table_find_cell(t, index, slot, &cell) != STATUS_OK)
            continue;
        for (int i = 0; i < 2; i++) {
            uint64_t word = atomic_load(&cell->refused[i]);
            if (word)
                out[(*n)++] = (struct limit_refusal){.tenant = index,
                                                     .slot = (uint8_t)slot,
                                                     .hour_us = (int64_t)(word >> REFUSED_SHIFT) * QUARTER_US,
                                                     .refused = word & REFUSED_MAX};
        }
    }
}

static enum status refusals(struct limit_table *t, bool all, uint32_t *next, struct limit_refusal *out, size_t most,
                            size_t *n)
{
    uint32_t places = atomic_load(&t->header->n_places);
    enum status s = table_catalogue_refresh(t);
    *n = 0;
    if (s != STATUS_OK)
        return s;
    if (places > LIMIT_TABLE_PLACES)
        return STATUS_DAMAGED;
    for (; *next < places && *n + LIMIT_REFUSALS_ROOM <= most; (*next)++) {
        uint64_t bit = UINT64_C(1) << *next % 64;
        if (!all && *next % 64 == 0 && !atomic_load(&t->refused[*next / 64])) {
            *next += 63; /* none of these */
            continue;
        }
        bool told = atomic_load(&t->refused[*next / 64]) & bit;
        if (told)
            atomic_fetch_and(&t->refused[*next / 64], ~bit);
        if ((told || all) && table_tenant_at(t, *next))
            read_tenant(t, *next, out, n);
    }
    if (*next >= places)
        *next = 0;
    return STATUS_OK;
}

enum status limit_table_refusals(struct limit_table *t, bool all, uint32_t *next, struct limit_refusal *out,
                                 size_t most, size_t *n)
{
    GUARDED(t, refusals(t, all, next, out, most, n));
}

uint64_t limit_table_id(const struct limit_table *t)
{
    return t->id;
}
