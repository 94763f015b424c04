/* map.c: mapping and leaving the limit table; surviving a file that is cut short */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "lib/base/clock.h"
#include "lib/base/config.h"
#include "lib/base/io.h"
#include "lib/meter/limit_table/layout.h"

#define LOOK_US (CLOCK_US_PER_SECOND / 4)
#define SHOWN_TRIES 50
#define SHOWN_WAIT_NS 1000000

_Static_assert(LIMIT_WRITERS >= 2 * CONFIG_PROCESSES, "a reload runs two generations");
_Static_assert(sizeof(struct table_header) + LIMIT_WRITERS * sizeof(struct table_writer) < TABLE_REFUSED_AT - 4096,
               "header and writers fit before the bits of refusals");
_Static_assert(TABLE_TENANTS_AT - TABLE_REFUSED_AT >= LIMIT_TABLE_PLACES / 8, "a bit for each place");

#define WRITERS_AT (TABLE_REFUSED_AT - LIMIT_WRITERS * sizeof(struct table_writer))

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

uint64_t table_identity_checksum(const struct table_identity *i)
{
    return XXH3_64bits(i, offsetof(struct table_identity, checksum));
}

static enum status check_identity(const struct table_identity *i)
{
    if (memcmp(i->magic, TABLE_MAGIC, 8) != 0 || i->checksum != table_identity_checksum(i))
        return STATUS_DAMAGED;
    bool same = i->version == LIMIT_TABLE_VERSION && i->tenant_bytes == sizeof(struct table_tenant);
    return same && i->mark && i->mark <= EVENT_TABLE_MOST ? STATUS_OK : STATUS_VERSION;
}

enum status table_map(const char *run_dir, const char *name, struct limit_table **out)
{
    char path[PATH_MAX];
    struct stat st;
    struct table_identity identity;
    struct limit_table *t = NULL;
    void *at = MAP_FAILED;
    size_t bytes = TABLE_TENANTS_AT + (size_t)LIMIT_TABLE_PLACES * sizeof(struct table_tenant);
    enum status s = io_path(path, sizeof(path), run_dir, name);
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? STATUS_UNAVAILABLE : STATUS_IO;
    s = STATUS_DAMAGED;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)TABLE_TENANTS_AT ||
        pread(fd, &identity, sizeof(identity), 0) != (ssize_t)sizeof(identity))
        goto fail;
    s = check_identity(&identity);
    if (s != STATUS_OK)
        goto fail;
    s = STATUS_NO_MEMORY;
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED || !(t = calloc(1, sizeof(*t))))
        goto fail;
    table_touch(at, (size_t)st.st_size);
    t->fd = fd;
    t->header = at;
    t->writers = (struct table_writer *)((char *)at + WRITERS_AT);
    t->refused = (_Atomic uint64_t *)((char *)at + TABLE_REFUSED_AT);
    t->tenants = (struct table_tenant *)((char *)at + TABLE_TENANTS_AT);
    t->mapped = bytes;
    t->id = identity.id;
    t->mark = (uint8_t)identity.mark;
    t->writer = -1;
    t->looked_at_us = clock_mono_us();
    t->catalogue_version = UINT32_MAX;
    snprintf(t->run_dir, sizeof(t->run_dir), "%s", run_dir);
    install_guard();
    *out = t;
    return STATUS_OK;
fail:
    if (at != MAP_FAILED)
        munmap(at, bytes);
    close(fd);
    return s;
}

/* Maps the table in force, for a reader. */
static enum status open_table(const char *run_dir, struct limit_table **out)
{
    struct limit_table *t;
    enum status s = table_map(run_dir, TABLE_FILE, &t);
    if (s != STATUS_OK)
        return s;
    if (!GUARD_ENTER(t)) {
        s = guard_damaged(t);
    } else {
        if (atomic_load(&t->header->superseded))
            s = STATUS_CONFLICT;
        else if (atomic_load(&t->header->damaged))
            s = STATUS_DAMAGED;
        else
            s = table_index_refresh(t);
        if (s != STATUS_OK && atomic_load(&t->header->superseded)) /* meanwhile */
            s = STATUS_CONFLICT;
        guard_leave(t);
    }
    if (s != STATUS_OK) {
        limit_table_close(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

/* The next table is complete when this one is superseded, and shown some milliseconds later. */
enum status limit_table_open(const char *run_dir, struct limit_table **out)
{
    enum status s = open_table(run_dir, out);
    for (int i = 0; s == STATUS_CONFLICT && i < SHOWN_TRIES; i++) {
        nanosleep(&(struct timespec){.tv_nsec = SHOWN_WAIT_NS}, NULL);
        s = open_table(run_dir, out);
    }
    return s == STATUS_CONFLICT ? STATUS_UNAVAILABLE : s;
}

/* The hidden file may be another table's by now. */
static void unlink_hidden(const struct limit_table *t)
{
    char path[PATH_MAX];
    struct stat there, mine;
    if (io_path(path, sizeof(path), t->run_dir, TABLE_MAKING) == STATUS_OK && stat(path, &there) == 0 &&
        fstat(t->fd, &mine) == 0 && there.st_ino == mine.st_ino)
        unlink(path);
    if (table_index_path(path, sizeof(path), t->run_dir, t->id, false) == STATUS_OK)
        unlink(path);
}

void limit_table_close(struct limit_table *t)
{
    if (!t)
        return;
    if (t->writer >= 0 && GUARD_ENTER(t)) {
        atomic_store(&t->writers[t->writer].mark, 0);
        guard_leave(t);
    }
    if (t->hidden)
        unlink_hidden(t);
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
    return io_path(path, sizeof(path), t->run_dir, TABLE_FILE) == STATUS_OK && stat(path, &here) == 0 &&
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
    if (!t->gone && !t->hidden && now - t->looked_at_us >= LOOK_US) {
        t->looked_at_us = now;
        t->gone = !same_file(t);
    }
    return t->gone || header_stale(t);
}

bool limit_table_is_ready(const struct limit_table *t)
{
    return !t->hidden && !limit_table_stale(t);
}

static void set_time(struct limit_table *t, _Atomic int64_t *time, int64_t us)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return;
    }
    atomic_store(time, us);
    guard_leave(t);
}

static int64_t get_time(struct limit_table *t, _Atomic int64_t *time)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return 0;
    }
    int64_t at = atomic_load(time);
    guard_leave(t);
    return at;
}

void limit_table_followed(struct limit_table *t, int64_t now_us)
{
    set_time(t, &t->header->followed_us, now_us);
}

int64_t limit_table_followed_at(struct limit_table *t)
{
    return get_time(t, &t->header->followed_us);
}

void limit_table_filled(struct limit_table *t, int64_t now_us)
{
    set_time(t, &t->header->filled_us, now_us);
}

int64_t limit_table_filled_at(struct limit_table *t)
{
    return get_time(t, &t->header->filled_us);
}
