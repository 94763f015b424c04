/*
 * answer: what the gate writes back to the web server, in a buffer of fixed size.
 *
 * An admitted call: 200 with what the back end is told (Variable-…, FastCGI's authorizer role) and the RateLimit fields.
 * A refused one: a problem document (RFC 9457) for scripts, a page for browsers. Behind nginx, whose auth_request knows
 * only 2xx, 401 and 403, a refusal is a 403 with the real status, type and body in headers that its conf maps back.
 * Nothing here allocates. Called by gate.c.
 */
#ifndef GATE_ANSWER_H
#define GATE_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/limit_table/limit_table.h"

#define ANSWER_SIZE 8192

struct answer {
    char bytes[ANSWER_SIZE];
    size_t length; /* stays below ANSWER_SIZE; what does not fit is left out */
};

/* How the caller wants refusals. */
struct answer_form {
    bool html; /* a page, not JSON */
    bool head; /* no body */
    bool nginx;
    const char *pages; /* what comes before the address of a page: "", or "/usage" */
    uint64_t number;   /* of the request: X-Request-Id, and its URN */
};

/* A refusal's words; all static. */
struct answer_problem {
    int status;
    const char *code; /* "key_unknown" */
    const char *title;
    const char *detail; /* what to do */
    const char *header; /* one more header line with its CRLF, or NULL */
};

/*
 * 200 for a call that is not counted. What the web server's configuration learns in TOLLGATE_GATE: "own" for Tollgate's own
 * API, which reads X-Tenant-ID itself, else "passed": then the client's X-Tenant-ID must not reach a back end.
 */
void answer_pass(struct answer *a, bool own);
/* 200 for a call that was counted, or let through for want of a table: "metered". */
void answer_admit(struct answer *a, const struct limit_catalogue *catalogue, const struct limit_answer *taken,
                  int64_t now_us);
void answer_refuse(struct answer *a, const struct answer_form *form, const struct answer_problem *problem);
/* 429 by the limit that `taken->decisive` names. */
void answer_limited(struct answer *a, const struct answer_form *form, const struct limit_catalogue *catalogue,
                    const struct limit_answer *taken, int64_t now_us);

#endif
