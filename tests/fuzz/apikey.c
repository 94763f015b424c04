/*
 * apikey.c: any value of the header that carries the key: what is found is one word of it, and is found again when it is sent alone.
 *
 * The first line is the header's name, empty for Authorization; the rest its value.
 */
#include <ctype.h>
#include <sodium.h>
#include <stdio.h>

#include "lib/meter/apikey.h"
#include "tests/fuzz/input.h"

#define TEXT_BYTES 16384

/* Sends `key` after `before` and wants the same key. */
static void must_come_back(const struct apikey_source *s, const char *before, const char *key, size_t length)
{
    char text[TEXT_BYTES], room[APIKEY_ROOM];
    const char *again;
    size_t n;
    snprintf(text, sizeof text, "%s%.*s", before, (int)length, key);
    must(apikey_find(s, text, room, &again, &n) && n == length && memcmp(again, key, n) == 0);
    snprintf(text, sizeof text, "%s%.*s, Bearer x", before, (int)length, key);
    must(!apikey_find(s, text, room, &again, &n));
}

static void must_come_back_as_user(const struct apikey_source *s, const char *key, size_t length)
{
    char text[TEXT_BYTES] = "basic ", plain[APIKEY_ROOM + 1], room[APIKEY_ROOM];
    const char *again;
    size_t n;
    memcpy(plain, key, length);
    plain[length] = ':';
    sodium_bin2base64(text + 6, sizeof text - 6, (const unsigned char *)plain, length + 1,
                      sodium_base64_VARIANT_ORIGINAL);
    must(apikey_find(s, text, room, &again, &n) && n == length && memcmp(again, key, n) == 0);
}

static void look_for_key(const struct apikey_source *s, const char *value)
{
    unsigned char hash[APIKEY_HASH_BYTES];
    char *room = malloc(APIKEY_ROOM); /* of this very size: a byte too far is seen */
    const char *key = NULL;
    size_t length = 0;
    must(room != NULL);
    if (apikey_find(s, value, room, &key, &length)) {
        bool decoded = key == room;
        must(length > 0 && !memchr(key, '\0', length));
        must(decoded || (key >= value && key + length <= value + strlen(value)));
        must((apikey_hash(key, length, hash) == STATUS_OK) == (length <= APIKEY_MAX));
        if (decoded) {
            must(s->authorization && length < APIKEY_ROOM && !memchr(key, ':', length));
            if (length + 2 < APIKEY_ROOM)
                must_come_back_as_user(s, key, length);
        } else {
            must(!memchr(key, ' ', length) && !memchr(key, '\t', length) && !memchr(key, ',', length));
            must_come_back(s, s->authorization ? "bEARER  " : "", key, length);
        }
    }
    free(room);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct input in = {data, size};
    struct apikey_source s;
    char *header = input_line(&in), *value = input_line(&in);
    if (strlen(value) < TEXT_BYTES - 64) {
        apikey_source_init(&s, *header ? header : "Authorization");
        must(strncmp(s.variable, "HTTP_", 5) == 0 && strlen(s.variable) < sizeof s.variable);
        for (const char *p = s.variable; *p; p++)
            must(*p != '-' && !islower((unsigned char)*p));
        look_for_key(&s, value);
    }
    free(header);
    free(value);
    return 0;
}
