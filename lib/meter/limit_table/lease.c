/* lease.c: this node's leases on limits that several nodes draw on; the collector's side */
#include "lib/meter/limit_table/layout.h"

/* The writers' words, emptied as they are read; what is more than `most` stays for the next call. */
static enum status wanted(struct limit_table *t, struct limit_want *out, size_t most, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < LIMIT_WRITERS * TABLE_WANTED && *n < most; i++) {
        _Atomic uint64_t *word = &t->writers[i / TABLE_WANTED].wanted[i % TABLE_WANTED];
        uint64_t want = atomic_load_explicit(word, memory_order_relaxed);
        if (!want)
            continue;
        atomic_store(word, 0);
        struct limit_want w = {.tenant = (uint32_t)((want >> 8) - 1), .slot = (uint8_t)want};
        bool known = w.slot >= LIMIT_TABLE_LIMITS || !table_tenant_at(t, w.tenant);
        for (size_t j = 0; j < *n && !known; j++)
            known = out[j].tenant == w.tenant && out[j].slot == w.slot;
        if (!known)
            out[(*n)++] = w;
    }
    return STATUS_OK;
}

enum status limit_table_wanted(struct limit_table *t, struct limit_want *out, size_t most, size_t *n)
{
    GUARDED(t, wanted(t, out, most, n));
}

static enum status find_lease(struct limit_table *t, uint32_t tenant, uint8_t slot, struct table_lease **out)
{
    struct table_cell *cell;
    enum status s = table_tenant_at(t, tenant) ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        s = slot < t->catalogue.n_limits ? table_find_cell(t, tenant, slot, &cell) : STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        *out = &cell->lease;
    return s;
}

static enum status add(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us, int64_t amount)
{
    struct table_lease *lease;
    enum status s = find_lease(t, tenant, slot, &lease);
    if (s != STATUS_OK)
        return s;
    if (atomic_load(&lease->start_us) != start_us) { /* nobody spends from it between: its window is over */
        atomic_store(&lease->start_us, 0);
        atomic_store(&lease->left, 0);
        atomic_store(&lease->start_us, start_us);
    }
    atomic_fetch_add(&lease->left, amount);
    return STATUS_OK;
}

enum status limit_table_lease_add(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us,
                                  int64_t amount)
{
    GUARDED(t, add(t, tenant, slot, start_us, amount));
}

static enum status left_of(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us, bool withdraw,
                           int64_t *left)
{
    struct table_lease *lease;
    enum status s = find_lease(t, tenant, slot, &lease);
    *left = 0;
    if (s == STATUS_OK && atomic_load(&lease->start_us) == start_us)
        *left = withdraw ? atomic_exchange(&lease->left, 0) : atomic_load(&lease->left);
    return s;
}

enum status limit_table_lease_left(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us,
                                   int64_t *left)
{
    GUARDED(t, left_of(t, tenant, slot, start_us, false, left));
}

enum status limit_table_lease_withdraw(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us,
                                       int64_t *left)
{
    GUARDED(t, left_of(t, tenant, slot, start_us, true, left));
}
