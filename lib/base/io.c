/* io.c: whole reads and writes, and files replaced atomically */
#include "lib/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status from_errno(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return STATUS_NO_SPACE;
    case ENOENT:
        return STATUS_NOT_FOUND;
    default:
        return STATUS_IO;
    }
}

enum status io_write_all(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;

    while (length > 0) {
        ssize_t n = write(fd, at, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ENOSPC || errno == EDQUOT ? STATUS_NO_SPACE : STATUS_IO;
        at += n;
        length -= (size_t)n;
    }
    return STATUS_OK;
}

/* Until end of file or `size` bytes. */
static enum status read_full(int fd, char *out, size_t size, size_t *length)
{
    size_t have = 0;

    while (have < size) {
        ssize_t n = read(fd, out + have, size - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return STATUS_IO;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *length = have;
    return STATUS_OK;
}

enum status io_read_file(const char *path, size_t max, char **out, size_t *length)
{
    enum status s = STATUS_IO;
    char *data = NULL;
    struct stat st;
    size_t have, size;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return from_errno();
    if (fstat(fd, &st) < 0)
        goto done;
    s = STATUS_LIMIT;
    if (st.st_size < 0 || (uintmax_t)st.st_size > max)
        goto done;
    /* files of /proc say 0; one byte more than may be there shows growth */
    size = st.st_size ? (size_t)st.st_size + 1 : max + 1;
    s = STATUS_NO_MEMORY;
    data = malloc(size + 1);
    if (!data)
        goto done;
    s = read_full(fd, data, size, &have);
    if (s)
        goto done;
    if (have > max) {
        s = STATUS_LIMIT;
        goto done;
    }
    data[have] = 0;
    *out = data;
    *length = have;
    data = NULL;
done:
    free(data);
    close(fd);
    return s;
}

/* The folder of `path`, "." when it names none. */
static enum status folder_of(const char *path, char out[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= PATH_MAX)
        return STATUS_LIMIT;
    if (!slash) {
        memcpy(out, ".", 2);
    } else if (n == 0) {
        memcpy(out, "/", 2);
    } else {
        memcpy(out, path, n);
        out[n] = 0;
    }
    return STATUS_OK;
}

enum status io_replace_file(const char *path, const void *bytes, size_t length, mode_t mode)
{
    char temporary[PATH_MAX], folder[PATH_MAX];
    enum status s = STATUS_LIMIT;
    int fd, n;

    if (folder_of(path, folder))
        return s;
    n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return s;
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return from_errno();
    s = io_write_all(fd, bytes, length);
    if (!s && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        s = from_errno();
    if (close(fd) < 0 && !s)
        s = from_errno();
    if (!s && rename(temporary, path) < 0)
        s = from_errno();
    if (s) {
        int saved = errno;

        unlink(temporary);
        errno = saved;
        return s;
    }
    return io_sync_dir(folder);
}

enum status io_make_dir(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    struct stat st;

    if (length == 0)
        return STATUS_INVALID;
    if (length >= sizeof(part))
        return STATUS_LIMIT;
    memcpy(part, path, length + 1);
    for (char *p = part + 1;; p++) {
        char was = *p;

        if (was != '/' && was != 0)
            continue;
        *p = 0;
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return from_errno();
        if (was == 0)
            break;
        *p = was;
    }
    if (stat(path, &st) < 0)
        return from_errno();
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return STATUS_IO;
    }
    return STATUS_OK;
}

enum status io_path(char *out, size_t size, const char *dir, const char *name)
{
    size_t d = strlen(dir), n = strlen(name);
    size_t slash = d > 0 && dir[d - 1] != '/' ? 1 : 0;

    if (n >= size || d >= size || d + slash + n >= size)
        return STATUS_LIMIT;
    memcpy(out, dir, d);
    if (slash)
        out[d] = '/';
    memcpy(out + d + slash, name, n + 1);
    return STATUS_OK;
}

enum status io_sync_dir(const char *path)
{
    enum status s = STATUS_OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return from_errno();
    if (fsync(fd) < 0)
        s = from_errno();
    close(fd);
    return s;
}
