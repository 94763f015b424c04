/*
 * tiers: the plans and their limits, as the command line sees and changes them.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller.
 * A limit is a key of usage_limit_keys with a number, -1 for unlimited; triggers recompute who is on the plan.
 */
#ifndef STORE_TIERS_H
#define STORE_TIERS_H

#include "lib/store/db.h"

/* id, name, tenants on it, limits as JSON */
MUST_CHECK enum status tiers_list(struct db *d, struct db_rows **rows);
MUST_CHECK enum status tiers_show(struct db *d, const char *id, struct db_rows **rows);
/* STATUS_EXISTS. */
MUST_CHECK enum status tiers_create(struct db *d, const char *id, const char *name);
/* `name` NULL: it stays. STATUS_NOT_FOUND. */
MUST_CHECK enum status tiers_rename(struct db *d, const char *id, const char *name);
/* `number` NULL takes the limit away. STATUS_NOT_FOUND: no such tier or no such limit key. */
MUST_CHECK enum status tiers_set_limit(struct db *d, const char *id, const char *key, const char *number);
/* STATUS_INVALID (db_error) while a tenant is on it. */
MUST_CHECK enum status tiers_remove(struct db *d, const char *id);

#endif
