/*
 * adopt: taking over a database whose tenants, users, tiers and subscriptions belong to the service before Tollgate, the host.
 *
 * Part of the caller's transaction (db_begin), as a role with the right to grant on the host's tables. Called by
 * `tollgate adopt`; the migration between is lib/store/migrate.h.
 */
#ifndef STORE_ADOPT_H
#define STORE_ADOPT_H

#include <stdbool.h>

#include "lib/store/db.h"

#define ADOPT_LIST_SIZE 512

/* For migrate_options. */
extern const char adopt_grants[];

/* What is in the way: columns that the host's tables lack, names of ours that are taken; "" where there are none. */
MUST_CHECK enum status adopt_obstacles(struct db *d, char lacking[ADOPT_LIST_SIZE], char taken[ADOPT_LIST_SIZE]);
/* The host's tenants: id, whether it has a schema. The caller frees the rows. */
MUST_CHECK enum status adopt_tenants(struct db *d, struct db_rows **rows);
/*
 * Its settings, periods and counts; the limits that the host negotiated with it become overrides. `problem`: why its tables' limits
 * are not enforced though they should be, or "".
 */
MUST_CHECK enum status adopt_tenant(struct db *d, const char *tenant, bool enforce, char problem[ADOPT_LIST_SIZE]);

/* Where a host's tenants are: a table, and names of its columns as the catalogue has them; NULL: there is none. */
struct adopt_mapping {
    const char *table, *id, *name, *plan, *state;
    const char *suspended; /* values of state, with commas between */
    const char *schema;    /* the column that names a tenant's schema; or */
    const char *pattern;   /* its name, with {id} for the tenant's id */
};
/* Sets it for migrate_map, in the caller's transaction. */
MUST_CHECK enum status adopt_map(struct db *d, const struct adopt_mapping *m);
/* What migrate_map took: id, name, tier, state, schema, and what is wrong with the id or NULL. The caller frees the rows. */
MUST_CHECK enum status adopt_mapped(struct db *d, struct db_rows **rows);

#endif
