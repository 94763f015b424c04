/*
 * csrf: was this form sent by a page of ours? A token on each form, and the browser's Origin.
 *
 * A form's token is a hash keyed by the secret in the sender's own cookie: the session's, or before the sign-in one of
 * its own. A foreign page can make a browser send the cookie, but reads neither it nor the token. Owns nothing; needs
 * sodium_init. Called by tollgate-web.
 */
#ifndef WEB_CSRF_H
#define WEB_CSRF_H

#include <stdbool.h>

#include "lib/web/request.h"

#define CSRF_SECRET_BYTES 32
#define CSRF_TOKEN_SIZE 64 /* base64url of 32 bytes with its NUL is 44 */

void csrf_token(const unsigned char secret[CSRF_SECRET_BYTES], char out[CSRF_TOKEN_SIZE]);
/* In constant time; NULL is wrong. */
bool csrf_token_is(const unsigned char secret[CSRF_SECRET_BYTES], const char *token);
/*
 * Does the form come from this site? `public_url` is its origin ("": what the Host header names). A request without
 * Origin passes: browsers send one with every POST.
 */
bool csrf_origin_is_own(const struct request *r, const char *public_url);

#endif
