/*
 * tenant_admin: the tenants with their settings and subscription, as the command line sees and changes them.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner). Rows belong to the caller,
 * who frees them with db_rows_free. Statuses are db_query's; STATUS_NOT_FOUND when there is no such tenant.
 */
#ifndef STORE_TENANT_ADMIN_H
#define STORE_TENANT_ADMIN_H

#include <stdbool.h>

#include "lib/store/db.h"

/* What is NULL stays as it is; at creation: the default. */
struct tenant_values {
    const char *name, *tier, *zone, *anchor, *schema, *storage;
};

/* id, name, tier, state, zone, anchor day, schema, storage path, enforced, created */
MUST_CHECK enum status tenant_admin_list(struct db *d, struct db_rows **rows);
/* The same of one tenant, then usage_limits and current_usage as JSON. */
MUST_CHECK enum status tenant_admin_show(struct db *d, const char *id, struct db_rows **rows);
/* Also attaches the gauges' triggers and counts anew when the tenant's schema is there. STATUS_EXISTS. */
MUST_CHECK enum status tenant_admin_create(struct db *d, const char *id, const struct tenant_values *v);
MUST_CHECK enum status tenant_admin_change(struct db *d, const char *id, const struct tenant_values *v);
MUST_CHECK enum status tenant_admin_set_state(struct db *d, const char *id, const char *state);
/*
 * Whether the tenants are ours to make, rename and remove; false where the database was adopted: they are its host's.
 */
MUST_CHECK enum status tenant_admin_owns(struct db *d, bool *owns);
/* With all that refers to it; its schema stays. */
MUST_CHECK enum status tenant_admin_remove(struct db *d, const char *id);

#endif
