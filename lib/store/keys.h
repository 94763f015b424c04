/*
 * keys: programs' keys, as the command line sees and changes them; a key's text is never here, its hash is.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller.
 */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "lib/store/capacity.h"
#include "lib/store/db.h"

#define KEYS_HASH_TEXT 65 /* a BLAKE2b-256 hash in hexadecimal, with its NUL */

/* id, name, tenant (NULL: operator's), scopes, created, expires, last use, state (active, expired, revoked) */
MUST_CHECK enum status keys_list(struct db *d, const char *tenant, struct db_rows **rows);
MUST_CHECK enum status keys_show(struct db *d, const char *id, struct db_rows **rows);
/*
 * `scopes` is comma-separated; `expires` RFC 3339, "90d" days from now, or NULL. STATUS_EXISTS: this id or hash is there.
 * STATUS_LIMIT (capacity.h).
 */
MUST_CHECK enum status keys_create(struct db *d, const char *id, const char *hash, const char *name, const char *tenant,
                                   const char *scopes, const char *expires, char full[CAPACITY_TEXT]);
/* What is NULL stays; `expires` "never" takes the end away. STATUS_NOT_FOUND. */
MUST_CHECK enum status keys_change(struct db *d, const char *id, const char *name, const char *scopes,
                                   const char *expires);
/* For good; the row stays so that events' keys can be named. STATUS_NOT_FOUND: no such key, or revoked before. */
MUST_CHECK enum status keys_revoke(struct db *d, const char *id);

#endif
