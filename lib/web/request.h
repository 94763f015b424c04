/*
 * request: one HTTP request as handlers see it: parsed, bounded, checked. Handlers never look at FCGI parameters.
 *
 * Everything in it but the body belongs to the request's pool and goes with it (request_term); nothing may point into it
 * afterwards. Filled from FastCGI's parameters first, so that it can be refused before its body is there. Called by
 * tollgate-web.
 */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

enum request_method { METHOD_GET = 1, METHOD_POST = 2, METHOD_PUT = 4, METHOD_DELETE = 8, METHOD_OTHER = 16 };

struct request_pair {
    const char *name, *value; /* NUL-terminated, decoded; value has no NUL within (such a request is refused) */
};

struct request {
    enum request_method method; /* HEAD is GET with `head` */
    bool head;
    bool https; /* by the server, or by X-Forwarded-Proto of a trusted proxy */
    const char *method_name;
    const char *path;       /* resolved (lib/meter/endpoint.h) */
    const char *address;    /* the client's, through trusted proxies only */
    const char *media_type; /* of the body: lower case, without parameters; "" when none */
    const char *tenant_header /* X-Tenant-ID, NULL when none */, *accept, *cookie;
    const char *body; /* NUL-terminated; may hold NULs before */
    size_t body_length;
    size_t declared;        /* bytes of the body by Content-Length; 0: none, or not known before its end */
    size_t n_query, n_form; /* form: application/x-www-form-urlencoded bodies */
    const struct request_pair *query, *form;
    const char *id;           /* a random one, for logs and problem documents */
    char *const *environment; /* FCGI's, for ce-* headers only: request_header */
    void *pool;               /* talloc context of this request */
};

/* Bounds of what is read. */
#define REQUEST_HEADER_BYTES 32768 /* all headers together */
#define REQUEST_QUERY_BYTES 8192
#define REQUEST_PAIRS 64 /* of a query, of a form */
#define REQUEST_NETWORK_SIZE 64

/* Why a request is refused before a handler sees it; the texts are static. */
struct request_refusal {
    int status;
    const char *code, *message, *detail;
};
/*
 * Fills `r` from FCGI's parameters ("NAME=value", NULL behind the last), all but the body. STATUS_INVALID: refused, see
 * `why`; id, pool, accept and media_type stand even then, so that an answer can be made. STATUS_NO_MEMORY. `trusted_proxies`:
 * comma-separated addresses, NULL: none. request_term always.
 */
MUST_CHECK enum status request_open(struct request *r, char *const environment[], const char *trusted_proxies,
                                    struct request_refusal *why);
/*
 * Gives `r` its body of `length` bytes, which has to stay and has a NUL behind it; reads a form. STATUS_INVALID: refused,
 * see `why`.
 */
MUST_CHECK enum status request_take_body(struct request *r, const char *body, size_t length,
                                         struct request_refusal *why);
void request_term(struct request *r);

/* Fills `why`; STATUS_INVALID. */
enum status request_refuse(struct request_refusal *why, int status, const char *code, const char *message,
                           const char *detail);

/*
 * Percent-decodes once into `out` (`length` + 1 bytes are enough), "+" as a space when `form`; NUL-terminates and returns
 * the length. -1: a broken percent sign, a NUL, or not UTF-8.
 */
long request_percent_decode(const char *text, size_t length, bool form, char *out);
/* The first value by that name, or NULL. */
const char *request_query(const struct request *r, const char *name);
const char *request_form(const struct request *r, const char *name);
/* A variable of the environment, such as HTTP_AUTHORIZATION: the first, or NULL; `*times` says how often it is there. */
const char *request_variable(const struct request *r, const char *name, size_t *times);
/* Any other header, e.g. "ce-id"; NULL when absent. */
const char *request_header(const struct request *r, const char *name);
/* A cookie's value in the request's pool, or NULL. */
const char *request_cookie(const struct request *r, const char *name);
/*
 * Whom an address stands for when tries are counted: itself if it is IPv4, also written as IPv6 (::ffff:192.0.2.1), else its
 * /64, which is what one customer has of IPv6 at least. What is no address stands as it is.
 */
void request_network(const char *address, char out[REQUEST_NETWORK_SIZE]);
/* Does the client prefer HTML to JSON (a browser)? By Accept; none is JSON. */
bool request_wants_html(const struct request *r);

#endif
