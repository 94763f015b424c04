/*
 * history: has the database gone back in time, and what has to be forgotten then.
 *
 * A database that is restored, or whose standby takes over, may lack what was committed and acknowledged, with the same system
 * identifier and timeline. So the collector counts its commits in its node's row; history keeps the last number that was
 * acknowledged (`<spool>/seen`), and compares it at every new connection, with the system identifier, the timeline and the
 * transaction id up to which changes were followed. Whoever finds that it went back raises a generation; each worker looks at its
 * own number of it and forgets what it knows before its connection is let through again. The collector's main owns the history;
 * its functions may be called by several threads.
 */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/status.h"

struct db;
struct history;

/* `node`: its UUID as text. A file that can't be read counts as none: the first connection is then where it begins. */
MUST_CHECK enum status history_open(const char *spool_dir, const char *node, struct history **out);
void history_close(struct history *h); /* NULL is allowed */

/* A worker's view; zeroed but for `history`. Its connections ask history_check with it (db_on_connect). */
struct history_view {
    struct history *history;
    uint64_t generation;
    char why[300]; /* the last connection was given up */
};
const char *history_check(struct db *d, void *view);
/* It went back since the last history_accept: forget positions, cursors and all that was read before. */
bool history_went_back(const struct history_view *v);
/* All of it is forgotten: connections are let through again. */
void history_accept(struct history_view *v);

/*
 * The number of commits now, to be read before a transaction; history_committed with the transaction's own number after it. A NULL
 * view remembers nothing.
 */
int64_t history_commits(const struct history_view *v);
/* It was committed as `number`. One that is not above `before` says that the database went back behind a pooler's back. */
void history_committed(const struct history_view *v, int64_t before, int64_t number);
/* A cursor: a transaction id as text that had not ended when it was read. */
void history_cursor(const struct history_view *v, const char *xid);
/* Something else showed that it went back. */
void history_set_back(struct history *h, const char *cause);
/* The file on the disk, not in the page cache alone: now and then, for a power cut. */
void history_sync(struct history *h);

struct history_rollback {
    char cause[200];
    int64_t commits_known, commits_held, known_at_us;
};
/* What was found last; false: nothing, or it was told already. */
bool history_tell(struct history *h, struct history_rollback *out);
/* Everything about it is done: a collector that starts from now on need not do it again. */
void history_settled(struct history *h);

#endif
