/* disk.c: one folder in memory, with a page cache, faults at random, and locks; in place of the system calls */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault/simulation/sim.h"

#define INODES 512
#define FILES 128
#define NAMES 256
#define FIRST_FD 100000
#define SECTOR 512
#define INODE_BYTES (16u << 10)

struct inode {
    unsigned char cached[INODE_BYTES], durable[INODE_BYTES];
    size_t size, durable_size;
    size_t used; /* behind it both are zeros */
    mode_t mode;
    unsigned errors; /* of writing back; each descriptor learns of it once */
};
struct name {
    uint64_t hash; /* of the text: most names differ here already */
    char text[48];
    int inode; /* -1: none */
};
struct folder {
    struct name names[NAMES];
    int n;
};
struct change {
    struct name name;
    bool add;
};
struct file {
    int inode; /* -1: the folder */
    int process;
    bool open, exclusive, shared;
    size_t at;
    unsigned errors;
};

static struct inode *inodes; /* INODES of them, never used again in a run */
static int n_inodes;
static struct folder folder, durable_folder;
static struct change changes[4096]; /* of the folder, since it was synced */
static int n_changes;
static struct file files[FILES];
static int n_files; /* from here on none is open */

void disk_format(void)
{
    if (!inodes)
        inodes = calloc(INODES, sizeof(*inodes));
    n_inodes = n_changes = n_files = folder.n = durable_folder.n = 0;
    memset(files, 0, sizeof(files));
}

static int new_inode(void)
{
    if (n_inodes == INODES)
        return -1;
    struct inode *i = &inodes[n_inodes];

    memset(i->cached, 0, i->used);
    memset(i->durable, 0, i->used);
    i->size = i->durable_size = i->used = 0;
    i->errors = 0;
    i->mode = 0600;
    return n_inodes++;
}

/* ---- the folder ---- */

static void copy_folder(struct folder *to, const struct folder *from)
{
    memcpy(to->names, from->names, (size_t)from->n * sizeof(from->names[0]));
    to->n = from->n;
}

static uint64_t hash_of(const char *text)
{
    uint64_t h = 0;

    while (*text)
        h = (h ^ (unsigned char)*text++) * UINT64_C(1099511628211);
    return h;
}

static struct name *find(struct folder *f, const char *text)
{
    uint64_t hash = hash_of(text);

    for (int i = 0; i < f->n; i++)
        if (f->names[i].hash == hash && strcmp(f->names[i].text, text) == 0)
            return &f->names[i];
    return NULL;
}

static void change(struct folder *f, const struct name *name, bool add)
{
    struct name *there = find(f, name->text);

    if (add && there)
        there->inode = name->inode;
    else if (add && f->n < NAMES)
        f->names[f->n++] = *name;
    else if (!add && there)
        *there = f->names[--f->n];
}

static void change_now(const char *text, int inode, bool add)
{
    struct change c = {.add = add};

    snprintf(c.name.text, sizeof(c.name.text), "%s", text);
    c.name.hash = hash_of(c.name.text);
    c.name.inode = inode;
    change(&folder, &c.name, add);
    if (n_changes < (int)(sizeof(changes) / sizeof(changes[0])))
        changes[n_changes++] = c;
}

static const char *base(const char *path)
{
    size_t n = strlen(SIM_DIR);

    if (strncmp(path, SIM_DIR "/", n + 1) != 0) {
        fprintf(stderr, "outside the simulated folder: %s\n", path);
        abort();
    }
    return path + n + 1;
}

/* ---- calls ---- */

static int fail(int error)
{
    sim_note((uint64_t)error);
    errno = error;
    return -1;
}

static struct file *file_of(int fd)
{
    if (fd < FIRST_FD || fd >= FIRST_FD + FILES || !files[fd - FIRST_FD].open)
        abort(); /* a closed or foreign descriptor is the product's fault */
    return &files[fd - FIRST_FD];
}

static int open_file(int inode)
{
    for (int i = 0; i < FILES; i++)
        if (!files[i].open) {
            files[i] = (struct file){.inode = inode, .process = sim_process(), .open = true};
            files[i].errors = inode >= 0 ? inodes[inode].errors : 0;
            if (n_files <= i)
                n_files = i + 1;
            return FIRST_FD + i;
        }
    return fail(EMFILE);
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    sim_step();
    sim_note(1);
    if (strcmp(path, SIM_DIR) == 0)
        return sim_fault(20) ? fail(EIO) : open_file(-1);

    const struct name *there = find(&folder, base(path));

    if (there && (flags & O_CREAT) && (flags & O_EXCL))
        return fail(EEXIST);
    if (!there && !(flags & O_CREAT))
        return fail(ENOENT);
    if (sim_fault(20))
        return fail(there ? EMFILE : ENOSPC);
    if (there) {
        if (flags & O_TRUNC)
            inodes[there->inode].size = 0;
        return open_file(there->inode);
    }
    int inode = new_inode();

    if (inode < 0)
        return fail(ENOSPC);
    change_now(base(path), inode, true);
    return open_file(inode);
}

int __wrap_mkostemp(char *path, int flags);
int __wrap_mkostemp(char *path, int flags)
{
    snprintf(path + strlen(path) - 6, 7, "%06d", (int)sim_random(1000000));
    return __wrap_open(path, flags | O_CREAT | O_RDWR | O_EXCL, 0600);
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
    sim_step();
    sim_note(2);
    file_of(fd)->open = false;
    return 0;
}

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    sim_step();
    const struct inode *i = &inodes[file_of(fd)->inode];

    sim_note(3);
    if (sim_fault(20))
        return fail(sim_random(2) ? EIO : EINTR);
    if ((size_t)at >= i->size)
        return 0;
    if (n > i->size - (size_t)at)
        n = i->size - (size_t)at;
    memcpy(to, i->cached + at, n);
    return (ssize_t)n;
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t n, off_t at)
{
    sim_step();
    struct inode *i = &inodes[file_of(fd)->inode];
    size_t done = 0, all = n;

    if (sim_fault(60))
        return fail((int[]){EIO, ENOSPC, EINTR}[sim_random(3)]);
    if ((size_t)at + n > INODE_BYTES)
        return fail(EFBIG);
    if (sim_fault(60))
        all = sim_random(n);
    /* a reader sees the bytes come; a kill leaves those that were there */
    while (done < all) {
        size_t part = sim_random(4) ? all - done : 1 + sim_random(all - done);

        if (done)
            sim_step();
        memcpy(i->cached + at + done, (const char *)from + done, part);
        done += part;
        if (i->size < (size_t)at + done)
            i->size = (size_t)at + done;
        if (i->used < i->size)
            i->used = i->size;
    }
    sim_note(4 + i->size);
    return done ? (ssize_t)done : fail(ENOSPC);
}

ssize_t __wrap_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n)
{
    struct file *f = file_of(fd);
    ssize_t done = __wrap_pwrite(fd, from, n, (off_t)f->at);

    f->at += done > 0 ? (size_t)done : 0;
    return done;
}

ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n)
{
    struct file *f = file_of(fd);
    ssize_t done = __wrap_pread(fd, to, n, (off_t)f->at);

    f->at += done > 0 ? (size_t)done : 0;
    return done;
}

off_t __wrap_lseek(int fd, off_t to, int whence);
off_t __wrap_lseek(int fd, off_t to, int whence)
{
    sim_step();
    if (to != 0 || whence != SEEK_END)
        abort();
    return (off_t)inodes[file_of(fd)->inode].size;
}

int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
    sim_step();
    if (sim_fault(10))
        return fail(EIO);
    memset(st, 0, sizeof(*st));
    st->st_size = (off_t)inodes[file_of(fd)->inode].size;
    st->st_mode = S_IFREG | inodes[file_of(fd)->inode].mode;
    return 0;
}

int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size)
{
    sim_step();
    struct inode *i = &inodes[file_of(fd)->inode];

    sim_note(5 + (uint64_t)size);
    if (sim_fault(100))
        return fail(EIO);
    if ((size_t)size < i->size)
        memset(i->cached + size, 0, i->size - (size_t)size);
    i->size = (size_t)size;
    if (i->used < i->size)
        i->used = i->size;
    return 0;
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
    sim_step();
    (void)file_of(fd);
    (void)mode, (void)at, (void)n;
    return sim_fault(60) ? fail((int[]){ENOSPC, EINTR, EOPNOTSUPP}[sim_random(3)]) : 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    sim_step();
    struct file *f = file_of(fd);

    if (f->inode < 0) {
        if (sim_fault(40))
            return fail(EIO);
        copy_folder(&durable_folder, &folder);
        n_changes = 0;
        return 0;
    }
    struct inode *i = &inodes[f->inode];

    if (sim_fault(60))
        i->errors++;
    sim_note(6 + i->errors);
    if (f->errors != i->errors) {
        f->errors = i->errors;
        return fail(EIO);
    }
    memcpy(i->durable, i->cached, i->size > i->durable_size ? i->size : i->durable_size);
    i->durable_size = i->size;
    return 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return __wrap_fdatasync(fd);
}

int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
    sim_step();
    if (sim_fault(20))
        return fail(EPERM);
    inodes[file_of(fd)->inode].mode = mode;
    return 0;
}

int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how)
{
    sim_step();
    struct file *f = file_of(fd);

    f->exclusive = f->shared = false;
    for (int i = 0; i < n_files && !(how & LOCK_UN); i++)
        if (files[i].open && &files[i] != f && files[i].inode == f->inode &&
            (files[i].exclusive || (files[i].shared && (how & LOCK_EX))))
            return fail(EWOULDBLOCK);
    f->exclusive = how & LOCK_EX;
    f->shared = how & LOCK_SH;
    return 0;
}

int __wrap_link(const char *from, const char *to);
int __wrap_link(const char *from, const char *to)
{
    sim_step();
    const struct name *there = find(&folder, base(from));

    sim_note(7);
    if (!there || find(&folder, base(to)))
        return fail(there ? EEXIST : ENOENT);
    if (sim_fault(40))
        return fail(ENOSPC);
    change_now(base(to), there->inode, true);
    return 0;
}

int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    sim_step();
    sim_note(8);
    if (!find(&folder, base(path)))
        return fail(ENOENT);
    if (sim_fault(40))
        return fail(EIO);
    change_now(base(path), 0, false);
    return 0;
}

int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    sim_step();
    const struct name *there = find(&folder, base(from));

    if (!there)
        return fail(ENOENT);
    if (sim_fault(40))
        return fail(EIO);
    change_now(base(to), there->inode, true);
    change_now(base(from), 0, false);
    return 0;
}

/* A folder being read: the names as they were when it was opened. */
struct listing {
    struct folder names;
    int next;
    struct dirent entry;
};
static struct listing listings[SIM_PROCESSES]; /* a process reads one at a time */

DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    sim_step();
    struct listing *l = &listings[sim_process()];

    if (strcmp(path, SIM_DIR) != 0) { /* nothing is kept */
        errno = ENOENT;
        return NULL;
    }
    if (sim_fault(20)) {
        errno = EMFILE;
        return NULL;
    }
    copy_folder(&l->names, &folder);
    l->next = 0;
    return (DIR *)(void *)l;
}

struct dirent *__wrap_readdir(DIR *d);
struct dirent *__wrap_readdir(DIR *d)
{
    struct listing *l = (struct listing *)(void *)d;

    if (l->next == l->names.n)
        return NULL;
    memcpy(l->entry.d_name, l->names.names[l->next++].text, sizeof(l->names.names[0].text));
    return &l->entry;
}

void __wrap_rewinddir(DIR *d);
void __wrap_rewinddir(DIR *d)
{
    struct listing *l = (struct listing *)(void *)d;

    sim_step();
    copy_folder(&l->names, &folder);
    l->next = 0;
}

int __wrap_closedir(DIR *d);
int __wrap_closedir(DIR *d)
{
    (void)d;
    return 0;
}

int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    (void)path, (void)mode;
    return fail(EEXIST);
}

int __wrap_stat(const char *path, struct stat *st);
int __wrap_stat(const char *path, struct stat *st)
{
    const struct name *there = find(&folder, base(path));

    memset(st, 0, sizeof(*st));
    st->st_mode = there ? S_IFREG : S_IFDIR;
    st->st_size = there ? (off_t)inodes[there->inode].size : 0;
    return 0;
}

/* ---- what breaks ---- */

void disk_process_died(int process)
{
    for (int i = 0; i < n_files; i++)
        if (files[i].process == process)
            files[i].open = false;
    while (n_files > 0 && !files[n_files - 1].open)
        n_files--;
}

/* Size and sectors are each as they were synced or as they were in memory. */
static void tear(struct inode *i)
{
    size_t low = i->size < i->durable_size ? i->size : i->durable_size;
    size_t high = i->size + i->durable_size - low, size = low + sim_random(high - low + 1);

    for (size_t at = 0; at < INODE_BYTES && at < high; at += SECTOR)
        if (sim_random(2))
            memcpy(i->durable + at, i->cached + at, SECTOR);
    if (size < i->used)
        memset(i->durable + size, 0, i->used - size);
    memcpy(i->cached, i->durable, i->used);
    i->size = i->durable_size = size;
}

void disk_power_cut(void)
{
    int kept = (int)sim_random((uint64_t)n_changes + 1);

    for (int i = 0; i < kept; i++)
        change(&durable_folder, &changes[i].name, changes[i].add);
    copy_folder(&folder, &durable_folder);
    n_changes = n_files = 0;
    for (int i = 0; i < n_inodes; i++)
        tear(&inodes[i]);
    memset(files, 0, sizeof(files));
}
