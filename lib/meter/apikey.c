/* apikey.c: making, hashing and finding keys in headers */
#include "lib/meter/apikey.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#define SECRET_BYTES 32

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
    randombytes_buf(secret, sizeof(secret));
    sodium_bin2base64(encoded, sizeof(encoded), secret, sizeof(secret), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(text, APIKEY_TEXT_SIZE, "tg_%s_%s", id, encoded);
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(encoded, sizeof(encoded));
    return STATUS_OK;
}

enum status apikey_hash(const char *text, size_t length, unsigned char hash[APIKEY_HASH_BYTES])
{
    if (length == 0 || length > APIKEY_MAX)
        return STATUS_INVALID;
    crypto_generichash_blake2b(hash, APIKEY_HASH_BYTES, (const unsigned char *)text, length, NULL, 0);
    return STATUS_OK;
}

void apikey_source_init(struct apikey_source *s, const char *header)
{
    *s = (struct apikey_source){.authorization = strcasecmp(header, "Authorization") == 0};
    size_t n = (size_t)snprintf(s->variable, sizeof(s->variable), "HTTP_%s", header);
    for (size_t i = 0; i < n && i < sizeof(s->variable) - 1; i++)
        s->variable[i] = s->variable[i] == '-' ? '_' : (char)toupper((unsigned char)s->variable[i]);
    if (s->authorization) {
        snprintf(s->advice, sizeof(s->advice), "Send Authorization: Bearer with your key.");
        snprintf(s->challenge, sizeof(s->challenge), "Bearer realm=\"tollgate\"");
    } else {
        snprintf(s->advice, sizeof(s->advice), "Send your key in the header %s.", header);
        snprintf(s->challenge, sizeof(s->challenge), "ApiKey realm=\"tollgate\", header=\"%s\"", header);
    }
}

/* What stands behind the scheme; NULL when the value has another one. */
static const char *behind_scheme(const char *value, const char *scheme)
{
    size_t n = strlen(scheme);
    if (strncasecmp(value, scheme, n) != 0 || value[n] != ' ')
        return NULL;
    return value + n + strspn(value + n, " ");
}

/* The one word of `at`; false when there is another behind it, or a second header joined with a comma. */
static bool one_word(const char *at, const char **word, size_t *length)
{
    at += strspn(at, " \t");
    size_t n = strcspn(at, " \t,");
    if (n == 0 || at[n + strspn(at + n, " \t")] != '\0')
        return false;
    *word = at;
    *length = n;
    return true;
}

bool apikey_find(const struct apikey_source *s, const char *value, char room[APIKEY_ROOM], const char **key,
                 size_t *length)
{
    const char *word = value, *at;
    size_t n;
    if (!s->authorization)
        return one_word(value, key, length);
    at = behind_scheme(value, "Bearer");
    if (at)
        return one_word(at, key, length);
    at = behind_scheme(value, "Basic");
    if (!at || !one_word(at, &word, &n) ||
        sodium_base642bin((unsigned char *)room, APIKEY_ROOM - 1, word, n, NULL, &n, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0)
        return false;
    const char *colon = memchr(room, ':', n);
    *key = room;
    *length = colon ? (size_t)(colon - room) : 0;
    return *length > 0 && !memchr(room, '\0', *length);
}
