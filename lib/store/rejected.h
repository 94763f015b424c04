/*
 * rejected: events that could not be stored (tollgate.usage_rejected), for `tollgate spool rejected`.
 *
 * Each function runs in the caller's transaction. Replaying is lib/store/ingest.h's: a batch whose events name their rows.
 */
#ifndef STORE_REJECTED_H
#define STORE_REJECTED_H

#include "lib/store/db.h"

/* Which ones; what is NULL does not matter. */
struct rejected_choice {
    const char *tenant, *reason;
    const char *since; /* RFC 3339 */
    const char *ids;   /* an array's text, "{1,2}" */
};
/* id, rejected, tenant, metric, reason, recorded, node, segment (hexadecimal), position, bytes; the newest first. */
MUST_CHECK enum status rejected_list(struct db *d, const struct rejected_choice *c, long long most,
                                     struct db_rows **rows);
/* Of one node's, in the order of their ids behind `after`: id, segment, position, record (hexadecimal), reason. */
MUST_CHECK enum status rejected_records(struct db *d, const struct rejected_choice *c, const char *node, int64_t after,
                                        int most, struct db_rows **rows);
/* node, and how many of it there are. */
MUST_CHECK enum status rejected_nodes(struct db *d, const struct rejected_choice *c, struct db_rows **rows);

#endif
