/* csrf.c: tokens of forms and the Origin header */
#include "lib/web/csrf.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#define TOKEN_BYTES 32

void csrf_token(const unsigned char secret[CSRF_SECRET_BYTES], char out[CSRF_TOKEN_SIZE])
{
    static const char purpose[] = "tollgate form";
    unsigned char hash[TOKEN_BYTES];

    crypto_generichash(hash, sizeof(hash), (const unsigned char *)purpose, sizeof(purpose) - 1, secret,
                       CSRF_SECRET_BYTES);
    sodium_bin2base64(out, CSRF_TOKEN_SIZE, hash, sizeof(hash), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool csrf_token_is(const unsigned char secret[CSRF_SECRET_BYTES], const char *token)
{
    char right[CSRF_TOKEN_SIZE];
    size_t length;

    csrf_token(secret, right);
    length = strlen(right);
    return token && strlen(token) == length && sodium_memcmp(token, right, length) == 0;
}

bool csrf_origin_is_own(const struct request *r, const char *public_url)
{
    const char *origin = request_header(r, "origin"), *host = request_header(r, "host");
    const char *scheme = r->https ? "https://" : "http://";
    size_t length = strlen(public_url);

    if (!origin)
        return true;
    while (length > 0 && public_url[length - 1] == '/')
        length--;
    if (length > 0 && strlen(origin) == length && strncasecmp(origin, public_url, length) == 0)
        return true;
    return length == 0 && host && strncmp(origin, scheme, strlen(scheme)) == 0 &&
           strcasecmp(origin + strlen(scheme), host) == 0;
}
