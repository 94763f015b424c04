/*
 * limits: what an operator sets: limits of tenants and tiers, their modes, and the list of what is in force.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller. The words are
 * the operator's; what is wrong with one is STATUS_INVALID, and db_error says what to write (sql/functions/limit_settings.sql).
 */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#include "lib/meter/limit.h"
#include "lib/store/capacity.h"
#include "lib/store/db.h"

/* Whose limit: exactly one is set. For limits_list neither or one. */
struct limit_owner {
    const char *tenant, *tier, *key;
};

/* What to set; NULL stays as it is. reason "": none. */
struct limit_values {
    const char *number; /* "500", "unlimited" */
    const char *mode;   /* "hard", "soft", "grace" */
    const char *grace_percent, *grace_until;
    const char *expires; /* not of a tier's */
    const char *reason;
};

MUST_CHECK enum status limits_set(struct db *d, const struct limit_owner *of, const char *limit,
                                  const struct limit_values *v);
MUST_CHECK enum status limits_remove(struct db *d, const struct limit_owner *of, const char *limit);
/* A one-off allowance beyond the plan; *rows: its number. `until`: the last day, or "30d". STATUS_LIMIT: `full` says what is there. */
MUST_CHECK enum status limits_grant(struct db *d, const char *tenant, const char *limit, const char *amount,
                                    const char *until, const char *reason, struct db_rows **rows,
                                    char full[CAPACITY_TEXT]);
/* What is left of it. */
MUST_CHECK enum status limits_take_back(struct db *d, const char *tenant, const char *credit);
/* Who uses more than this limit as it is now: tenant, limit, used, limit's number, mode. */
MUST_CHECK enum status limits_over(struct db *d, const struct limit_owner *of, const char *limit,
                                   struct db_rows **rows);
/* "tenant", "tier" or "key", its id, limit, number, used, whose number it is, mode, grace_percent, grace_until, expires, reason. */
MUST_CHECK enum status limits_list(struct db *d, const struct limit_owner *of, struct db_rows **rows);
/*
 * The limit in columns `first` to `first` + 5, as tollgate.feed_limits has them: max, expires, after_expiry, mode, grace_percent,
 * grace_until; amounts in millionths, times in microseconds. Null: max is unlimited, expires never.
 */
struct limit limits_row(const struct db_rows *rows, size_t row, int first, uint8_t window);

#endif
