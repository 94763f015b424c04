/*
 * response: what a handler answers; sent as one piece after it returns, so that an error can still replace it.
 *
 * Belongs to the request's pool. Cache-Control: private, no-store and the security headers are set unless told
 * otherwise.
 */
#ifndef WEB_RESPONSE_H
#define WEB_RESPONSE_H

#include <stddef.h>

#include "lib/base/buffer.h"
#include "lib/web/request.h"

struct json_object;

struct response {
    int status;
    const char *media_type; /* static, or in the pool */
    struct buffer headers;  /* "Name: value\r\n" lines beside the standing ones */
    struct buffer body;
};

void response_init(struct response *r);
void response_term(struct response *r);
/* A header; control characters in the value make it be left out (no header can be split). */
void response_header(struct response *r, const char *name, const char *value);
/* A JSON document; takes over the reference. */
void response_json(struct response *r, int status, struct json_object *document);
/*
 * {"error":message,"code":code,"detail":detail}; detail says what to do and may be NULL. For browsers
 * (request_wants_html) the program turns it into the error page afterwards.
 */
void response_error(struct response *r, int status, const char *code, const char *message, const char *detail);
/*
 * The whole answer as FCGI wants it ("Status: …" first) into `out`: standing headers that were not set by the handler,
 * no body for HEAD.
 */
void response_write(const struct response *r, const struct request *request, struct buffer *out);
/* 303 to a path of this site. */
void response_redirect(struct response *r, const char *path);

#endif
