/* kept.c: segments that are stored and kept for a time, those that are gone for good, and the number below which none is made */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/meter/spool/segment.h"

#define FOLDER "kept"
#define FREE_SHARE 4    /* all of them together take at most this part of what would be free without them */
#define GONE_MOST 20000 /* remembered */
#define GONE_BYTES 24   /* number, bytes, when it was removed */
#define MINUTE_US (60 * CLOCK_US_PER_SECOND)

enum status spool_kept_folder(char out[PATH_MAX], const char *dir)
{
    return io_path(out, PATH_MAX, dir, FOLDER);
}

static enum status kept_path(char out[PATH_MAX], const char *dir, uint64_t number)
{
    char folder[PATH_MAX];
    enum status s = spool_kept_folder(folder, dir);
    return s == STATUS_OK ? spool_segment_path(out, folder, number) : s;
}

enum status spool_keep(const char *dir, uint64_t number)
{
    char from[PATH_MAX], to[PATH_MAX], folder[PATH_MAX];
    enum status s = spool_segment_path(from, dir, number);
    if (s == STATUS_OK)
        s = kept_path(to, dir, number);
    if (s == STATUS_OK && (s = spool_kept_folder(folder, dir)) == STATUS_OK)
        s = io_make_dir(folder, 0700);
    if (s != STATUS_OK)
        return s;
    int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return spool_errno();
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        s = STATUS_CONFLICT;
    else if (rename(from, to) != 0)
        s = spool_errno();
    else
        utimensat(AT_FDCWD, to, NULL, 0); /* kept from now on */
    close(fd);
    return s;
}

enum status spool_kept_back(const char *dir, uint64_t number)
{
    char from[PATH_MAX], to[PATH_MAX];
    enum status s = kept_path(from, dir, number);
    if (s == STATUS_OK)
        s = spool_segment_path(to, dir, number);
    if (s != STATUS_OK)
        return s;
    if (link(from, to) != 0 && errno != EEXIST) /* never over one that is there */
        return spool_errno();
    return unlink(from) == 0 ? STATUS_OK : spool_errno();
}

/* Oldest first. */
static int by_age(const void *a, const void *b)
{
    const struct spool_kept *x = a, *y = b;
    if (x->at_us != y->at_us)
        return x->at_us < y->at_us ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static bool look_at(const char *dir, uint64_t number, struct spool_kept *k)
{
    char path[PATH_MAX];
    struct stat st;
    if (kept_path(path, dir, number) != STATUS_OK || stat(path, &st) != 0)
        return false;
    *k = (struct spool_kept){.number = number,
                             .bytes = (uint64_t)st.st_size,
                             .disk_bytes = (uint64_t)st.st_blocks * 512,
                             .at_us = (int64_t)st.st_mtim.tv_sec * CLOCK_US_PER_SECOND + st.st_mtim.tv_nsec / 1000};
    return true;
}

enum status spool_kept_list(const char *dir, struct spool_kept **out, size_t *n)
{
    char folder[PATH_MAX];
    uint64_t *numbers = NULL;
    size_t used = 0, there = 0;
    enum status s = spool_kept_folder(folder, dir);
    if (s == STATUS_OK)
        s = spool_numbers(folder, &numbers, &there);
    if (s == STATUS_NOT_FOUND) /* nothing was ever kept */
        s = STATUS_OK;
    struct spool_kept *found = s == STATUS_OK ? malloc((there + 1) * sizeof(*found)) : NULL;
    for (size_t i = 0; found && i < there; i++)
        used += look_at(dir, numbers[i], &found[used]);
    free(numbers);
    if (!found)
        return s == STATUS_OK ? STATUS_NO_MEMORY : s;
    qsort(found, used, sizeof(*found), by_age);
    *out = found;
    *n = used;
    return STATUS_OK;
}

/* ---- those that are gone ---- */

enum status spool_gone_add(const char *dir, uint64_t number, uint64_t bytes)
{
    char path[PATH_MAX];
    uint64_t record[] = {htole64(number), htole64(bytes), htole64((uint64_t)clock_wall_us())};
    enum status s = io_path(path, sizeof(path), dir, "gone");
    int fd = s == STATUS_OK ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0)
        return s == STATUS_OK ? spool_errno() : s;
    if (write(fd, record, sizeof(record)) != (ssize_t)sizeof(record))
        s = spool_errno();
    close(fd);
    return s;
}

enum status spool_gone_list(const char *dir, struct spool_kept **out, size_t *n)
{
    char path[PATH_MAX], *bytes = NULL;
    size_t length = 0, count;
    enum status s = io_path(path, sizeof(path), dir, "gone");
    if (s == STATUS_OK)
        s = io_read_file(path, (size_t)GONE_BYTES * GONE_MOST * 4, &bytes, &length);
    if (s != STATUS_OK && s != STATUS_NOT_FOUND)
        return s;
    count = length / GONE_BYTES;
    struct spool_kept *list = calloc(count + 1, sizeof(*list));
    for (size_t i = 0; list && i < count; i++) {
        uint64_t v[3];
        memcpy(v, bytes + i * GONE_BYTES, sizeof(v));
        list[i] = (struct spool_kept){.number = le64toh(v[0]), .bytes = le64toh(v[1]), .at_us = (int64_t)le64toh(v[2])};
    }
    free(bytes);
    if (!list)
        return STATUS_NO_MEMORY;
    *out = list;
    *n = count;
    return STATUS_OK;
}

void spool_gone_clear(const char *dir)
{
    char path[PATH_MAX];
    if (io_path(path, sizeof(path), dir, "gone") == STATUS_OK)
        unlink(path);
}

/* The newer half is enough to say how much a rollback can't bring back. */
static void halve_gone(const char *dir)
{
    char path[PATH_MAX], *bytes;
    struct stat st;
    size_t length, keep = (size_t)GONE_BYTES * GONE_MOST / 2;
    if (io_path(path, sizeof(path), dir, "gone") != STATUS_OK || stat(path, &st) != 0 ||
        st.st_size < (off_t)GONE_BYTES * GONE_MOST ||
        io_read_file(path, (size_t)st.st_size, &bytes, &length) != STATUS_OK)
        return;
    if (length > keep && io_replace_file(path, bytes + length - keep, keep, 0600) != STATUS_OK)
        errno = 0; /* it is halved the next time */
    free(bytes);
}

static bool remove_kept(const char *dir, const struct spool_kept *k)
{
    char path[PATH_MAX];
    if (kept_path(path, dir, k->number) != STATUS_OK || unlink(path) != 0)
        return false;
    if (spool_gone_add(dir, k->number, k->bytes) != STATUS_OK)
        errno = 0; /* a full disk: a rollback will then say less than there was */
    return true;
}

bool spool_kept_give(const char *dir)
{
    struct spool_kept *list;
    size_t n;
    bool gave = false;
    if (spool_kept_list(dir, &list, &n) != STATUS_OK)
        return false;
    for (size_t i = 0; i < n && !gave; i++)
        gave = remove_kept(dir, &list[i]);
    free(list);
    return gave;
}

/* How much they may take on this disk. */
static uint64_t most_bytes(const struct spool_keeping *k, const char *dir, uint64_t kept)
{
    struct statvfs fs;
    uint64_t most = (uint64_t)k->bytes;
    if (statvfs(dir, &fs) == 0 && ((uint64_t)fs.f_bavail * fs.f_frsize + kept) / FREE_SHARE < most)
        most = ((uint64_t)fs.f_bavail * fs.f_frsize + kept) / FREE_SHARE;
    if (k->spool_most && (k->spool_bytes >= k->spool_most || k->spool_most - k->spool_bytes < most))
        most = k->spool_bytes >= k->spool_most ? 0 : k->spool_most - k->spool_bytes;
    return most;
}

enum status spool_kept_trim(const char *dir, const struct spool_keeping *k)
{
    struct spool_kept *list;
    size_t n;
    uint64_t sum = 0, most;
    enum status s = spool_kept_list(dir, &list, &n);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < n; i++)
        sum += list[i].disk_bytes;
    most = most_bytes(k, dir, sum);
    for (size_t i = 0; i < n; i++) {
        bool old = list[i].at_us < clock_wall_us() - k->minutes * MINUTE_US;
        if ((old || sum > most) && remove_kept(dir, &list[i]))
            sum -= list[i].disk_bytes;
    }
    free(list);
    halve_gone(dir);
    return STATUS_OK;
}

/* ---- the floor ---- */

enum status spool_floor_raise(const char *dir, uint64_t below)
{
    char path[PATH_MAX];
    uint64_t v = htole64(below), now = 0;
    enum status s = spool_floor(dir, &now);
    if (s != STATUS_OK || now >= below)
        return s;
    s = io_path(path, sizeof(path), dir, "floor");
    /* On the disk before the database knows: after a power cut it must not be lower than there. */
    return s == STATUS_OK ? io_replace_file(path, &v, sizeof(v), 0600) : s;
}

enum status spool_floor(const char *dir, uint64_t *below)
{
    char path[PATH_MAX];
    uint64_t v = 0;
    enum status s = io_path(path, sizeof(path), dir, "floor");
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT)
        return spool_errno();
    if (fd >= 0) {
        if (pread(fd, &v, sizeof(v), 0) != (ssize_t)sizeof(v))
            s = STATUS_IO;
        close(fd);
    }
    if (s == STATUS_OK)
        *below = le64toh(v);
    return s;
}
