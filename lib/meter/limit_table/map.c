/* map.c: making, mapping and leaving the limit table; surviving a file that is cut short */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>
#include <xxhash.h>

#include "lib/base/clock.h"
#include "lib/base/config.h"
#include "lib/base/io.h"
#include "lib/meter/limit_table/layout.h"

#define LOOK_US (CLOCK_US_PER_SECOND / 4)

_Static_assert(LIMIT_WRITERS >= 2 * CONFIG_PROCESSES, "a reload runs two generations");
_Static_assert(sizeof(struct table_header) + LIMIT_WRITERS * sizeof(struct table_writer) < TABLE_TENANTS_AT - 4096,
               "header and writers fit before the tenants");

#define WRITERS_AT (TABLE_TENANTS_AT - LIMIT_WRITERS * sizeof(struct table_writer))

/* ---- the guard: one table at a time, by one thread of a process ---- */

static struct limit_table *guarded;
static struct sigaction before;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    const char *at = info->si_addr, *table = guarded ? (const char *)guarded->header : NULL;
    if (guarded && ((at >= table && at < table + guarded->mapped) ||
                    (guarded->index && at >= guarded->index && at < guarded->index + guarded->index_bytes)))
        siglongjmp(guarded->jump, 1);
    sigaction(number, &before, NULL); /* not ours: end as without us */
    raise(number);
}

static void install_guard(void)
{
    static bool installed;
    if (installed)
        return;
    struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGBUS, &act, &before);
    installed = true;
}

void guard_arm(struct limit_table *t)
{
    guarded = t;
}

void guard_leave(struct limit_table *t)
{
    (void)t;
    guarded = NULL;
}

enum status guard_damaged(struct limit_table *t)
{
    t->gone = true;
    if (GUARD_ENTER(t)) /* false: the header itself is what was cut off */
        atomic_store(&t->header->damaged, 1);
    guard_leave(t);
    return STATUS_DAMAGED;
}

/* ---- mapping ---- */

static uint64_t identity_checksum(const struct table_identity *i)
{
    return XXH3_64bits(i, offsetof(struct table_identity, checksum));
}

static enum status check_identity(const struct table_identity *i)
{
    if (memcmp(i->magic, TABLE_MAGIC, 8) != 0 || i->checksum != identity_checksum(i))
        return STATUS_DAMAGED;
    return i->version == LIMIT_TABLE_VERSION && i->tenant_bytes == sizeof(struct table_tenant) ? STATUS_OK
                                                                                               : STATUS_VERSION;
}

static enum status map_table(const char *run_dir, struct limit_table **out)
{
    char path[PATH_MAX];
    struct stat st;
    struct table_identity identity;
    struct limit_table *t = NULL;
    void *at = MAP_FAILED;
    size_t bytes = TABLE_TENANTS_AT + (size_t)TABLE_TENANTS_MAX * sizeof(struct table_tenant);
    enum status s = io_path(path, sizeof path, run_dir, "limits");
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? STATUS_UNAVAILABLE : STATUS_IO;
    s = STATUS_DAMAGED;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)TABLE_TENANTS_AT ||
        pread(fd, &identity, sizeof identity, 0) != (ssize_t)sizeof identity)
        goto fail;
    s = check_identity(&identity);
    if (s != STATUS_OK)
        goto fail;
    s = STATUS_NO_MEMORY;
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED || !(t = calloc(1, sizeof *t)))
        goto fail;
    table_touch(at, (size_t)st.st_size);
    t->fd = fd;
    t->header = at;
    t->writers = (struct table_writer *)((char *)at + WRITERS_AT);
    t->tenants = (struct table_tenant *)((char *)at + TABLE_TENANTS_AT);
    t->mapped = bytes;
    t->writer = -1;
    t->looked_at_us = clock_mono_us();
    t->catalogue_version = UINT32_MAX;
    snprintf(t->run_dir, sizeof t->run_dir, "%s", run_dir);
    install_guard();
    *out = t;
    return STATUS_OK;
fail:
    if (at != MAP_FAILED)
        munmap(at, bytes);
    close(fd);
    return s;
}

enum status limit_table_open(const char *run_dir, struct limit_table **out)
{
    struct limit_table *t;
    enum status s = map_table(run_dir, &t);
    if (s != STATUS_OK)
        return s;
    if (!GUARD_ENTER(t)) {
        s = guard_damaged(t);
    } else {
        if (atomic_load(&t->header->superseded))
            s = STATUS_UNAVAILABLE;
        else if (atomic_load(&t->header->damaged))
            s = STATUS_DAMAGED;
        else
            s = table_index_refresh(t);
        guard_leave(t);
    }
    if (s != STATUS_OK) {
        limit_table_close(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

void limit_table_close(struct limit_table *t)
{
    if (!t)
        return;
    if (t->writer >= 0 && GUARD_ENTER(t)) {
        atomic_store(&t->writers[t->writer].mark, 0);
        guard_leave(t);
    }
    if (t->index)
        munmap(t->index, t->index_bytes);
    munmap(t->header, t->mapped);
    close(t->fd); /* and with it the writer's lock */
    free(t);
}

/* Is the file in run_dir still the one that is mapped, and long enough? */
static bool same_file(const struct limit_table *t)
{
    char path[PATH_MAX];
    struct stat here, mapped;
    return io_path(path, sizeof path, t->run_dir, "limits") == STATUS_OK && stat(path, &here) == 0 &&
           fstat(t->fd, &mapped) == 0 && here.st_ino == mapped.st_ino && here.st_dev == mapped.st_dev &&
           mapped.st_size >= (off_t)TABLE_TENANTS_AT;
}

static bool header_stale(struct limit_table *t)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return true;
    }
    bool stale = atomic_load(&t->header->superseded) || atomic_load(&t->header->damaged) ||
                 check_identity(&t->header->identity) != STATUS_OK;
    guard_leave(t);
    return stale;
}

bool limit_table_stale(const struct limit_table *constant)
{
    struct limit_table *t = (struct limit_table *)(uintptr_t)
        constant; /* what is remembered of the look is no part of its value */
    int64_t now = clock_mono_us();
    if (!t->gone && now - t->looked_at_us >= LOOK_US) {
        t->looked_at_us = now;
        t->gone = !same_file(t);
    }
    return t->gone || header_stale(t);
}

static bool read_flag(const struct limit_table *constant, _Atomic uint32_t *flag)
{
    struct limit_table *t = (struct limit_table *)(uintptr_t)constant;
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return false;
    }
    bool set = atomic_load(flag) != 0;
    guard_leave(t);
    return set;
}

bool limit_table_is_ready(const struct limit_table *t)
{
    return read_flag(t, &t->header->ready);
}

static void set_flag(struct limit_table *t, _Atomic uint32_t *flag)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return;
    }
    atomic_store(flag, 1);
    guard_leave(t);
}

void limit_table_ready(struct limit_table *t)
{
    set_flag(t, &t->header->ready);
}

void limit_table_followed(struct limit_table *t, int64_t now_us)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return;
    }
    atomic_store(&t->header->followed_us, now_us);
    guard_leave(t);
}

int64_t limit_table_followed_at(struct limit_table *t)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return 0;
    }
    int64_t at = atomic_load(&t->header->followed_us);
    guard_leave(t);
    return at;
}

void limit_table_retire(struct limit_table *t)
{
    set_flag(t, &t->header->superseded);
}

/* ---- making ---- */

static enum status make_table(const char *run_dir, const unsigned char node[16])
{
    char path[PATH_MAX], fresh[PATH_MAX];
    struct table_header *h = calloc(1, sizeof *h);
    enum status s = h ? io_path(path, sizeof path, run_dir, "limits") : STATUS_NO_MEMORY;
    if (s == STATUS_OK)
        s = io_path(fresh, sizeof fresh, run_dir, "limits.new");
    if (s != STATUS_OK) {
        free(h);
        return s;
    }
    memcpy(h->identity.magic, TABLE_MAGIC, 8);
    h->identity.version = LIMIT_TABLE_VERSION;
    h->identity.tenant_bytes = sizeof(struct table_tenant);
    memcpy(h->identity.node, node, 16);
    randombytes_buf(&h->identity.id, sizeof h->identity.id);
    h->identity.checksum = identity_checksum(&h->identity);
    atomic_store(&h->index_generation, 1);
    unlink(fresh);
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        s = STATUS_IO;
    if (s == STATUS_OK)
        s = io_write_all(fd, h, sizeof *h);
    if (s == STATUS_OK && ftruncate(fd, (off_t)TABLE_TENANTS_AT) != 0)
        s = STATUS_NO_SPACE;
    if (s == STATUS_OK)
        s = table_index_make(run_dir, h->identity.id, 1, INDEX_FIRST_PLACES, INDEX_FIRST_PLACES);
    if (s == STATUS_OK)
        s = table_index_show(run_dir);
    if (s == STATUS_OK && rename(fresh, path) != 0)
        s = STATUS_IO;
    if (fd >= 0)
        close(fd);
    free(h);
    return s;
}

/* Intact, ready, of this node: may be used as it is. */
static bool usable(struct limit_table *t, const unsigned char node[16])
{
    return limit_table_is_ready(t) && !limit_table_stale(t) && memcmp(t->header->identity.node, node, 16) == 0;
}

enum status limit_table_create(const char *run_dir, const unsigned char node[16], struct limit_table **out, bool *fresh)
{
    struct limit_table *old = NULL;
    enum status s = io_make_dir(run_dir, 0700);
    if (s != STATUS_OK)
        return s;
    s = limit_table_open(run_dir, &old);
    if (s == STATUS_OK && usable(old, node)) {
        *out = old;
        *fresh = false;
        return STATUS_OK;
    }
    if (s != STATUS_OK && map_table(run_dir, &old) != STATUS_OK)
        old = NULL;
    s = make_table(run_dir, node);
    if (old) {
        limit_table_retire(old); /* after the new one is in its place */
        limit_table_close(old);
    }
    if (s == STATUS_OK)
        s = limit_table_open(run_dir, out);
    *fresh = true;
    return s;
}
