/*
 * seen: what a node last saw of its database, in `<spool>/seen`, so that a database that went back in time is found.
 *
 * lib/store/history.h compares and keeps it up to date. The file is 64 bytes, written in place after each commit: a killed
 * collector leaves the last one, whatever the disk has.
 */
#ifndef METER_SPOOL_SEEN_H
#define METER_SPOOL_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/status.h"

struct seen {
    uint64_t system; /* PostgreSQL's system identifier; 0: nothing was seen yet */
    uint64_t xid;    /* a transaction id that was not yet finished when it was read */
    int64_t commits; /* of this node, as far as they were acknowledged */
    int64_t at_us;   /* when the last was, wall clock */
    uint32_t timeline;
    bool pending; /* it went back, and what has to be done about it is not done */
};

/* An open `<dir>/seen`, made (0600) when it is missing; -1 on failure. The caller closes it. */
int seen_open(const char *dir);
/* STATUS_NOT_FOUND when there is nothing yet; STATUS_DAMAGED when a power cut left half of it. */
MUST_CHECK enum status seen_read(int fd, struct seen *out);
MUST_CHECK enum status seen_write(int fd, const struct seen *s);

#endif
