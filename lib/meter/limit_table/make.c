/* make.c: making the limit table, and showing it in place of the one before */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/base/io.h"
#include "lib/meter/limit_table/layout.h"

#define IDLE_TRIES 200 /* a writer that is stopped in the middle is not waited for longer */
#define IDLE_WAIT_NS 100000

/* ---- files of other tables ---- */

typedef void file_fn(void *arg, const char *run_dir, const char *name);

/* The files of limit tables in run_dir, of any version. */
static void each_file(const char *run_dir, file_fn *fn, void *arg)
{
    DIR *d = opendir(run_dir);
    const struct dirent *e;
    while (d && (e = readdir(d)))
        if (strncmp(e->d_name, "limits", 6) == 0)
            fn(arg, run_dir, e->d_name);
    if (d)
        closedir(d);
}

static int open_file(const char *run_dir, const char *name, int flags)
{
    char path[PATH_MAX];
    return io_path(path, sizeof(path), run_dir, name) == STATUS_OK ? open(path, flags | O_CLOEXEC | O_NOFOLLOW) : -1;
}

/* Of a table of version 3 or a later one: what is behind it is another matter in each. */
static bool read_identity(int fd, struct table_identity *i)
{
    return pread(fd, i, sizeof(*i), 0) == (ssize_t)sizeof(*i) && memcmp(i->magic, TABLE_MAGIC, 8) == 0 &&
           i->version >= 3;
}

static void note_mark(void *arg, const char *run_dir, const char *name)
{
    struct table_identity i;
    uint32_t *marks = arg;
    int fd = open_file(run_dir, name, O_RDONLY);
    if (fd < 0)
        return;
    if (read_identity(fd, &i) && i.mark && i.mark <= EVENT_TABLE_MOST)
        *marks |= UINT32_C(1) << i.mark;
    close(fd);
}

/* Another than that of any table that is there, because records that were counted in it may still be in the spool. */
static uint64_t new_mark(const char *run_dir)
{
    uint32_t marks = 1;
    each_file(run_dir, note_mark, &marks);
    uint64_t mark = 1 + randombytes_uniform(EVENT_TABLE_MOST);
    for (int i = 0; i < EVENT_TABLE_MOST && marks >> mark & 1; i++)
        mark = 1 + mark % EVENT_TABLE_MOST;
    return mark;
}

static bool belongs_to(const char *name, const char *table)
{
    return strncmp(name, table, strlen(table)) == 0 && (!name[strlen(table)] || name[strlen(table)] == '.');
}

static void remove_file(const char *run_dir, const char *name)
{
    char path[PATH_MAX];
    if (io_path(path, sizeof(path), run_dir, name) == STATUS_OK)
        unlink(path);
}

/* What tables of this version left behind; arg: the one in force. */
static void sweep_file(void *arg, const char *run_dir, const char *name)
{
    const struct limit_table *t = arg;
    char index[PATH_MAX];
    if (!belongs_to(name, TABLE_FILE) || strcmp(name, TABLE_FILE) == 0 ||
        table_index_path(index, sizeof(index), run_dir, t->id, false) != STATUS_OK ||
        strcmp(index + strlen(index) - strlen(name), name) == 0)
        return;
    remove_file(run_dir, name);
}

/* "limits" of version 2, and "limits.VERSION". */
static bool is_table(const char *name)
{
    return !name[6] || (name[6] == '.' && name[7] && !name[7 + strspn(name + 7, "0123456789")]);
}

/* Does a gate, or tollgate-web, have it open? */
static bool in_use(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT, .l_len = LIMIT_WRITERS};
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* Tables of other versions that nobody has open any more, then what belonged to them. */
static void sweep_version(void *arg, const char *run_dir, const char *name)
{
    char table[NAME_MAX + 1];
    (void)arg;
    if (belongs_to(name, TABLE_FILE))
        return;
    snprintf(table, sizeof(table), "%s", name);
    if (!is_table(name))
        *strrchr(table, '.') = '\0';
    int fd = open_file(run_dir, table, O_RDWR);
    if (fd < 0 || (is_table(name) && !in_use(fd)))
        remove_file(run_dir, name);
    if (fd >= 0)
        close(fd);
}

static void sweep_versions(const char *run_dir)
{
    each_file(run_dir, sweep_version, NULL);
    each_file(run_dir, sweep_version, NULL); /* and what is left without its table */
}

/* Tells whoever has it open that it holds nothing any more; arg: how many were told. */
static void retire_version(void *arg, const char *run_dir, const char *name)
{
    const off_t at = offsetof(struct table_header, superseded);
    struct table_identity i;
    uint32_t superseded = 1;
    int *told = arg, fd;
    if (!is_table(name) || belongs_to(name, TABLE_FILE) || (fd = open_file(run_dir, name, O_RDWR)) < 0)
        return;
    if (read_identity(fd, &i) && pread(fd, &superseded, sizeof(superseded), at) == (ssize_t)sizeof(superseded) &&
        !superseded && pwrite(fd, &(uint32_t){1}, sizeof(superseded), at) == (ssize_t)sizeof(superseded))
        (*told)++;
    close(fd);
}

static void count_version(void *arg, const char *run_dir, const char *name)
{
    int *n = arg, fd;
    if (!is_table(name) || belongs_to(name, TABLE_FILE) || (fd = open_file(run_dir, name, O_RDWR)) < 0)
        return;
    *n += in_use(fd);
    close(fd);
}

int limit_table_others(const char *run_dir)
{
    int n = 0;
    each_file(run_dir, count_version, &n);
    return n;
}

int limit_table_retire(const char *run_dir)
{
    int told = 0;
    sweep_versions(run_dir);
    each_file(run_dir, retire_version, &told);
    return told;
}

/* ---- making ---- */

static void identify(struct table_identity *i, const char *run_dir, const unsigned char node[16])
{
    memcpy(i->magic, TABLE_MAGIC, 8);
    i->version = LIMIT_TABLE_VERSION;
    i->tenant_bytes = sizeof(struct table_tenant);
    memcpy(i->node, node, 16);
    randombytes_buf(&i->id, sizeof(i->id));
    i->mark = new_mark(run_dir);
    i->checksum = table_identity_checksum(i);
}

/* The hidden file and its index. */
static enum status make_files(const char *run_dir, const struct table_header *h)
{
    char fresh[PATH_MAX];
    enum status s = io_path(fresh, sizeof(fresh), run_dir, TABLE_MAKING);
    if (s != STATUS_OK)
        return s;
    unlink(fresh);
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return STATUS_IO;
    s = io_write_all(fd, h, sizeof(*h));
    if (s == STATUS_OK && ftruncate(fd, (off_t)TABLE_TENANTS_AT) != 0)
        s = STATUS_NO_SPACE;
    if (s == STATUS_OK)
        s = table_index_make(run_dir, h->identity.id, 1, INDEX_FIRST_PLACES, INDEX_FIRST_PLACES);
    if (s == STATUS_OK)
        s = table_index_show(run_dir, h->identity.id);
    close(fd);
    return s;
}

enum status limit_table_make(const char *run_dir, const unsigned char node[16], struct limit_table **out)
{
    enum status s = io_make_dir(run_dir, 0700);
    struct table_header *h = s == STATUS_OK ? calloc(1, sizeof(*h)) : NULL;
    if (!h)
        return s == STATUS_OK ? STATUS_NO_MEMORY : s;
    identify(&h->identity, run_dir, node);
    atomic_store(&h->index_generation, 1);
    s = make_files(run_dir, h);
    free(h);
    struct limit_table *t = NULL;
    if (s == STATUS_OK)
        s = table_map(run_dir, TABLE_MAKING, &t);
    if (s != STATUS_OK)
        return s;
    t->hidden = true;
    s = table_index_refresh(t);
    if (s != STATUS_OK) {
        limit_table_close(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

/* Intact and of this node: may be used as it is. */
static bool usable(struct limit_table *t, const unsigned char node[16])
{
    return limit_table_is_ready(t) && memcmp(t->header->identity.node, node, 16) == 0;
}

enum status limit_table_create(const char *run_dir, const unsigned char node[16], struct limit_table **out, bool *fresh)
{
    struct limit_table *there = NULL;
    *fresh = limit_table_open(run_dir, &there) != STATUS_OK || !usable(there, node);
    if (*fresh) {
        limit_table_close(there);
        return limit_table_make(run_dir, node, out);
    }
    each_file(run_dir, sweep_file, there);
    sweep_versions(run_dir);
    *out = there;
    return STATUS_OK;
}

/* ---- showing ---- */

static bool all_idle(struct limit_table *t)
{
    for (int i = 0; i < LIMIT_WRITERS; i++)
        if (atomic_load(&t->writers[i].mark) && table_writer_lives(t, i))
            return false;
    return true;
}

static enum status supersede(struct limit_table *there)
{
    atomic_store(&there->header->superseded, 1);
    for (int i = 0; i < IDLE_TRIES && !all_idle(there); i++)
        nanosleep(&(struct timespec){.tv_nsec = IDLE_WAIT_NS}, NULL);
    return STATUS_OK;
}

static enum status guarded_supersede(struct limit_table *there)
{
    GUARDED(there, supersede(there));
}

enum status limit_table_supersede(const struct limit_table *t)
{
    struct limit_table *there;
    enum status s = table_map(t->run_dir, TABLE_FILE, &there);
    if (s != STATUS_OK)
        return STATUS_OK; /* none, or one that nobody can use */
    s = guarded_supersede(there);
    limit_table_close(there);
    return s == STATUS_DAMAGED ? STATUS_OK : s;
}

static enum status show(struct limit_table *t)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    enum status s = io_path(path, sizeof(path), t->run_dir, TABLE_FILE);
    if (s == STATUS_OK)
        s = io_path(fresh, sizeof(fresh), t->run_dir, TABLE_MAKING);
    if (s != STATUS_OK)
        return s;
    if (rename(fresh, path) != 0)
        return STATUS_IO;
    t->hidden = false;
    each_file(t->run_dir, sweep_file, t);
    return STATUS_OK;
}

enum status limit_table_ready(struct limit_table *t)
{
    if (!t->hidden)
        return STATUS_OK;
    enum status s = limit_table_supersede(t);
    if (s != STATUS_OK)
        return s;
    GUARDED(t, show(t));
}
