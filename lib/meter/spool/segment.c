/* segment.c: names, headers and locks of segments; listing, removing, syncing them */
#include "lib/meter/spool/segment.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"

#define MAGIC "TGSPOOL1"
#define NAME_LENGTH 20 /* 16 digits, ".seg" */
#define CHECKED 56

enum status spool_errno(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STATUS_NO_SPACE;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    default:
        return STATUS_IO;
    }
}

enum status spool_segment_path(char out[PATH_MAX], const char *dir, uint64_t number)
{
    int n = snprintf(out, PATH_MAX, "%s/%016" PRIx64 ".seg", dir, number);
    return n > 0 && n < PATH_MAX ? STATUS_OK : STATUS_LIMIT;
}

enum status spool_segment_open(const char *dir, uint64_t number, int *fd)
{
    char path[PATH_MAX];
    enum status s = spool_segment_path(path, dir, number);
    if (s != STATUS_OK)
        return s;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return *fd < 0 ? spool_errno() : STATUS_OK;
}

void spool_segment_encode(unsigned char out[SPOOL_HEADER_BYTES], const struct spool_segment *s)
{
    uint32_t v32[] = {htole32(SPOOL_VERSION), htole32(SPOOL_HEADER_BYTES)};
    uint64_t v64[] = {htole64(s->number), htole64((uint64_t)s->made_us)};
    uint32_t who[] = {htole32(s->pid), htole32(s->kind)};
    memcpy(out, MAGIC, 8);
    memcpy(out + 8, v32, 8);
    memcpy(out + 16, s->node, 16);
    memcpy(out + 32, v64, 16);
    memcpy(out + 48, who, 8);
    uint64_t sum = htole64(XXH3_64bits(out, CHECKED));
    memcpy(out + CHECKED, &sum, 8);
}

enum status spool_segment_decode(const unsigned char in[SPOOL_HEADER_BYTES], struct spool_segment *s)
{
    uint32_t v32[2], who[2];
    uint64_t v64[2], sum;
    memcpy(&sum, in + CHECKED, 8);
    if (memcmp(in, MAGIC, 8) != 0 || le64toh(sum) != XXH3_64bits(in, CHECKED))
        return STATUS_DAMAGED;
    memcpy(v32, in + 8, 8);
    if (le32toh(v32[0]) != SPOOL_VERSION || le32toh(v32[1]) != SPOOL_HEADER_BYTES)
        return STATUS_VERSION;
    memcpy(s->node, in + 16, 16);
    memcpy(v64, in + 32, 16);
    memcpy(who, in + 48, 8);
    s->number = le64toh(v64[0]);
    s->made_us = (int64_t)le64toh(v64[1]);
    s->pid = le32toh(who[0]);
    s->kind = le32toh(who[1]);
    return STATUS_OK;
}

bool spool_segment_live(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
        flock(fd, LOCK_UN);
        return false;
    }
    return errno == EWOULDBLOCK;
}

bool spool_segment_number(const char *name, uint64_t *number)
{
    if (strlen(name) != NAME_LENGTH || strcmp(name + 16, ".seg") != 0 || strspn(name, "0123456789abcdef") < 16)
        return false;
    *number = strtoull(name, NULL, 16);
    return true;
}

/* What is known of one segment; false when it is gone meanwhile. */
static bool look_at(const char *dir, uint64_t number, struct spool_segment *s)
{
    char path[PATH_MAX];
    unsigned char header[SPOOL_HEADER_BYTES];
    struct stat st;
    if (spool_segment_path(path, dir, number) != STATUS_OK)
        return false;
    memset(s, 0, sizeof(*s));
    s->number = number;
    s->unreadable = true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno != ENOENT;
    s->live = spool_segment_live(fd); /* before the size: a dead writer's size is final */
    ssize_t n = fstat(fd, &st) == 0 ? pread(fd, header, sizeof(header), 0) : -1;
    if (n >= 0) {
        s->unreadable = false;
        s->bytes = (uint64_t)st.st_size;
        s->header_intact = n == (ssize_t)sizeof(header) && spool_segment_decode(header, s) == STATUS_OK &&
                           s->number == number;
        s->number = number;
    }
    close(fd);
    return true;
}

static int by_number(const void *a, const void *b)
{
    const struct spool_segment *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

enum status spool_numbers(const char *folder, uint64_t **out, size_t *n)
{
    size_t used = 0, room = 64;
    uint64_t *found = malloc(room * sizeof(*found)), number;
    DIR *d = opendir(folder);
    enum status s = !d ? spool_errno() : found ? STATUS_OK : STATUS_NO_MEMORY;
    const struct dirent *entry;
    while (s == STATUS_OK) {
        errno = 0;
        if (!(entry = readdir(d))) {
            s = errno ? STATUS_IO : STATUS_OK; /* never a part for the whole */
            break;
        }
        if (!spool_segment_number(entry->d_name, &number))
            continue;
        if (used == room) {
            uint64_t *grown = realloc(found, 2 * room * sizeof(*found));
            if (!grown) {
                s = STATUS_NO_MEMORY;
                break;
            }
            found = grown;
            room *= 2;
        }
        found[used++] = number;
    }
    if (d)
        closedir(d);
    if (s != STATUS_OK) {
        free(found);
        return s;
    }
    *out = found;
    *n = used;
    return STATUS_OK;
}

enum status spool_list(const char *dir, struct spool_segment **out, size_t *n)
{
    uint64_t *numbers = NULL;
    size_t used = 0, there = 0;
    enum status s = spool_numbers(dir, &numbers, &there);
    struct spool_segment *found = s == STATUS_OK ? malloc((there + 1) * sizeof(*found)) : NULL;
    for (size_t i = 0; found && i < there; i++)
        used += look_at(dir, numbers[i], &found[used]);
    free(numbers);
    if (!found)
        return s == STATUS_OK ? STATUS_NO_MEMORY : s;
    qsort(found, used, sizeof(*found), by_number);
    *out = found;
    *n = used;
    return STATUS_OK;
}

enum status spool_remove(const char *dir, uint64_t number)
{
    char path[PATH_MAX];
    enum status s = spool_segment_path(path, dir, number);
    if (s != STATUS_OK)
        return s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return spool_errno();
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        s = STATUS_CONFLICT;
    else if (unlink(path) != 0)
        s = spool_errno();
    close(fd);
    return s;
}

/*
 * A segment whose writer has gone on or died may hold what only the page cache has. Once it is synced nothing is added to
 * it, which its mode then says: 0400, so that the thousand segments of an outage are not synced every second.
 */
static enum status sync_one(const char *dir, const struct spool_segment *g)
{
    int fd;
    struct stat st;
    enum status s = spool_segment_open(dir, g->number, &fd);
    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s; /* removed meanwhile */
    bool ended = !g->live && !g->unreadable;          /* one that could not be opened may have a writer */
    bool pending = fstat(fd, &st) != 0 || !ended || (st.st_mode & S_IWUSR);
    if (pending && fdatasync(fd) != 0)
        s = spool_errno();
    else if (pending && ended && fchmod(fd, 0400) != 0)
        s = STATUS_OK; /* another's file: it is synced again */
    close(fd);
    return s;
}

enum status spool_sync(const char *dir)
{
    struct spool_segment *segments;
    size_t n;
    enum status s = spool_list(dir, &segments, &n);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < n; i++) {
        enum status one = sync_one(dir, &segments[i]);
        if (one != STATUS_OK)
            s = one;
    }
    free(segments);
    enum status dir_status = io_sync_dir(dir);
    return s != STATUS_OK ? s : dir_status;
}
