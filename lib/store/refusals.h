/*
 * refusals: what a tenant's limits refused, by limit and hour (tollgate.usage_refusals).
 *
 * The collector puts what each limit table has counted, as it stands, so that putting it twice changes nothing. The command line reads as
 * the owner, web in a transaction with the tenant set; rows belong to the caller.
 */
#ifndef STORE_REFUSALS_H
#define STORE_REFUSALS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/store/db.h"

struct refusal {
    const char *tenant, *limit_key;
    int64_t hour_us;  /* the first instant of the hour, in the tenant's zone */
    uint64_t refused; /* since the limit table was made */
};
/* What the limit table with this number has counted; a transaction of its own. Tenants that are gone are left out. */
MUST_CHECK enum status refusals_put(struct db *d, uint64_t table, const struct refusal *list, size_t n);

#define REFUSALS_MOST 10000 /* rows of an answer */
enum refusals_column { REFUSALS_HOUR, REFUSALS_LIMIT, REFUSALS_LABEL, REFUSALS_WINDOW, REFUSALS_COUNT };
/*
 * A row for each hour and limit from day `from` to day `to` (YYYY-MM-DD, in the tenant's zone, both included; NULL: the last seven days), the
 * newest first: the hour (RFC 3339, UTC), limit key, its label and window (NULL: there is no such limit any more), refusals.
 */
MUST_CHECK enum status refusals_list(struct db *d, const char *tenant, const char *from, const char *to,
                                     struct db_rows **rows);
/* Of the last 24 hours, the most refused first: limit key, label, window, refusals, the last such hour (RFC 3339,
 * UTC), and the same on the tenant's wall (13:00). */
MUST_CHECK enum status refusals_lately(struct db *d, const char *tenant, struct db_rows **rows);

#endif
