/*
 * session: the cookie that says who is signed in. It holds 32 bytes of randombytes_buf; the database keeps only their
 * BLAKE2b-256.
 *
 * Pure; needs sodium_init. Under HTTPS the name has the prefix __Host-, so that no other host can plant one. Called by
 * tollgate-web.
 */
#ifndef WEB_SESSION_H
#define WEB_SESSION_H

#include <stdbool.h>

#include "lib/base/status.h"
#include "lib/web/request.h"
#include "lib/web/response.h"

#define SESSION_BYTES 32
#define SESSION_HASH_SIZE 68 /* "\x" and 64 digits, as PostgreSQL reads a bytea */

/* "tollgate_session" is who is signed in; "tollgate_form" guards the sign-in form. */
#define SESSION_COOKIE "tollgate_session"
#define SESSION_FORM_COOKIE "tollgate_form"

/* Of a token, or of any text for the subjects of failed sign-ins. */
void session_hash(const void *bytes, size_t length, char out[SESSION_HASH_SIZE]);
/* STATUS_NOT_FOUND: no such cookie, or not one of ours. */
MUST_CHECK enum status session_cookie_read(const struct request *r, const char *name, bool secure,
                                           unsigned char token[SESSION_BYTES]);
/* `token` NULL: the browser forgets it. */
void session_cookie_set(struct response *response, const char *name, bool secure,
                        const unsigned char token[SESSION_BYTES]);

#endif
