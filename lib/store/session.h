/*
 * session: sessions of the pages, and the tries to begin one; each through a SECURITY DEFINER function that web may call.
 *
 * Each function is part of the caller's transaction. Hashes are bytea texts ("\x…"). Called by tollgate-web.
 */
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include <stdint.h>

#include "lib/store/accounts.h"
#include "lib/store/db.h"

MUST_CHECK enum status session_store(struct db *d, const char *token_hash, int64_t account);
/* STATUS_NOT_FOUND: no such session, or it has expired. */
MUST_CHECK enum status session_lookup(struct db *d, const char *token_hash, int64_t idle_s, int64_t absolute_s,
                                      struct account *out);
MUST_CHECK enum status session_remove(struct db *d, const char *token_hash);
/*
 * Counts a try of this account from this address (hashes) as failed until signin_ok; *seconds is how long to wait, 0: go on.
 */
MUST_CHECK enum status signin_try(struct db *d, const char *account, const char *address, int64_t *seconds);
MUST_CHECK enum status signin_ok(struct db *d, const char *account, const char *address);

#endif
