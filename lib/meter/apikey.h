/*
 * apikey: a program's secret, `tg_<8-character id>_<32 random bytes, base64url without padding>`.
 *
 * The id (base32 letters a-z2-7) is public and shown in lists; BLAKE2b-256 of the whole text is what the database and
 * the limit table hold. Pure but for apikey_make, which draws from libsodium. Gate and web hash, the command line makes.
 * A demo's token (`DEMO_TOKEN`) is any other text: it is hashed the same way.
 */
#ifndef METER_APIKEY_H
#define METER_APIKEY_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/status.h"

#define APIKEY_TEXT_SIZE 56 /* 3 + 8 + 1 + 43, with its NUL */
#define APIKEY_ID_SIZE 9
#define APIKEY_HASH_BYTES 32
#define APIKEY_MAX 255 /* longest text that is looked up at all */

MUST_CHECK enum status apikey_make(char text[APIKEY_TEXT_SIZE], char id[APIKEY_ID_SIZE]);
/* STATUS_INVALID for an empty text or one above APIKEY_MAX. No allocation. */
MUST_CHECK enum status apikey_hash(const char *text, size_t length, unsigned char hash[APIKEY_HASH_BYTES]);
/* The token of an `Authorization: Bearer …` value (scheme in any case, one token); false when it is none. */
bool apikey_bearer(const char *header, const char **token, size_t *length);

#endif
