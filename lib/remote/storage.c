/* storage.c: how many bytes a tenant's files are */
#include "lib/remote/storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* folders within folders; deeper ones are not counted */

struct storage_walk {
    dev_t device;
    int64_t bytes;
    DIR *open[DEPTH_MAX]; /* the folder that is read, and those above it */
    int depth;            /* how many are open */
};

/* The folder of `fd`, which is closed in each case, is read next. */
static enum status enter(struct storage_walk *w, int fd)
{
    DIR *d = fdopendir(fd);

    if (!d) {
        close(fd);
        return STATUS_IO;
    }
    w->open[w->depth++] = d;
    return STATUS_OK;
}

static enum status look_at(struct storage_walk *w, int dir, const char *name)
{
    struct stat st;
    int fd;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? STATUS_OK : STATUS_IO; /* removed meanwhile */
    if (S_ISREG(st.st_mode))
        w->bytes += st.st_size;
    if (!S_ISDIR(st.st_mode) || st.st_dev != w->device || w->depth == DEPTH_MAX)
        return STATUS_OK;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? STATUS_OK : STATUS_IO;
    return enter(w, fd);
}

/* One entry of the folder that is read, or leaves it. */
static enum status step(struct storage_walk *w)
{
    DIR *d = w->open[w->depth - 1];
    const struct dirent *e;

    errno = 0;
    if ((e = readdir(d)))
        return strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ? STATUS_OK
                                                                           : look_at(w, dirfd(d), e->d_name);
    if (errno != 0)
        return STATUS_IO;
    closedir(d);
    w->depth--;
    return STATUS_OK;
}

static enum status filesystem_go_on(struct storage_walk *w, bool (*pause)(void *arg), void *arg, int64_t *bytes)
{
    enum status s = STATUS_OK;

    while (s == STATUS_OK && w->depth > 0)
        s = pause(arg) ? STATUS_END : step(w);
    if (s == STATUS_OK)
        *bytes = w->bytes;
    return s;
}

static void filesystem_end(struct storage_walk *w)
{
    if (!w)
        return;
    while (w->depth > 0)
        closedir(w->open[--w->depth]);
    free(w);
}

/* A relative path without "..": tenant_settings.storage_path comes from people. */
static bool inside(const char *path)
{
    if (path[0] == '/' || path[0] == '\0')
        return false;
    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 2 && strncmp(path, "..", 2) == 0)
            return false;
        path += n + (path[n] == '/');
    }
    return true;
}

/* -1 with errno: it can't be opened. */
static int open_below(const char *root, const char *path)
{
    int base = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, problem;

    if (base < 0)
        return -1;
    fd = openat(base, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    problem = errno;
    close(base);
    errno = problem;
    return fd;
}

static enum status filesystem_begin(const char *root, const char *path, struct storage_walk **out)
{
    struct storage_walk *w;
    struct stat st;
    enum status s = STATUS_OK;
    int fd;

    if (!inside(path))
        return STATUS_INVALID;
    if (access(root, F_OK) != 0)
        return STATUS_IO;
    if (!(w = calloc(1, sizeof(*w))))
        return STATUS_NO_MEMORY;
    if ((fd = open_below(root, path)) < 0) {
        s = errno == ENOENT ? STATUS_OK : STATUS_IO;
    } else if (fstat(fd, &st) != 0) {
        close(fd);
        s = STATUS_IO;
    } else {
        w->device = st.st_dev;
        s = enter(w, fd);
    }
    if (s == STATUS_OK)
        *out = w;
    else
        filesystem_end(w);
    return s;
}

static const struct storage back_ends[] = {
    {"filesystem", filesystem_begin, filesystem_go_on, filesystem_end},
};

const struct storage *storage_find(size_t kind)
{
    return kind < sizeof(back_ends) / sizeof(back_ends[0]) ? &back_ends[kind] : NULL;
}
