/*
 * tenants: the tenants with their settings and their place in a plan.
 *
 * Each function is part of the caller's transaction (db_begin); *rows are freed with db_rows_free. tenants_* are lists for
 * tollgate-web; tenant_* are the command line's, as the owner, and give STATUS_NOT_FOUND when there is no such tenant.
 */
#ifndef STORE_TENANTS_H
#define STORE_TENANTS_H

#include <stdbool.h>

#include "lib/meter/standing.h"
#include "lib/store/capacity.h"
#include "lib/store/db.h"
#include "lib/store/usage.h"

enum tenants_column { TENANTS_ID, TENANTS_NAME, TENANTS_TIER, TENANTS_STATE };

/*
 * All tenants by id, behind `after` (NULL: from the first), at most `n` (1..1000). The caller has checked that it is
 * an operator.
 */
MUST_CHECK enum status tenants_all(struct db *d, const char *after, int n, struct db_rows **rows);
/* The transaction's own tenant, one row, in the same columns. STATUS_NOT_FOUND. */
MUST_CHECK enum status tenants_own(struct db *d, const char *tenant, struct db_rows **rows);

/* A tenant of the operator's list; its texts live as long as the page. */
struct tenant_standing {
    char id[256];
    const char *name, *tier; /* tier: "" without a plan */
    const char *percent;     /* by which the list is ordered: the highest of its limits, for the next page */
    const char *limit;       /* label of the limit that it stands worst with; "" when it has none */
    enum limit_state state;
    struct standing worst;
};
struct tenant_page {
    size_t n;
    struct tenant_standing *tenants;
    struct db_rows *rows;
};
/*
 * The operator's list, highest percentage first, at most `n`. `after_percent` and `after_id` are the last row of the page before, NULL at
 * first. tenants_page_term frees what it holds.
 */
MUST_CHECK enum status tenants_by_percent(struct db *d, const char *after_percent, const char *after_id,
                                          const char *search, struct tenant_page *out, size_t n);
void tenants_page_term(struct tenant_page *p);

/* What is NULL stays as it is; at creation: the default. */
struct tenant_values {
    const char *name, *tier, *zone, *anchor, *schema, *storage;
};

/* id, name, tier, state, zone, anchor day, schema, storage path, enforced, changed, and what limit_state_of reads */
MUST_CHECK enum status tenant_list(struct db *d, struct db_rows **rows);
/* The same of one tenant, then usage_limits and current_usage as JSON. */
MUST_CHECK enum status tenant_show(struct db *d, const char *id, struct db_rows **rows);
/* Where the tenant stands with each limit; usage_report_term frees it. */
MUST_CHECK enum status tenant_report(struct db *d, const char *id, struct usage_report *out);
/* Also attaches the gauges' triggers and counts anew when the tenant's schema is there. STATUS_EXISTS; STATUS_LIMIT (capacity.h). */
MUST_CHECK enum status tenant_create(struct db *d, const char *id, const struct tenant_values *v,
                                     char full[CAPACITY_TEXT]);
MUST_CHECK enum status tenant_change(struct db *d, const char *id, const struct tenant_values *v);
MUST_CHECK enum status tenant_set_state(struct db *d, const char *id, const char *state);
/*
 * Whether the tenants are ours to make, rename and remove; false where the database was adopted: they are its host's.
 */
MUST_CHECK enum status tenant_owns(struct db *d, bool *owns);
/* Is there any? */
MUST_CHECK enum status tenant_any(struct db *d, bool *any);
/* With all that refers to it; its schema stays. */
MUST_CHECK enum status tenant_remove(struct db *d, const char *id);

#endif
