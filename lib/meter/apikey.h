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

/* The header that carries the key ([gate] key_header), and what is said to a caller who sends none. */
struct apikey_source {
    bool authorization; /* else the header's whole value is the key */
    char variable[64];  /* as CGI names it: "HTTP_AUTHORIZATION" */
    char advice[96];    /* "Send Authorization: Bearer with your key." */
    char challenge[96]; /* WWW-Authenticate's value */
};
void apikey_source_init(struct apikey_source *s, const char *header);
#define APIKEY_ROOM 1024
/*
 * The key in the header's value. Of Authorization: `Bearer KEY`, or Basic's user name (the password may be anything);
 * the scheme in any case. Of another header: the value. False when there is none, or more than one, as when a server has
 * joined a repeated header with a comma. `*key` points into `value` or `room`. No allocation.
 */
MUST_CHECK bool apikey_find(const struct apikey_source *s, const char *value, char room[APIKEY_ROOM], const char **key,
                            size_t *length);

#endif
