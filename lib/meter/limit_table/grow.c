/* grow.c: what the collector writes to the index: keys, tenants' places, and a larger index when it is full */
#include <string.h>
#include <sys/mman.h>

#include "lib/meter/limit_table/layout.h"

/* ---- the index's growth ---- */

/* Looks at each place at most once: a damaged index may be full. */
static enum status insert_key(struct limit_table *t, const struct index_key *from, uint64_t meta)
{
    uint64_t first, places = t->key_places;
    memcpy(&first, from->hash, sizeof(first));
    for (uint64_t i = 0; i < places; i++) {
        struct index_key *k = &table_index_keys(t)[(first + i) & (places - 1)];
        if (atomic_load(&k->meta))
            continue;
        memcpy(k->hash, from->hash, sizeof(k->hash));
        memcpy(k->id, from->id, sizeof(k->id));
        for (int e = 0; e < 2; e++)
            atomic_store(&k->expires_us[e], atomic_load(&from->expires_us[e]));
        atomic_store_explicit(&k->meta, table_key_meta(k, meta), memory_order_release);
        atomic_fetch_add(&table_index(t)->n_keys, 1);
        return STATUS_OK;
    }
    return STATUS_DAMAGED;
}

enum status table_index_insert(struct limit_table *t, uint64_t hash, uint64_t place)
{
    uint64_t places = t->tenant_places;
    for (uint64_t i = 0; i < places; i++) {
        struct index_tenant *p = &table_index_tenants(t)[(hash + i) & (places - 1)];
        if (atomic_load(&p->place))
            continue;
        atomic_store(&p->hash, hash);
        atomic_store_explicit(&p->place, place, memory_order_release);
        atomic_fetch_add(&table_index(t)->n_tenants, 1);
        return STATUS_OK;
    }
    return STATUS_DAMAGED;
}

static uint64_t live_keys(struct limit_table *t)
{
    uint64_t n = 0, places = t->key_places;
    for (uint64_t i = 0; i < places; i++) {
        uint64_t meta = atomic_load(&table_index_keys(t)[i].meta);
        n += meta && !(meta & INDEX_DROPPED);
    }
    return n;
}

static uint64_t live_tenants(struct limit_table *t)
{
    uint64_t n = 0, places = t->tenant_places;
    for (uint64_t i = 0; i < places; i++)
        n += atomic_load(&table_index_tenants(t)[i].place) != 0;
    return n;
}

/* Everything that lives in `from` goes into the empty index of `to`; dropped keys stay behind. */
static enum status copy_index(struct limit_table *from, struct limit_table *to)
{
    enum status s = STATUS_OK;
    for (uint64_t i = 0; s == STATUS_OK && i < from->key_places; i++) {
        const struct index_key *k = &table_index_keys(from)[i];
        uint64_t meta = atomic_load(&k->meta);
        if (meta && meta != table_key_meta(k, meta))
            s = STATUS_DAMAGED;
        else if (meta && !(meta & INDEX_DROPPED))
            s = insert_key(to, k, meta);
    }
    for (uint64_t i = 0; s == STATUS_OK && i < from->tenant_places; i++) {
        const struct index_tenant *p = &table_index_tenants(from)[i];
        if (atomic_load(&p->place))
            s = table_index_insert(to, atomic_load(&p->hash), atomic_load(&p->place));
    }
    return s;
}

/* A new generation with room for twice what lives: filled where nobody looks, then shown, then announced. */
static enum status grow_index(struct limit_table *t)
{
    uint64_t key_places = INDEX_FIRST_PLACES, tenant_places = INDEX_FIRST_PLACES;
    while (key_places < 3 * live_keys(t))
        key_places *= 2;
    while (tenant_places < 3 * live_tenants(t))
        tenant_places *= 2;
    uint64_t generation = t->index_generation + 1;
    struct limit_table grown = *t;
    grown.index = NULL;
    enum status s = table_index_make(t->run_dir, t->id, generation, key_places, tenant_places);
    if (s == STATUS_OK)
        s = table_index_map(&grown, true);
    if (s == STATUS_OK)
        s = copy_index(t, &grown);
    if (s == STATUS_OK)
        s = table_index_show(t->run_dir, t->id);
    if (s != STATUS_OK) {
        if (grown.index)
            munmap(grown.index, grown.index_bytes);
        return s;
    }
    munmap(t->index, t->index_bytes);
    t->index = grown.index;
    t->index_bytes = grown.index_bytes;
    t->index_generation = generation;
    t->key_places = key_places;
    t->tenant_places = tenant_places;
    atomic_store(&t->header->index_generation, generation);
    return STATUS_OK;
}

/* At most 60 % full. */
enum status table_index_room(struct limit_table *t)
{
    const struct index_header *h = table_index(t);
    bool full = atomic_load(&h->n_keys) >= t->key_places * 3 / 5 ||
                atomic_load(&h->n_tenants) >= t->tenant_places * 3 / 5;
    return full ? grow_index(t) : STATUS_OK;
}

/* A publisher that was killed may have shown an index without announcing it. */
enum status table_index_for_writing(struct limit_table *t)
{
    enum status s = table_index_refresh(t);
    if (s == STATUS_OK && t->index_generation > atomic_load(&t->header->index_generation))
        atomic_store(&t->header->index_generation, t->index_generation);
    return s;
}

/* ---- keys ---- */

static struct index_key *key_place(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    uint64_t first, mask = t->key_places - 1;
    memcpy(&first, hash, sizeof(first));
    struct index_key *keys = table_index_keys(t);
    for (uint64_t i = 0; i <= mask && atomic_load(&keys[(first + i) & mask].meta); i++)
        if (memcmp(keys[(first + i) & mask].hash, hash, LIMIT_HASH_BYTES) == 0)
            return &keys[(first + i) & mask];
    return NULL;
}

static enum status put_key(struct limit_table *t, const struct limit_key *key)
{
    enum status s = table_index_for_writing(t);
    if (s != STATUS_OK)
        return s;
    uint64_t meta = INDEX_USED | (key->is_operator ? INDEX_OPERATOR : 0u) | (key->revoked ? INDEX_REVOKED : 0u) |
                    (uint64_t)key->scopes << 8 | (uint64_t)key->tenant << 32;
    struct index_key *there = key_place(t, key->hash);
    if (there) { /* the expiry that is not in force is written, then the other bits choose it */
        meta |= ~atomic_load(&there->meta) & INDEX_SECOND;
        atomic_store(&there->expires_us[(meta & INDEX_SECOND) != 0], key->expires_us);
        atomic_store_explicit(&there->meta, table_key_meta(there, meta), memory_order_release);
        return STATUS_OK;
    }
    if (atomic_load(&table_index(t)->n_keys) >= LIMIT_TABLE_KEYS && live_keys(t) >= LIMIT_TABLE_KEYS)
        return STATUS_LIMIT;
    if ((s = table_index_room(t)) != STATUS_OK)
        return s;
    struct index_key fresh;
    memset(&fresh, 0, sizeof(fresh));
    memcpy(fresh.hash, key->hash, sizeof(fresh.hash));
    memcpy(fresh.id, key->id, sizeof(fresh.id));
    atomic_store(&fresh.expires_us[0], key->expires_us);
    return insert_key(t, &fresh, meta);
}

enum status limit_table_put_key(struct limit_table *t, const struct limit_key *key)
{
    GUARDED(t, put_key(t, key));
}

static enum status drop_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    enum status s = table_index_for_writing(t);
    struct index_key *k = s == STATUS_OK ? key_place(t, hash) : NULL;
    if (k)
        atomic_store(&k->meta, table_key_meta(k, atomic_load(&k->meta) | INDEX_DROPPED));
    return s != STATUS_OK ? s : k ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status limit_table_drop_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    GUARDED(t, drop_key(t, hash));
}
