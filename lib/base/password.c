/* password.c: Argon2id at the configured cost */
#include "lib/base/password.h"

#include <sodium.h>
#include <string.h>

_Static_assert(PASSWORD_HASH_SIZE >= crypto_pwhash_STRBYTES, "a hash fits");

static size_t memory(const struct config *c)
{
    return (size_t)c->web.password_memory_kib * 1024;
}

enum status password_hash(const struct config *c, const char *password, char out[PASSWORD_HASH_SIZE])
{
    int failed = crypto_pwhash_str(out, password, strlen(password), (unsigned long long)c->web.password_passes,
                                   memory(c));

    return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

bool password_is(const char *hash, const char *password)
{
    return crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
}

bool password_is_stale(const struct config *c, const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, (unsigned long long)c->web.password_passes, memory(c)) != 0;
}
