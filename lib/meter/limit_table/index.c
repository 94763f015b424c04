/* index.c: keys and tenants by hash; consistent copies of what is published */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdio.h>

#include <sodium.h>
#include <xxhash.h>

#include "lib/base/io.h"
#include "lib/meter/limit_table/layout.h"

#define READ_TRIES 64 /* a reader is overtaken only by two publications of the same entry */

/* ---- the index ---- */

uint64_t table_index_checksum(const struct index_header *h)
{
    return XXH3_64bits(h, offsetof(struct index_header, checksum));
}

struct index_header *table_index(struct limit_table *t)
{
    return (struct index_header *)t->index;
}

struct index_key *table_index_keys(struct limit_table *t)
{
    return (struct index_key *)(t->index + sizeof(struct index_header));
}

struct index_tenant *table_index_tenants(struct limit_table *t)
{
    return (struct index_tenant *)(t->index + sizeof(struct index_header) + t->key_places * sizeof(struct index_key));
}

static size_t index_size(uint64_t key_places, uint64_t tenant_places)
{
    return sizeof(struct index_header) + key_places * sizeof(struct index_key) +
           tenant_places * sizeof(struct index_tenant);
}

enum status table_index_make(const char *run_dir, uint64_t table_id, uint64_t generation, uint64_t key_places,
                             uint64_t tenant_places)
{
    char fresh[PATH_MAX];
    struct index_header h = {
        .table_id = table_id, .generation = generation, .key_places = key_places, .tenant_places = tenant_places};
    memcpy(h.magic, INDEX_MAGIC, 8);
    h.checksum = table_index_checksum(&h);
    enum status s = io_path(fresh, sizeof fresh, run_dir, INDEX_MAKING);
    if (s != STATUS_OK)
        return s;
    unlink(fresh);
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return STATUS_IO;
    s = io_write_all(fd, &h, sizeof h);
    if (s == STATUS_OK && ftruncate(fd, (off_t)index_size(key_places, tenant_places)) != 0)
        s = STATUS_NO_SPACE;
    close(fd);
    return s;
}

enum status table_index_show(const char *run_dir)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    enum status s = io_path(path, sizeof path, run_dir, INDEX_FILE);
    if (s == STATUS_OK)
        s = io_path(fresh, sizeof fresh, run_dir, INDEX_MAKING);
    if (s == STATUS_OK && rename(fresh, path) != 0)
        s = STATUS_IO;
    return s;
}

static bool sane(const struct index_header *h, size_t bytes, uint64_t table_id)
{
    return memcmp(h->magic, INDEX_MAGIC, 8) == 0 && h->checksum == table_index_checksum(h) && h->table_id == table_id &&
           h->key_places && !(h->key_places & (h->key_places - 1)) && h->tenant_places &&
           !(h->tenant_places & (h->tenant_places - 1)) && h->key_places < UINT32_MAX &&
           h->tenant_places < UINT32_MAX && bytes >= index_size(h->key_places, h->tenant_places);
}

void table_touch(void *at, size_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_READ) != 0)
        errno = 0; /* an older kernel: each page costs its first call a fault */
}

enum status table_index_map(struct limit_table *t, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    enum status s = io_path(path, sizeof path, t->run_dir, name);
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return STATUS_UNAVAILABLE;
    struct index_header h;
    char *at = MAP_FAILED;
    if (fstat(fd, &st) == 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
        sane(&h, (size_t)st.st_size, t->header->identity.id))
        at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return STATUS_DAMAGED;
    table_touch(at, (size_t)st.st_size);
    if (t->index)
        munmap(t->index, t->index_bytes);
    t->index = at;
    t->index_bytes = (size_t)st.st_size;
    t->index_generation = h.generation;
    t->key_places = h.key_places;
    t->tenant_places = h.tenant_places;
    return STATUS_OK;
}

enum status table_index_refresh(struct limit_table *t)
{
    uint64_t generation = atomic_load(&t->header->index_generation);
    if (t->index && t->index_generation >= generation)
        return STATUS_OK;
    enum status s = table_index_map(t, INDEX_FILE);
    /* a generation is told only when its file is in place */
    return s == STATUS_OK && t->index_generation < generation ? STATUS_DAMAGED : s;
}

/* ---- keys ---- */

uint64_t table_key_meta(const struct index_key *k, uint64_t meta)
{
    uint64_t parts[] = {meta & ~INDEX_CHECK, (uint64_t)atomic_load(&k->expires_us[(meta & INDEX_SECOND) != 0])};
    uint64_t entry = XXH3_64bits(k, offsetof(struct index_key, expires_us));
    return (meta & ~INDEX_CHECK) | (XXH3_64bits_withSeed(parts, sizeof parts, entry) & INDEX_CHECK);
}

/* A consistent copy of an entry; published anew meanwhile it is read again. */
static enum status read_key(const struct index_key *k, uint64_t meta, struct limit_key *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        int64_t expires_us = atomic_load(&k->expires_us[(meta & INDEX_SECOND) != 0]);
        bool sound = table_key_meta(k, meta) == meta;
        uint64_t now = atomic_load_explicit(&k->meta, memory_order_acquire);
        if (!sound && now == meta)
            return STATUS_DAMAGED; /* nobody wrote meanwhile: the bytes are wrong */
        if (!sound || now != meta) {
            meta = now;
            continue;
        }
        memcpy(out->hash, k->hash, sizeof k->hash);
        memcpy(out->id, k->id, sizeof k->id);
        out->id[sizeof k->id] = '\0';
        out->scopes = (uint8_t)(meta >> 8);
        out->is_operator = (meta & INDEX_OPERATOR) != 0;
        out->revoked = (meta & INDEX_REVOKED) != 0;
        out->expires_us = expires_us;
        out->tenant = (uint32_t)(meta >> 32);
        return meta & INDEX_DROPPED ? STATUS_NOT_FOUND : STATUS_OK;
    }
    return STATUS_DAMAGED;
}

static enum status find_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES], struct limit_key *out)
{
    uint64_t first;
    enum status s = table_index_refresh(t);
    if (s != STATUS_OK)
        return s;
    memcpy(&first, hash, sizeof first);
    uint64_t mask = t->key_places - 1;
    const struct index_key *keys = table_index_keys(t);
    for (uint64_t i = 0; i <= mask; i++) {
        const struct index_key *k = &keys[(first + i) & mask];
        uint64_t meta = atomic_load_explicit(&k->meta, memory_order_acquire);
        if (!meta)
            return STATUS_NOT_FOUND;
        if (sodium_memcmp(k->hash, hash, LIMIT_HASH_BYTES) == 0)
            return read_key(k, meta, out);
    }
    return STATUS_NOT_FOUND;
}

enum status limit_table_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES], struct limit_key *out)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, find_key(t, hash, out));
    guard_leave(t);
    return s;
}

/* ---- tenants ---- */

struct table_tenant *table_tenant_at(struct limit_table *t, uint32_t index)
{
    return index < atomic_load_explicit(&t->header->n_tenants, memory_order_acquire) && index < TABLE_TENANTS_MAX
               ? &t->tenants[index]
               : NULL;
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
    uint64_t id = XXH3_64bits_withSeed(name, strnlen(name, LIMIT_TENANT_SIZE), t->header->identity.id + index);
    return XXH3_64bits_withSeed(c, offsetof(struct table_config, checksum), id);
}

enum status table_report(struct limit_table *t, enum status s)
{
    if (s == STATUS_DAMAGED)
        atomic_store(&t->header->damaged, 1);
    return s;
}

enum status table_config_read(const struct limit_table *t, uint32_t index, struct table_config *out)
{
    const struct table_tenant *tenant = &t->tenants[index];

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t version = atomic_load_explicit(&tenant->version, memory_order_acquire);
        memcpy(out, &tenant->configs[version & 1], sizeof *out);
        atomic_thread_fence(memory_order_acquire);
        if (out->checksum == table_config_checksum(t, out, index))
            return STATUS_OK;
        if (atomic_load(&tenant->version) == version)
            return STATUS_DAMAGED; /* nobody wrote meanwhile: the bytes are wrong */
    }
    return STATUS_DAMAGED;
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
        to[i] = (struct limit_span){.start_us = atomic_load(&from[i].start_us),
                                    .end_us = atomic_load(&from[i].end_us),
                                    .end_offset_s = (int32_t)atomic_load(&from[i].end_offset_s)};
    qsort(to, (size_t)n, sizeof *to, compare_spans);
}

static enum status copy_tenant(struct limit_table *t, uint32_t index, struct limit_tenant *out)
{
    struct table_config config;
    const struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_config_read(t, index, &config) : STATUS_NOT_FOUND;
    if (s != STATUS_OK)
        return s;
    memcpy(out->id, tenant->id, sizeof out->id);
    out->id[sizeof out->id - 1] = '\0';
    memcpy(out->tier, config.tier, sizeof out->tier);
    out->state = (uint8_t)config.state;
    memcpy(out->limits, config.limits, sizeof out->limits);
    copy_spans(tenant->days, LIMIT_DAYS, out->days);
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

const struct limit_span *limit_table_window(const struct limit_tenant *tenant, uint8_t window, int64_t at_us)
{
    const struct limit_span *spans = window == LIMIT_WINDOW_DAY ? tenant->days : tenant->periods;
    int n = window == LIMIT_WINDOW_DAY ? LIMIT_DAYS : window == LIMIT_WINDOW_PERIOD ? LIMIT_PERIODS : 0;
    for (int i = 0; i < n; i++)
        if (at_us >= spans[i].start_us && at_us < spans[i].end_us)
            return &spans[i];
    return NULL;
}

/* ---- the catalogue ---- */

enum status table_catalogue_refresh(struct limit_table *t)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t version = atomic_load_explicit(&t->header->catalogue_version, memory_order_acquire);
        if (version == t->catalogue_version)
            return STATUS_OK;
        memcpy(&t->catalogue, &t->header->catalogues[version & 1].catalogue, sizeof t->catalogue);
        uint64_t checksum = t->header->catalogues[version & 1].checksum;
        if (version == 0) /* nothing was put yet */
            memset(&t->catalogue, 0, sizeof t->catalogue);
        if ((version == 0 || checksum == XXH3_64bits(&t->catalogue, sizeof t->catalogue)) &&
            t->catalogue.n_limits <= LIMIT_TABLE_LIMITS && t->catalogue.n_metrics <= LIMIT_TABLE_METRICS) {
            t->catalogue_version = version;
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
    memcpy(out, &t->catalogue, sizeof *out);
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
    return !c->metrics[metric].derived && c->metrics[metric].kind == LIMIT_KIND_COUNTER;
}

/* ---- spans ---- */

int table_span_at(const struct table_span *spans, int n, int64_t at_us)
{
    for (int i = 0; i < n; i++) {
        int64_t end = atomic_load_explicit(&spans[i].end_us, memory_order_acquire);
        if (at_us < end && at_us >= atomic_load_explicit(&spans[i].start_us, memory_order_relaxed))
            return i;
    }
    return -1;
}

struct table_span *table_spans(struct table_tenant *tenant, uint8_t window, int *n)
{
    *n = window == LIMIT_WINDOW_DAY ? LIMIT_DAYS : window == LIMIT_WINDOW_PERIOD ? LIMIT_PERIODS : 0;
    return window == LIMIT_WINDOW_DAY ? tenant->days : window == LIMIT_WINDOW_PERIOD ? tenant->periods : NULL;
}
