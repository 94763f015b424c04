/* keys.c: limits that bind a single key of a tenant's */
#include <string.h>

#include <xxhash.h>

#include "lib/meter/limit_table/layout.h"

static struct table_keys *keys_of(const struct limit_table *t, uint32_t index)
{
    uint32_t place = atomic_load_explicit(&t->tenants[index].keys, memory_order_acquire);
    if (!place || place > atomic_load(&t->header->n_places) || place > LIMIT_TABLE_PLACES)
        return NULL;
    struct table_keys *keys = (struct table_keys *)&t->tenants[place - 1];
    return keys->owner == index + 1 ? keys : NULL;
}

static uint64_t check_of(const struct limit_table *t, uint32_t index, const struct table_key_limit *l)
{
    return XXH3_64bits_withSeed(l, offsetof(struct table_key_limit, check), t->id ^ ((uint64_t)index << 8 | 0xff));
}

/* Where the limit of this key has its count in the list in force; -1: nowhere. */
static int count_of(const struct table_keys *keys, uint32_t version, const char key[8], uint8_t slot)
{
    for (uint64_t i = 0; i < keys->lists[version & 1].n && i < LIMIT_KEY_LIMITS; i++) {
        const struct table_key_limit *l = &keys->lists[version & 1].limits[i];
        if (l->slot == slot && memcmp(l->key, key, sizeof(l->key)) == 0)
            return l->at;
    }
    return -1;
}

/* The counts that a list uses, a bit each. */
static uint64_t counts_in(const struct table_keys *keys, uint32_t version)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < keys->lists[version & 1].n && i < LIMIT_KEY_LIMITS; i++)
        used |= UINT64_C(1) << (keys->lists[version & 1].limits[i].at % LIMIT_KEY_LIMITS);
    return used;
}

/* What is there keeps its count; a new one begins with a bucket that is full. One without a free count is left out. */
static void put_list(struct limit_table *t, uint32_t index, uint32_t version, const struct limit_tenant *from,
                     struct table_keys *to)
{
    uint64_t used = counts_in(to, version - 1);
    uint64_t n = 0;
    for (uint32_t i = 0; i < from->n_key_limits; i++) {
        const struct limit_of_key *k = &from->key_limits[i];
        struct table_key_limit l = {.slot = k->slot,
                                    .mode = k->limit.mode,
                                    .grace_percent = (uint32_t)k->limit.grace_percent,
                                    .max = k->limit.max,
                                    .until_us = k->limit.until_us,
                                    .grace_until_us = k->limit.grace_until_us};
        memcpy(l.key, k->key, sizeof(l.key));
        int at = count_of(to, version - 1, l.key, l.slot);
        for (int free = 0; at < 0 && free < LIMIT_KEY_LIMITS; free++)
            if (!(used >> free & 1)) {
                at = free;
                used |= UINT64_C(1) << free;
                atomic_store(&to->counts[free], 0);
            }
        if (at < 0)
            continue;
        l.at = (uint8_t)at;
        l.check = check_of(t, index, &l);
        to->lists[version & 1].limits[n++] = l;
    }
    to->lists[version & 1].n = n;
}

enum status table_keys_put(struct limit_table *t, uint32_t index, uint32_t version, const struct limit_tenant *from)
{
    struct table_tenant *tenant = &t->tenants[index];
    uint32_t place;
    if (from->n_key_limits > LIMIT_KEY_LIMITS)
        return STATUS_INVALID;
    if (!atomic_load(&tenant->keys)) {
        if (from->n_key_limits == 0)
            return STATUS_OK;
        enum status s = table_place_add(t, index, &place);
        if (s != STATUS_OK)
            return s;
        atomic_store_explicit(&tenant->keys, place + 1, memory_order_release);
    }
    struct table_keys *to = keys_of(t, index);
    if (!to)
        return STATUS_DAMAGED;
    put_list(t, index, version, from, to);
    return STATUS_OK;
}

enum status table_key_limit(const struct limit_table *t, uint32_t index, uint32_t version, const char *key,
                            uint8_t metric, uint32_t *next, uint8_t *slot, uint8_t *at, struct limit *out)
{
    const struct table_keys *keys = keys_of(t, index);
    if (!keys)
        return STATUS_DAMAGED;
    for (; *next < keys->lists[version & 1].n && *next < LIMIT_KEY_LIMITS; ++*next) {
        struct table_key_limit l;
        memcpy(&l, &keys->lists[version & 1].limits[*next], sizeof(l));
        if (strncmp(l.key, key, sizeof(l.key)) != 0)
            continue;
        if (l.check != check_of(t, index, &l) || l.slot >= t->catalogue.n_limits || l.at >= LIMIT_KEY_LIMITS)
            return STATUS_DAMAGED;
        if (t->catalogue.limits[l.slot].metric != metric)
            continue;
        *slot = l.slot;
        *at = l.at;
        *out = (struct limit){.max = l.max,
                              .until_us = l.until_us,
                              .max_after = LIMIT_UNLIMITED,
                              .grace_until_us = l.grace_until_us,
                              .grace_percent = (int32_t)l.grace_percent,
                              .mode = l.mode,
                              .window = LIMIT_WINDOW_MINUTE};
        ++*next;
        return STATUS_OK;
    }
    return STATUS_END;
}

_Atomic int64_t *table_key_count(const struct limit_table *t, uint32_t index, uint8_t at)
{
    struct table_keys *keys = keys_of(t, index);
    return keys && at < LIMIT_KEY_LIMITS ? &keys->counts[at] : NULL;
}
