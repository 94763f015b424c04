/*
 * metrics_json: every metric with its limits as JSON, the same in the API and on the command line (docs/api.md, "Usage").
 */
#ifndef WEB_METRICS_JSON_H
#define WEB_METRICS_JSON_H

#include <json-c/json.h>

#include "lib/meter/standing.h"

/* An array with an object a limit, and one a metric that has none. The caller's. */
struct json_object *metrics_json(const struct standing_limit limits[], size_t n);

#endif
