/* seen.c: what a node last saw of its database, as 64 bytes */
#include "lib/meter/spool/seen.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "lib/base/io.h"

#define BYTES 64
#define CHECKED 56
#define MAGIC UINT64_C(0x31304e4545534754) /* "TGSEEN01" */

int seen_open(const char *dir)
{
    char path[PATH_MAX];

    if (io_path(path, sizeof(path), dir, "seen") != STATUS_OK)
        return -1;
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

enum status seen_read(int fd, struct seen *out)
{
    uint64_t v[BYTES / 8];
    ssize_t n = pread(fd, v, sizeof(v), 0);

    if (n < 0)
        return STATUS_IO;
    if (n == 0)
        return STATUS_NOT_FOUND;
    if (n != (ssize_t)sizeof(v) || le64toh(v[0]) != MAGIC || le64toh(v[7]) != XXH3_64bits(v, CHECKED))
        return STATUS_DAMAGED;
    *out = (struct seen){.system = le64toh(v[1]),
                         .xid = le64toh(v[2]),
                         .commits = (int64_t)le64toh(v[3]),
                         .at_us = (int64_t)le64toh(v[4]),
                         .timeline = (uint32_t)le64toh(v[5]),
                         .pending = le64toh(v[6]) != 0};
    return STATUS_OK;
}

enum status seen_write(int fd, const struct seen *s)
{
    uint64_t v[BYTES / 8] = {htole64(MAGIC),
                             htole64(s->system),
                             htole64(s->xid),
                             htole64((uint64_t)s->commits),
                             htole64((uint64_t)s->at_us),
                             htole64(s->timeline),
                             htole64(s->pending)};

    v[7] = htole64(XXH3_64bits(v, CHECKED));
    return pwrite(fd, v, sizeof(v), 0) == (ssize_t)sizeof(v) ? STATUS_OK : STATUS_IO;
}
