/*
 * password: what people sign in with, hashed by Argon2id into libsodium's text form, which names its own cost.
 *
 * The cost is configured (web.password_*); a hash of another cost stays good and is renewed at the next sign-in, the only
 * moment at which the password is there. Owns nothing; needs sodium_init. Called by tollgate-web and tollgate.
 */
#ifndef BASE_PASSWORD_H
#define BASE_PASSWORD_H

#include <stdbool.h>

#include "lib/base/config.h"
#include "lib/base/status.h"

#define PASSWORD_HASH_SIZE 128

/* STATUS_NO_MEMORY: it takes config's web.password_memory_kib. */
MUST_CHECK enum status password_hash(const struct config *c, const char *password, char out[PASSWORD_HASH_SIZE]);
/* In the time that the hash's own cost asks for; false also when `hash` is not one. */
MUST_CHECK bool password_is(const char *hash, const char *password);
/* Was the hash made at another cost than the configured one? */
MUST_CHECK bool password_is_stale(const struct config *c, const char *hash);

#endif
