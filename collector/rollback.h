/*
 * rollback: the database went back in time, as `import` deals with it (lib/store/history.h finds it).
 *
 * Positions and counts are forgotten, the node's row is made this start's again, kept segments are read once more, and what came of
 * it is logged and noted for `tollgate doctor`. `import` owns it and calls all of it; `replicate` and `jobs` forget their own part.
 */
#ifndef COLLECTOR_ROLLBACK_H
#define COLLECTOR_ROLLBACK_H

#include "collector/collector.h"
#include "collector/counts.h"
#include "lib/intake/batch.h"
#include "lib/store/db.h"
#include "lib/store/history.h"

struct rollback {
    struct collector *c;
    struct history_view view;
    bool retake; /* the node's row has to be made this start's again */
};

/* Forgets what is known when the database went back, and lets connections through again. */
void rollback_forget(struct rollback *r, struct batch *b, struct counts *counts);
/* Afterwards: the node's row. STATUS_FENCED: another collector has taken this node. */
MUST_CHECK enum status rollback_retake(struct rollback *r, struct db *db);
/* A statement was fenced off: STATUS_FENCED, or by a start of this node itself, before the database went back. */
MUST_CHECK enum status rollback_fenced(struct rollback *r, struct db *db);
/* Logs and notes what came of it, once batch_look has found out. */
void rollback_tell(struct rollback *r, struct batch *b, struct db *db);

#endif
