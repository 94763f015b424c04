/*
 * responder: the FastCGI side of tollgate-web: many connections in one process, of which only whole requests are served.
 *
 * Requests are collected side by side, and answers are sent side by side, so a client that sends or reads slowly holds
 * some memory and no process. Each request has a total time to arrive, and its answer one to be taken; what takes longer
 * is told so where an answer is possible, and closed. What the connections hold together is bounded. A request is shown
 * twice when its body is not there yet: first with its parameters alone, to be refused or put back to wait. FastCGI
 * Specification 1.0, role responder, one request at a time on a connection; FCGI_KEEP_CONN is heeded, and a connection
 * that is kept and idle is closed only when there are too many. Owns the connections; the listener is prefork's. Called by
 * tollgate-web, in a child of prefork.
 */
#ifndef WEB_RESPONDER_H
#define WEB_RESPONDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

enum responder_trouble {
    RESPONDER_FINE,
    RESPONDER_LATE,     /* the body did not arrive in time */
    RESPONDER_TOO_LONG, /* it grew beyond what responder_wait allowed */
    RESPONDER_CROWDED,  /* the connections hold too much together */
};

/* Lives until it is answered or put back. */
struct responder_request {
    char *const *environment; /* "NAME=value", NULL behind the last */
    const char *body;         /* NUL-terminated; what has arrived */
    size_t body_length;
    bool whole; /* the body's end has come */
    enum responder_trouble trouble;
    void *kept; /* by responder_later; NULL at first */
};

struct responder;

/* `timeout_us` for a request to arrive and for an answer to be taken; `memory` bytes of large bodies held together. */
MUST_CHECK enum status responder_create(int listener, int64_t timeout_us, size_t memory, struct responder **out);
void responder_destroy(struct responder *r); /* `r` may be NULL */
/* The next request; NULL: it is time to end. */
const struct responder_request *responder_next(struct responder *r);
/* Puts the request of responder_next back until its body, of at most `most` bytes, is whole. */
void responder_wait(struct responder *r, size_t most);
/*
 * Puts a whole request back until `at_us` (monotonic); its body goes. Then it is shown again with `kept`, which is let go of
 * when it is answered or its connection ends. False, and nothing done, when too many are put back already; never for one
 * that was put back before.
 */
MUST_CHECK bool responder_later(struct responder *r, int64_t at_us, void *kept, void (*let_go)(void *kept));
/* Answers it; `bytes` are header lines, an empty line and the body. */
void responder_answer(struct responder *r, const char *bytes, size_t length);

#endif
