/* seats.c: record locks on a file's bytes, one a seat */
#include "lib/base/seats.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/io.h"

#define LOOK_AGAIN_US 5000

static enum status open_file(struct seats *s, const char *dir, const char *name)
{
    char path[PATH_MAX];
    enum status st = io_path(path, sizeof(path), dir, name);

    if (st == STATUS_OK && s->fd < 0)
        s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (st == STATUS_OK && s->fd < 0)
        st = STATUS_IO;
    return st;
}

static int lock(const struct seats *s, int seat, short type)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = seat, .l_len = 1};

    return fcntl(s->fd, F_SETLK, &l);
}

static enum status try_each(struct seats *s, int n)
{
    for (int i = 0; i < n; i++) {
        if (lock(s, i, F_WRLCK) == 0) {
            s->taken = i;
            return STATUS_OK;
        }
        if (errno != EACCES && errno != EAGAIN && errno != EINTR)
            return STATUS_IO;
    }
    return STATUS_CONFLICT;
}

enum status seats_take(struct seats *s, const char *dir, const char *name, int n, int64_t patience_us)
{
    int64_t until = clock_mono_us() + patience_us;
    enum status st = open_file(s, dir, name);

    if (st != STATUS_OK)
        return st;
    seats_leave(s);
    while ((st = try_each(s, n)) == STATUS_CONFLICT && clock_mono_us() < until)
        usleep(LOOK_AGAIN_US);
    return st;
}

void seats_leave(struct seats *s)
{
    if (s->taken >= 0)
        (void)lock(s, s->taken, F_UNLCK);
    s->taken = -1;
}

void seats_term(struct seats *s)
{
    if (s->fd >= 0)
        close(s->fd);
    *s = SEATS_NONE;
}
