/* session.c: the sign-in cookie */
#include "lib/web/session.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

void session_hash(const void *bytes, size_t length, char out[SESSION_HASH_SIZE])
{
    unsigned char hash[32];

    crypto_generichash(hash, sizeof(hash), bytes, length, NULL, 0);
    memcpy(out, "\\x", 2);
    sodium_bin2hex(out + 2, SESSION_HASH_SIZE - 2, hash, sizeof(hash));
}

static void cookie_name(const char *name, bool secure, char out[64])
{
    snprintf(out, 64, "%s%s", secure ? "__Host-" : "", name);
}

enum status session_cookie_read(const struct request *r, const char *name, bool secure,
                                unsigned char token[SESSION_BYTES])
{
    unsigned char read[SESSION_BYTES];
    const char *value;
    char full[64];
    size_t length;

    cookie_name(name, secure, full);
    value = request_cookie(r, full);
    if (!value || sodium_base642bin(read, sizeof(read), value, strlen(value), NULL, &length, NULL, VARIANT) != 0 ||
        length != sizeof(read))
        return STATUS_NOT_FOUND;
    memcpy(token, read, sizeof(read));
    return STATUS_OK;
}

void session_cookie_set(struct response *response, const char *name, bool secure,
                        const unsigned char token[SESSION_BYTES])
{
    char full[64], value[64] = "", line[256];

    cookie_name(name, secure, full);
    if (token)
        sodium_bin2base64(value, sizeof(value), token, SESSION_BYTES, VARIANT);
    snprintf(line, sizeof(line), "%s=%s; Path=/; HttpOnly; SameSite=Lax%s%s", full, value, secure ? "; Secure" : "",
             !token ? "; Max-Age=0" : "");
    response_header(response, "Set-Cookie", line);
}
