/*
 * node: what can be seen of this node without PostgreSQL: the collector's status and the spool. Used by /metrics, the operator's
 * status page and `tollgate doctor`.
 */
#ifndef WEB_NODE_H
#define WEB_NODE_H

#include <json-c/json.h>

#include "lib/base/status.h"

/* collector.json of paths.run_dir; NULL: the collector has not written it, or it can't be read. The caller puts it. */
struct json_object *node_collector(const char *run_dir);
/* A number of it, 0 when there is none; `status` may be NULL. */
double node_number(struct json_object *status, const char *name);
/* A text of it, "" when there is none; lives as long as `status`, which may be NULL. */
const char *node_text(struct json_object *status, const char *name);
/* When a time of it was, wall clock in microseconds; 0 when there is none. */
int64_t node_time(struct json_object *status, const char *name);
/* Seconds since then; -1 when there is none. */
double node_since(struct json_object *status, const char *name);
/* One of its lists, "workers" or "jobs"; its parts have names, and the same functions read them. *n: how many. */
struct json_object *node_parts(struct json_object *status, const char *list, size_t *n);
/* The spool's size, committed segments that are still there included. */
MUST_CHECK enum status node_spool(const char *spool_dir, uint64_t *bytes, size_t *segments);

#endif
