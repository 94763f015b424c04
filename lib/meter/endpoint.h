/*
 * endpoint: a request's path as the server in front sees it, and its normalised form for rollups.
 *
 * Authorizers get only REQUEST_URI, raw, so what is metered is decided on the path as lighttpd, Apache and nginx resolve
 * it: percent-decoded once, dot segments removed, double slashes merged. What servers disagree on (an encoded slash,
 * backslash or NUL, broken or doubly encoded percent signs, a dot segment that climbs above the root, control characters,
 * a path that is not absolute) is refused as STATUS_INVALID and becomes 400. Pure; no allocation. Gate and web.
 */
#ifndef METER_ENDPOINT_H
#define METER_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/status.h"

#define ENDPOINT_PATH_SIZE 2048 /* longest resolved path, with its NUL; a longer one is STATUS_LIMIT */
#define ENDPOINT_NAME_SIZE 160  /* longest normalised endpoint, with its NUL; longer ones end in "…" */

/* Resolves the path of `uri` (up to '?' or '#'; absolute-form "http://host/x" gives "/x"). */
MUST_CHECK enum status endpoint_resolve(const char *uri, char path[ENDPOINT_PATH_SIZE], size_t *length);
/* `/orders/123` → `/orders/:id`: segments that are numbers, UUIDs, hex of 8 and more, ULIDs, or have a digit and are long. */
size_t endpoint_normalise(const char *path, size_t length, char name[ENDPOINT_NAME_SIZE]);

#endif
