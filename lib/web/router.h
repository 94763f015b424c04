/*
 * router: a const table of routes, and the one that a request means.
 *
 * A path's segment ":name" stands for any one segment (the path is decoded already, see request). Servers refuse or
 * resolve an encoded slash or dot, so a value may also hold "~2F" for a byte: two upper-case digits behind a tilde. Pure
 * but for values, which go into the request's pool. Called by tollgate-web, whose table is cgi/web/routes.c.
 */
#ifndef WEB_ROUTER_H
#define WEB_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/status.h"
#include "lib/web/request.h"

#define ROUTER_VALUES 2
#define ROUTER_VALUE_MAX 255

struct app; /* the program's context of a request, opaque here */

/* Who may. Keys are for JSON and have to have a scope, an operator's too; sessions are for pages; an operator may what an admin may. */
enum route_who {
    WHO_ANYONE,
    WHO_KEY,          /* a tenant's key, for its own tenant, or an operator's */
    WHO_KEY_OPERATOR, /* an operator's key */
    WHO_VIEWER,       /* anyone signed in */
    WHO_ADMIN,
    WHO_OPERATOR,
};

/* How long a body may be; a longer one is refused before it is read. */
enum route_body {
    BODY_NONE,   /* there need not be any; a little is read and not looked at */
    BODY_FORM,   /* 16 KiB */
    BODY_JSON,   /* 64 KiB */
    BODY_EVENTS, /* web.body_bytes */
};

struct route {
    enum request_method method;
    const char *path; /* ":id" is always a tenant's id, checked before the handler runs */
    enum route_who who;
    unsigned scopes; /* enum limit_scope: a key has to have one of them */
    enum route_body body;
    bool csrf; /* a form: its token is checked before the handler runs */
    void (*handle)(struct app *app);
};

struct route_match {
    const struct route *route;
    unsigned allowed; /* methods that this path has, or'ed */
    size_t n;
    struct {
        const char *name, *value;
    } values[ROUTER_VALUES];
};

/* STATUS_NOT_FOUND: no such path; STATUS_DENIED: not by this method, see `allowed`; STATUS_NO_MEMORY. */
MUST_CHECK enum status router_find(const struct route routes[], size_t n, const struct request *r,
                                   struct route_match *out);
/* A segment's value by its name, or NULL. */
const char *router_value(const struct route_match *m, const char *name);
/* `value` as a segment that every server leaves as it is; in `pool`, NULL without memory. */
char *router_segment(void *pool, const char *value);
/* "GET, HEAD, POST" for Allow; lives in `out`. */
const char *router_allow(unsigned allowed, char out[64]);

#endif
