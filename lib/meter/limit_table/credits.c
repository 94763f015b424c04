/* credits.c: what a tenant was granted beyond its limits */
/*
 * A tenant that has credits has a place for them; where none has any, a decision reads one word that is 0. What the collector publishes is
 * what was left when the window before the current one began. What that window took of it, and those behind it, is worked out from their
 * counts at each decision: so the first call of a new window knows what the last one of the old window took.
 */
#include <string.h>

#include <xxhash.h>

#include "lib/meter/limit_table/layout.h"

/* A window whose use beyond the plan is taken from credits. */
struct past {
    int64_t start_us, end_us, used;
};

static struct table_credits *credits_of(const struct limit_table *t, uint32_t index)
{
    uint32_t place = atomic_load_explicit(&t->tenants[index].credits, memory_order_acquire);
    if (!place || place > atomic_load(&t->header->n_places) || place > LIMIT_TABLE_PLACES)
        return NULL;
    struct table_credits *credits = (struct table_credits *)&t->tenants[place - 1];
    return credits->owner == index + 1 ? credits : NULL;
}

static uint64_t check_of(const struct limit_table *t, uint32_t index, const struct limit_credit *c)
{
    return XXH3_64bits_withSeed(c, sizeof(*c), t->id ^ ((uint64_t)index << 8 | c->slot));
}

enum status table_credits_put(struct limit_table *t, uint32_t index, uint32_t version, const struct limit_tenant *from)
{
    struct table_tenant *tenant = &t->tenants[index];
    uint32_t place;
    if (from->n_credits > LIMIT_CREDITS)
        return STATUS_INVALID;
    if (!atomic_load(&tenant->credits)) {
        if (from->n_credits == 0)
            return STATUS_OK;
        enum status s = table_place_add(t, index, &place);
        if (s != STATUS_OK)
            return s;
        atomic_store_explicit(&tenant->credits, place + 1, memory_order_release);
    }
    struct table_credits *to = credits_of(t, index);
    if (!to)
        return STATUS_DAMAGED;
    to->lists[version & 1].n = from->n_credits;
    for (uint32_t i = 0; i < from->n_credits; i++) {
        struct table_credit *c = &to->lists[version & 1].credits[i];
        memcpy(&c->credit, &from->credits[i], sizeof(c->credit));
        c->check = check_of(t, index, &c->credit);
    }
    return STATUS_OK;
}

/* The credit of `version` on this limit. STATUS_NOT_FOUND: there is none. */
static enum status find(const struct limit_table *t, uint32_t index, uint32_t version, uint8_t slot,
                        struct limit_credit *out)
{
    const struct table_credits *credits = credits_of(t, index);
    if (!credits)
        return STATUS_DAMAGED;
    uint64_t n = credits->lists[version & 1].n;
    for (uint64_t i = 0; i < n && i < LIMIT_CREDITS; i++) {
        const struct table_credit *c = &credits->lists[version & 1].credits[i];
        if (c->credit.slot != slot)
            continue;
        uint64_t check = c->check;
        memcpy(out, &c->credit, sizeof(*out));
        return check == check_of(t, index, out) && out->n <= LIMIT_GRANTS ? STATUS_OK : STATUS_DAMAGED;
    }
    return n <= LIMIT_CREDITS ? STATUS_NOT_FOUND : STATUS_DAMAGED;
}

enum status table_credits_copy(const struct limit_table *t, uint32_t index, uint32_t version, struct limit_tenant *out)
{
    out->n_credits = 0;
    if (!atomic_load(&t->tenants[index].credits))
        return STATUS_OK;
    for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++) {
        enum status s = find(t, index, version, (uint8_t)slot, &out->credits[out->n_credits]);
        if (s == STATUS_DAMAGED)
            return s;
        if (s == STATUS_OK)
            out->n_credits++;
        if (out->n_credits == LIMIT_CREDITS)
            break;
    }
    return STATUS_OK;
}

/* The window of the limit's that ends where `before_us` is; false: the table holds none. */
static bool window_before(const struct limit_table *t, uint32_t index, uint8_t slot, const struct table_cell *cell,
                          int64_t before_us, struct past *out)
{
    struct table_window w;
    if (!table_window_at(&t->tenants[index], t->catalogue.limits[slot].window, before_us - 1, &w) || !w.end_us)
        return false;
    *out = (struct past){
        .start_us = w.start_us, .end_us = w.end_us, .used = table_count_of(atomic_load(&cell->counts[w.at]), w.hour)};
    return true;
}

/* What a window that is over took, of those that end first. */
static void take_past(struct limit_credit *c, const struct past *w, int64_t plan)
{
    int64_t over = plan == LIMIT_UNLIMITED || w->used <= plan ? 0 : w->used - plan;
    for (uint8_t i = 0; i < c->n && over > 0; i++) {
        if (c->grants[i].from_us >= w->end_us || c->grants[i].until_us <= w->start_us)
            continue;
        int64_t part = over < c->grants[i].left ? over : c->grants[i].left;
        c->grants[i].left -= part;
        over -= part;
    }
}

/* The first of them had the plan that the credit tells, those behind it the limit as it is. */
static void take_all_past(const struct limit_table *t, uint32_t index, uint8_t slot, const struct table_cell *cell,
                          int64_t start_us, const struct limit *limit, struct limit_credit *c)
{
    struct past past[LIMIT_DAYS];
    int n = 0;
    for (int64_t at = start_us;
         n < LIMIT_DAYS && window_before(t, index, slot, cell, at, &past[n]) && past[n].start_us >= c->since_us;)
        at = past[n++].start_us;
    while (n-- > 0) {
        int64_t plan = past[n].end_us <= limit->until_us ? limit->max : limit->max_after;
        take_past(c, &past[n], past[n].start_us == c->since_us ? c->plan : plan);
    }
}

static enum status amount_of(const struct limit_table *t, uint32_t index, uint32_t version, uint8_t slot,
                             const struct table_cell *cell, const struct limit *limit, int64_t start_us, int64_t now_us,
                             int64_t *amount)
{
    struct limit_credit c;
    __int128 sum = 0;
    enum status s = find(t, index, version, slot, &c);
    *amount = 0;
    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    take_all_past(t, index, slot, cell, start_us, limit, &c);
    for (uint8_t i = 0; i < c.n; i++)
        if (c.grants[i].until_us > now_us)
            sum += c.grants[i].left;
    *amount = sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
    return STATUS_OK;
}

enum status table_credits_add(const struct limit_table *t, uint32_t index, uint32_t version, uint8_t slot,
                              const struct table_cell *cell, int64_t start_us, int64_t now_us, struct limit *limit)
{
    int64_t amount;
    enum status s = amount_of(t, index, version, slot, cell, limit, start_us, now_us, &amount);
    limit_add(limit, amount);
    return s;
}

static enum status read_credit(struct limit_table *t, uint32_t index, uint8_t slot, int64_t now_us, int64_t *amount)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    struct table_cell *cell;
    struct table_window w;
    struct limit limit;
    uint32_t version;
    int tries = 0;
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    *amount = 0;
    if (s != STATUS_OK || slot >= t->catalogue.n_limits || !atomic_load(&tenant->credits) ||
        table_find_cell(t, index, slot, &cell) != STATUS_OK ||
        !table_window_at(tenant, t->catalogue.limits[slot].window, now_us, &w))
        return s;
    do {
        version = atomic_load_explicit(&tenant->version, memory_order_acquire);
        s = table_limit_copy(t, index, slot, cell, version, &limit);
        if (s == STATUS_OK)
            s = amount_of(t, index, version, slot, cell, &limit, w.start_us, now_us, amount);
    } while (table_read_again(t, index, version, &tries));
    return s;
}

enum status limit_table_credit(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t now_us, int64_t *amount)
{
    GUARDED(t, read_credit(t, tenant, slot, now_us, amount));
}
