/*
 * accounts_web: what the pages need of accounts, sessions and the operator's list; each through a SECURITY DEFINER
 * function that web may call. Hashes are bytea texts ("\x…"). Callers are in a transaction. Called by tollgate-web.
 */
#ifndef STORE_ACCOUNTS_WEB_H
#define STORE_ACCOUNTS_WEB_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/store/db.h"

struct account {
    int64_t id;
    char email[321], role[16], tenant[256]; /* tenant "": an operator */
    char password_hash[256];                /* of account_find only */
};

/* STATUS_NOT_FOUND. */
MUST_CHECK enum status account_find(struct db *d, const char *email, struct account *out);
MUST_CHECK enum status session_store(struct db *d, const char *token_hash, int64_t account);
/* STATUS_NOT_FOUND: no such session, or it has expired. */
MUST_CHECK enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                                      struct account *out);
MUST_CHECK enum status session_remove(struct db *d, const char *token_hash);
/* A new password of the session's account; ends all its sessions. */
MUST_CHECK enum status account_set_password(struct db *d, const char *token_hash, const char *hash);
/* Another hash of the same password, unless the account has a new one meanwhile; sessions stay. */
MUST_CHECK enum status account_renew_hash(struct db *d, const struct account *account, const char *hash);
/*
 * Counts a try of this account from this address (hashes) as failed until signin_ok; *seconds is how long to wait, 0: go on.
 */
MUST_CHECK enum status signin_try(struct db *d, const char *account, const char *address, int64_t *seconds);
MUST_CHECK enum status signin_ok(struct db *d, const char *account, const char *address);

/*
 * The operator's list, highest percentage first: tenant, name, tier's name, state, percent, limit's label, used, max.
 * `after_percent` and `after_id` are the last row of the page before, NULL at first.
 */
MUST_CHECK enum status tenants_by_percent(struct db *d, const char *after_percent, const char *after_id,
                                          const char *search, int n, struct db_rows **rows);
/* One row: zone, days left of the period, tenant's today, last update in the tenant's zone. */
MUST_CHECK enum status overview_period(struct db *d, const char *tenant, struct db_rows **rows);
/* 30 rows, today last: the day as text, calls. */
MUST_CHECK enum status overview_days(struct db *d, const char *tenant, struct db_rows **rows);
/* Up to `n` rows of the last 30 days: method, endpoint, calls; the most called first. */
MUST_CHECK enum status overview_endpoints(struct db *d, const char *tenant, int n, struct db_rows **rows);

#endif
