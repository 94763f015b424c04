/*
 * accounts: people who sign in, as the command line sees and changes them; the host's `users` are not among them.
 *
 * Each function is part of the caller's transaction (db_begin with no tenant, as the owner); rows belong to the caller.
 * An e-mail address is compared in lower case. Whatever changes what an account may do ends its sessions.
 */
#ifndef STORE_ACCOUNTS_H
#define STORE_ACCOUNTS_H

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

#endif
