/*
 * accounts: people who sign in; the host's `users` are not among them.
 *
 * Each function is part of the caller's transaction; rows belong to the caller. accounts_* are the command line's, as the owner;
 * account_*, session_* and signin_* are tollgate-web's, through SECURITY DEFINER functions. An e-mail address is compared in lower case. Whatever
 * changes what an account may do ends its sessions. Hashes of tokens are bytea texts ("\x…").
 */
#ifndef STORE_ACCOUNTS_H
#define STORE_ACCOUNTS_H

#include <stdint.h>

#include "lib/store/db.h"

/* email, tenant (NULL: an operator), role, created, last sign-in, open sessions; `tenant` NULL: all */
MUST_CHECK enum status accounts_list(struct db *d, const char *tenant, struct db_rows **rows);
MUST_CHECK enum status accounts_show(struct db *d, const char *email, struct db_rows **rows);
/* `hash` is Argon2id in libsodium's text form. STATUS_EXISTS. */
MUST_CHECK enum status accounts_create(struct db *d, const char *email, const char *tenant, const char *role,
                                       const char *hash);
/* What is NULL stays. STATUS_NOT_FOUND; STATUS_EXISTS: the new address is taken. */
MUST_CHECK enum status accounts_change(struct db *d, const char *email, const char *new_email, const char *role,
                                       const char *hash);
MUST_CHECK enum status accounts_remove(struct db *d, const char *email);

struct account {
    int64_t id;
    char email[321], role[16], tenant[256]; /* tenant "": an operator */
    char password_hash[256];                /* of account_find only */
};

/* STATUS_NOT_FOUND. */
MUST_CHECK enum status account_find(struct db *d, const char *email, struct account *out);
/* A new password of the session's account; ends all its sessions. */
MUST_CHECK enum status account_set_password(struct db *d, const char *token_hash, const char *hash);
/* Another hash of the same password, unless the account has a new one meanwhile; sessions stay. */
MUST_CHECK enum status account_renew_hash(struct db *d, const struct account *account, const char *hash);

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
