/* apikey.c: making, hashing and finding keys in headers */
#include "lib/meter/apikey.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#define SECRET_BYTES 32
#define SCHEME "Bearer"

enum status apikey_make(char text[APIKEY_TEXT_SIZE], char id[APIKEY_ID_SIZE])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char secret[SECRET_BYTES];
    char encoded[sodium_base64_ENCODED_LEN(SECRET_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    if (sodium_init() < 0)
        return STATUS_IO;
    for (size_t i = 0; i < APIKEY_ID_SIZE - 1; i++)
        id[i] = letters[randombytes_uniform(32)];
    id[APIKEY_ID_SIZE - 1] = '\0';
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(encoded, sizeof encoded, secret, sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(text, APIKEY_TEXT_SIZE, "tg_%s_%s", id, encoded);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(encoded, sizeof encoded);
    return STATUS_OK;
}

enum status apikey_hash(const char *text, size_t length, unsigned char hash[APIKEY_HASH_BYTES])
{
    if (length == 0 || length > APIKEY_MAX)
        return STATUS_INVALID;
    crypto_generichash_blake2b(hash, APIKEY_HASH_BYTES, (const unsigned char *)text, length, NULL, 0);
    return STATUS_OK;
}

bool apikey_bearer(const char *header, const char **token, size_t *length)
{
    size_t scheme = strlen(SCHEME);
    if (strncasecmp(header, SCHEME, scheme) != 0 || header[scheme] != ' ')
        return false;
    const char *at = header + scheme + strspn(header + scheme, " ");
    size_t n = strcspn(at, " \t,");
    if (n == 0 || at[n + strspn(at + n, " \t")] != '\0') /* a second token, or a second header joined with a comma */
        return false;
    *token = at;
    *length = n;
    return true;
}
