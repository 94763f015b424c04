/*
 * event_input: a request's body as events, in any form that POST /api/usage/events takes; each is checked, each fault named.
 *
 *   application/json                      one object or an array: tenant_id, metric_type, metric_value (or a gauge's delta), recorded_at,
 *                                        metadata, id
 *   application/x-ndjson                  the same, one object a line
 *   application/cloudevents+json          CloudEvents 1.0: type is the metric, subject the tenant, data.value the value
 *   application/cloudevents-batch+json    an array of them
 *   any other with a ce-specversion header: binary mode, the body is data
 *
 * Nothing is stored here. All memory is the request's pool. Called by tollgate-web; needs no database.
 */
#ifndef WEB_EVENT_INPUT_H
#define WEB_EVENT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/event.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/web/request.h"

#define EVENT_INPUT_PAST_US (INT64_C(35) * 86400 * 1000000)
#define EVENT_INPUT_AHEAD_US (INT64_C(5) * 60 * 1000000)
#define EVENT_INPUT_SOURCE "api" /* of plain events that carry an id */
#define EVENT_INPUT_COST 64      /* of json_read: an event may have about so many values, on average of a full body */
#define EVENT_INPUT_ERRORS 1000  /* errors that are listed; more are counted */

struct event_error {
    size_t index;      /* in the body, from 0 */
    const char *field; /* "" when it is the whole event */
    const char *code, *message;
};

struct event_rules {
    const struct limit_catalogue *catalogue;
    const char *tenant; /* the key's; NULL: an operator's key, each event names its own */
    const char *named;  /* X-Tenant-ID of an operator, for events that name none; or NULL */
    size_t max;         /* events in a body */
    int64_t now_us;
    /* The state of a tenant; STATUS_NOT_FOUND, STATUS_UNAVAILABLE. */
    enum status (*state)(void *arg, const char *tenant, enum limit_state *out);
    void *arg;
};

struct event_input {
    struct event *events; /* the good ones, in their order; texts in the pool */
    uint8_t *metrics;     /* of each: index in the catalogue */
    size_t n, total;      /* good ones, all */
    struct event_error *errors;
    size_t n_errors, n_listed;
};

/*
 * STATUS_OK: read, maybe with errors. STATUS_INVALID: the body as a whole is wrong, `why` says how (400, 413, 415).
 * STATUS_UNAVAILABLE: a tenant could not be looked up. STATUS_NO_MEMORY.
 */
MUST_CHECK enum status event_input_read(const struct request *r, const struct event_rules *rules,
                                        struct event_input *out, struct request_refusal *why);

#endif
