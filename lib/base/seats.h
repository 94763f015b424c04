/*
 * seats: at most so many processes of a node do something at the same time.
 *
 * A file in a folder that they share (paths.run_dir), of which byte k is locked by whoever has seat k, as fcntl(2) locks
 * records. So a seat is free as soon as its process ends, however it ends. A process has at most one seat of a file, and
 * opens the file once: closing any descriptor of it gives the seat back. Owns that descriptor. Called by tollgate-web.
 */
#ifndef BASE_SEATS_H
#define BASE_SEATS_H

#include <stdint.h>

#include "lib/base/status.h"

struct seats {
    int fd;    /* -1: not open */
    int taken; /* -1: none */
};

#define SEATS_NONE ((struct seats){-1, -1})

/*
 * Takes one of `n` seats of the file `name` in `dir`, which is made at first use. When none is free: waits for one, at most
 * `patience_us`. STATUS_CONFLICT: none became free; STATUS_IO: the file can't be used, errno says why.
 */
MUST_CHECK enum status seats_take(struct seats *s, const char *dir, const char *name, int n, int64_t patience_us);
/* Gives the seat back; nothing when there is none. */
void seats_leave(struct seats *s);
void seats_term(struct seats *s);

#endif
