/* publish.c: what the collector writes: catalogue, tenants, keys, counts */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "lib/meter/limit_table/layout.h"

/* ---- catalogue ---- */

/* What has a place keeps it: counts are found by it. */
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
    return true;
}

static enum status put_catalogue(struct limit_table *t, const struct limit_catalogue *c)
{
    if (c->n_metrics > LIMIT_TABLE_METRICS || c->n_limits > LIMIT_TABLE_LIMITS)
        return STATUS_LIMIT;
    enum status s = table_catalogue_refresh(t);
    if (s != STATUS_OK)
        return s;
    if (!keeps_places(&t->catalogue, c))
        return STATUS_CONFLICT;
    uint32_t version = atomic_load(&t->header->catalogue_version) + 1;
    memcpy(&t->header->catalogues[version & 1].catalogue, c, sizeof *c);
    t->header->catalogues[version & 1].checksum = XXH3_64bits(&t->header->catalogues[version & 1].catalogue, sizeof *c);
    atomic_store_explicit(&t->header->catalogue_version, version, memory_order_release);
    return STATUS_OK;
}

enum status limit_table_put_catalogue(struct limit_table *t, const struct limit_catalogue *c)
{
    GUARDED(t, put_catalogue(t, c));
}

/* ---- the index's growth ---- */

/* Looks at each place at most once: a damaged index may be full. */
static enum status insert_key(struct limit_table *t, const struct index_key *from, uint64_t meta)
{
    uint64_t first, places = t->key_places;
    memcpy(&first, from->hash, sizeof first);
    for (uint64_t i = 0; i < places; i++) {
        struct index_key *k = &table_index_keys(t)[(first + i) & (places - 1)];
        if (atomic_load(&k->meta))
            continue;
        memcpy(k->hash, from->hash, sizeof k->hash);
        memcpy(k->id, from->id, sizeof k->id);
        for (int e = 0; e < 2; e++)
            atomic_store(&k->expires_us[e], atomic_load(&from->expires_us[e]));
        atomic_store_explicit(&k->meta, table_key_meta(k, meta), memory_order_release);
        atomic_fetch_add(&table_index(t)->n_keys, 1);
        return STATUS_OK;
    }
    return STATUS_DAMAGED;
}

static enum status insert_tenant(struct limit_table *t, uint64_t hash, uint64_t place)
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
            s = insert_tenant(to, atomic_load(&p->hash), atomic_load(&p->place));
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
    enum status s = table_index_make(t->run_dir, t->header->identity.id, generation, key_places, tenant_places);
    if (s == STATUS_OK)
        s = table_index_map(&grown, INDEX_MAKING);
    if (s == STATUS_OK)
        s = copy_index(t, &grown);
    if (s == STATUS_OK)
        s = table_index_show(t->run_dir);
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

/* The index in force, for a writer. A publisher that was killed may have shown one without announcing it. */
static enum status index_for_writing(struct limit_table *t)
{
    enum status s = table_index_refresh(t);
    if (s == STATUS_OK && t->index_generation > atomic_load(&t->header->index_generation))
        atomic_store(&t->header->index_generation, t->index_generation);
    return s;
}

/* At most 60 % full. */
static enum status room_in_index(struct limit_table *t)
{
    const struct index_header *h = table_index(t);
    bool full = atomic_load(&h->n_keys) >= t->key_places * 3 / 5 ||
                atomic_load(&h->n_tenants) >= t->tenant_places * 3 / 5;
    return full ? grow_index(t) : STATUS_OK;
}

/* ---- tenants ---- */

static enum status grow_tenants(struct limit_table *t, uint32_t need)
{
    uint32_t capacity = atomic_load(&t->header->capacity);
    if (need <= capacity)
        return STATUS_OK;
    if (need > TABLE_TENANTS_MAX)
        return STATUS_LIMIT;
    uint32_t wanted = (need + TABLE_GROW - 1) / TABLE_GROW * TABLE_GROW;
    off_t bytes = (off_t)(TABLE_TENANTS_AT + (size_t)wanted * sizeof(struct table_tenant));
    if (ftruncate(t->fd, bytes) != 0)
        return STATUS_NO_SPACE;
    atomic_store(&t->header->capacity, wanted);
    return STATUS_OK;
}

static void put_config(struct limit_table *t, uint32_t index, const struct limit_tenant *from)
{
    struct table_tenant *to = &t->tenants[index];
    const struct limit_catalogue *c = &t->catalogue;
    uint32_t version = atomic_load(&to->version) + 1;
    struct table_config *config = &to->configs[version & 1];
    memcpy(config->tier, from->tier, sizeof config->tier);
    memcpy(config->limits, from->limits, sizeof config->limits);
    for (uint32_t i = 0; i < c->n_limits; i++)
        config->limits[i].window = c->limits[i].window;
    config->state = from->state;
    config->checksum = table_config_checksum(t, config, index);
    atomic_store_explicit(&to->version, version, memory_order_release);
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
        if (atomic_load(&spans[i].end_us) && atomic_load(&spans[i].start_us) == start_us)
            return i;
    return -1;
}

/* A place of the ring that none of the wanted spans is in. */
static int free_span(const struct table_span *spans, const struct limit_span *wanted, int n)
{
    for (int i = 0; i < n; i++)
        if (!atomic_load(&spans[i].end_us) || !wanted_span(wanted, n, atomic_load(&spans[i].start_us)))
            return i;
    return -1;
}

/* Spans that stay keep their counts; new ones take the places of those that are past, emptied before they are shown. */
static void put_spans(struct table_tenant *tenant, struct table_span *spans, const struct limit_span *wanted, int n,
                      uint8_t window, const struct limit_catalogue *c)
{
    for (int i = 0; i < n; i++) {
        if (!wanted[i].end_us)
            continue;
        int at = span_starting(spans, n, wanted[i].start_us);
        if (at < 0) {
            at = free_span(spans, wanted, n);
            if (at < 0)
                continue;
            atomic_store(&spans[at].end_us, 0);
            for (uint32_t slot = 0; slot < c->n_limits; slot++)
                if (c->limits[slot].window == window)
                    atomic_store(&tenant->counts[slot][at], 0);
            atomic_store(&spans[at].start_us, wanted[i].start_us);
        }
        atomic_store(&spans[at].end_offset_s, wanted[i].end_offset_s);
        atomic_store_explicit(&spans[at].end_us, wanted[i].end_us, memory_order_release);
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
        if (strncmp(tenant->id, id, sizeof tenant->id) == 0) {
            *index = (uint32_t)(place - 1);
            return STATUS_OK;
        }
    }
    return STATUS_DAMAGED;
}

static enum status put_tenant(struct limit_table *t, const struct limit_tenant *tenant, uint32_t *index)
{
    uint32_t at = 0;
    if (!tenant->id[0] || !memchr(tenant->id, '\0', sizeof tenant->id))
        return STATUS_INVALID;
    enum status s = table_catalogue_refresh(t);
    if (s == STATUS_OK)
        s = index_for_writing(t);
    if (s == STATUS_OK)
        s = room_in_index(t);
    if (s != STATUS_OK)
        return s;
    s = place_of(t, tenant->id, &at);
    bool new = s == STATUS_NOT_FOUND;
    if (s != STATUS_OK && !new)
        return s;
    if (new) {
        at = atomic_load(&t->header->n_tenants);
        s = grow_tenants(t, at + 1);
        if (s != STATUS_OK)
            return s;
        memset(&t->tenants[at], 0, sizeof t->tenants[at]);
        memcpy(t->tenants[at].id, tenant->id, strlen(tenant->id) + 1);
    }
    struct table_tenant *to = &t->tenants[at];
    put_spans(to, to->days, tenant->days, LIMIT_DAYS, LIMIT_WINDOW_DAY, &t->catalogue);
    put_spans(to, to->periods, tenant->periods, LIMIT_PERIODS, LIMIT_WINDOW_PERIOD, &t->catalogue);
    put_config(t, at, tenant);
    if (new) {
        atomic_store_explicit(&t->header->n_tenants, at + 1, memory_order_release);
        s = insert_tenant(t, XXH3_64bits(tenant->id, strlen(tenant->id)), (uint64_t)at + 1);
    }
    *index = at;
    return new ? s : STATUS_OK;
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
    if (s == STATUS_OK)
        put_config(t, index, &empty);
    return s;
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
    uint32_t n = atomic_load(&t->header->n_tenants);
    guard_leave(t);
    return n < TABLE_TENANTS_MAX ? n : 0;
}

/* ---- keys ---- */

static struct index_key *key_place(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    uint64_t first, mask = t->key_places - 1;
    memcpy(&first, hash, sizeof first);
    struct index_key *keys = table_index_keys(t);
    for (uint64_t i = 0; i <= mask && atomic_load(&keys[(first + i) & mask].meta); i++)
        if (memcmp(keys[(first + i) & mask].hash, hash, LIMIT_HASH_BYTES) == 0)
            return &keys[(first + i) & mask];
    return NULL;
}

static enum status put_key(struct limit_table *t, const struct limit_key *key)
{
    enum status s = index_for_writing(t);
    if (s == STATUS_OK)
        s = room_in_index(t);
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
    struct index_key fresh;
    memset(&fresh, 0, sizeof fresh);
    memcpy(fresh.hash, key->hash, sizeof fresh.hash);
    memcpy(fresh.id, key->id, sizeof fresh.id);
    atomic_store(&fresh.expires_us[0], key->expires_us);
    return insert_key(t, &fresh, meta);
}

enum status limit_table_put_key(struct limit_table *t, const struct limit_key *key)
{
    GUARDED(t, put_key(t, key));
}

static enum status drop_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    enum status s = index_for_writing(t);
    struct index_key *k = s == STATUS_OK ? key_place(t, hash) : NULL;
    if (k)
        atomic_store(&k->meta, table_key_meta(k, atomic_load(&k->meta) | INDEX_DROPPED));
    return s != STATUS_OK ? s : k ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status limit_table_drop_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES])
{
    GUARDED(t, drop_key(t, hash));
}

/* ---- counts ---- */

static enum status set_gauge(struct limit_table *t, uint32_t index, uint8_t metric, int64_t level)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++)
        if (t->catalogue.limits[i].metric == metric && t->catalogue.limits[i].window == LIMIT_WINDOW_NONE)
            atomic_store(&tenant->counts[i][0], level);
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

/* The count of slot's window that holds at_us; NULL when the ring has none (or it is no window that adds up). */
static _Atomic int64_t *count_at(struct limit_table *t, struct table_tenant *tenant, uint32_t slot, int64_t at_us)
{
    int n;
    struct table_span *spans = table_spans(tenant, t->catalogue.limits[slot].window, &n);
    int span = spans ? table_span_at(spans, n, at_us) : -1;
    return span < 0 ? NULL : &tenant->counts[slot][span];
}

static enum status add_amount(struct limit_table *t, uint32_t index, uint8_t metric, int64_t recorded_us,
                              int64_t amount)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    for (uint32_t i = 0; s == STATUS_OK && i < t->catalogue.n_limits; i++) {
        _Atomic int64_t *count = t->catalogue.limits[i].metric == metric ? count_at(t, tenant, i, recorded_us) : NULL;
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
    *count = slot < t->catalogue.n_limits ? count_at(t, tenant, slot, at_us) : NULL;
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

static bool writer_lives(const struct limit_table *t, int i)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT + i, .l_len = 1};
    return fcntl(t->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static enum status idle(struct limit_table *t, uint32_t index)
{
    for (int i = 0; i < LIMIT_WRITERS; i++) {
        if (atomic_load(&t->writers[i].mark) != (uint64_t)index + 1)
            continue;
        if (i == t->writer || writer_lives(t, i))
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
