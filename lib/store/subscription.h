/*
 * subscription: a tenant's plan with its overrides. Callers are in a transaction (db_begin); *rows are freed with db_rows_free.
 * Called by tollgate-web.
 */
#ifndef STORE_SUBSCRIPTION_H
#define STORE_SUBSCRIPTION_H

#include "lib/store/db.h"

enum subscription_column {
    SUBSCRIPTION_TENANT,
    SUBSCRIPTION_TIER,
    SUBSCRIPTION_TIER_NAME,
    SUBSCRIPTION_STATE,
    SUBSCRIPTION_LIMITS, /* JSON objects, from here on */
    SUBSCRIPTION_OVERRIDES,
    SUBSCRIPTION_TIER_LIMITS,
    SUBSCRIPTION_USAGE,
};
/* One row; tier is NULL when the tenant has no subscription. STATUS_NOT_FOUND: no such tenant. */
MUST_CHECK enum status subscription_read(struct db *d, const char *tenant, struct db_rows **rows);
/*
 * Sets the tier (NULL: stays) and overrides (`limits`, a JSON object, null removes one; NULL: stay). STATUS_INVALID
 * with db_sqlstate TG001 (unknown key), TG002 (tier), TG003 (value): db_error says what, db_detail where. STATUS_NOT_FOUND.
 */
MUST_CHECK enum status subscription_set(struct db *d, const char *tenant, const char *tier, const char *limits);

#endif
