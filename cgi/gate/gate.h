/*
 * gate: one call from its FastCGI parameters to the answer: identify, decide, append.
 *
 * A gate process owns one `struct gate`: its mapping of the limit table, its segment of the spool, and a cache of callers
 * that it has identified, so that a lost limit table does not stop those who are known (on_failure=admit). After
 * gate_open a call allocates nothing and makes one system call, the append.
 */
#ifndef GATE_GATE_H
#define GATE_GATE_H

#include <stdint.h>

#include "cgi/gate/answer.h"
#include "lib/base/config.h"
#include "lib/base/status.h"

struct gate;

/* `config` must outlive the gate. A table that is not there yet is no error: calls get 503 until it is. */
MUST_CHECK enum status gate_open(const struct config *config, struct gate **out);
void gate_close(struct gate *g);
/*
 * `environment`: the request's FastCGI parameters, "NAME=value", NULL-terminated, as libfcgi hands them over.
 * `began_us`: when the call came, monotonic; the latency histogram counts from there.
 */
void gate_answer(struct gate *g, char *const *environment, int64_t began_us, struct answer *answer);

#endif
