/*
 * enforce: whether the database itself refuses rows beyond a tenant's plan (sql/functions/enforce.sql).
 *
 * Part of the caller's transaction (db_begin), as the owner. Called by the command line.
 */
#ifndef STORE_ENFORCE_H
#define STORE_ENFORCE_H

#include <stdbool.h>

#include "lib/store/db.h"

MUST_CHECK enum status enforce_set(struct db *d, const char *tenant, bool on);
/* tenant, enforced, metric, limit (NULL: none), used. The caller frees the rows. */
MUST_CHECK enum status enforce_list(struct db *d, struct db_rows **rows);
/* The ids of all tenants that can be enforced. */
MUST_CHECK enum status enforce_tenants(struct db *d, struct db_rows **rows);

#endif
