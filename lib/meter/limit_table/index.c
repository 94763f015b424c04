/* index.c: the index's file, and keys by their hash */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
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

static uint64_t index_checksum(const struct index_header *h)
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

enum status table_index_path(char *out, size_t size, const char *run_dir, uint64_t table_id, bool making)
{
    char name[64];
    snprintf(name, sizeof(name), TABLE_FILE ".%016" PRIx64 "%s", table_id, making ? ".new" : "");
    return io_path(out, size, run_dir, name);
}

enum status table_index_make(const char *run_dir, uint64_t table_id, uint64_t generation, uint64_t key_places,
                             uint64_t tenant_places)
{
    char fresh[PATH_MAX];
    struct index_header h = {
        .table_id = table_id, .generation = generation, .key_places = key_places, .tenant_places = tenant_places};
    memcpy(h.magic, INDEX_MAGIC, 8);
    h.checksum = index_checksum(&h);
    enum status s = table_index_path(fresh, sizeof(fresh), run_dir, table_id, true);
    if (s != STATUS_OK)
        return s;
    unlink(fresh);
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return STATUS_IO;
    s = io_write_all(fd, &h, sizeof(h));
    if (s == STATUS_OK && ftruncate(fd, (off_t)index_size(key_places, tenant_places)) != 0)
        s = STATUS_NO_SPACE;
    close(fd);
    return s;
}

enum status table_index_show(const char *run_dir, uint64_t table_id)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    enum status s = table_index_path(path, sizeof(path), run_dir, table_id, false);
    if (s == STATUS_OK)
        s = table_index_path(fresh, sizeof(fresh), run_dir, table_id, true);
    if (s == STATUS_OK && rename(fresh, path) != 0)
        s = STATUS_IO;
    return s;
}

static bool sane(const struct index_header *h, size_t bytes, uint64_t table_id)
{
    return memcmp(h->magic, INDEX_MAGIC, 8) == 0 && h->checksum == index_checksum(h) && h->table_id == table_id &&
           h->key_places && !(h->key_places & (h->key_places - 1)) && h->tenant_places &&
           !(h->tenant_places & (h->tenant_places - 1)) && h->key_places < UINT32_MAX &&
           h->tenant_places < UINT32_MAX && bytes >= index_size(h->key_places, h->tenant_places);
}

void table_touch(void *at, size_t bytes)
{
    if (madvise(at, bytes, MADV_POPULATE_READ) != 0)
        errno = 0; /* an older kernel: each page costs its first call a fault */
}

enum status table_index_map(struct limit_table *t, bool making)
{
    char path[PATH_MAX];
    struct stat st;
    enum status s = table_index_path(path, sizeof(path), t->run_dir, t->id, making);
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return STATUS_UNAVAILABLE;
    struct index_header h;
    char *at = MAP_FAILED;
    if (fstat(fd, &st) == 0 && pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) && sane(&h, (size_t)st.st_size, t->id))
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
    enum status s = table_index_map(t, false);
    /* a generation is told only when its file is in place */
    return s == STATUS_OK && t->index_generation < generation ? STATUS_DAMAGED : s;
}

/* ---- keys ---- */

uint64_t table_key_meta(const struct index_key *k, uint64_t meta)
{
    uint64_t parts[] = {meta & ~INDEX_CHECK, (uint64_t)atomic_load(&k->expires_us[(meta & INDEX_SECOND) != 0])};
    uint64_t entry = XXH3_64bits(k, offsetof(struct index_key, expires_us));
    return (meta & ~INDEX_CHECK) | (XXH3_64bits_withSeed(parts, sizeof(parts), entry) & INDEX_CHECK);
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
        memcpy(out->hash, k->hash, sizeof(k->hash));
        memcpy(out->id, k->id, sizeof(k->id));
        out->id[sizeof(k->id)] = '\0';
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
    memcpy(&first, hash, sizeof(first));
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
