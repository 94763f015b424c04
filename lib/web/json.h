/*
 * json: JSON documents read with bounds, and numbers without rounding.
 *
 * Built on json-c; documents are freed with json_object_put, or with a pool by json_pool. Amounts are millionths
 * (lib/meter/event.h), read from and written as decimal text, never through a double. Called by tollgate-web.
 */
#ifndef WEB_JSON_H
#define WEB_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define JSON_DEPTH 32
#define JSON_CONTAINER_COST 8 /* an object or array, in the memory of a plain value, which costs 1 */
#define JSON_WRITE_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* Where a document is wrong. */
struct json_problem {
    size_t offset; /* byte */
    char message[128];
};

/*
 * One strict document of `length` bytes, nothing behind it but white space. STATUS_INVALID with `problem`;
 * STATUS_NO_MEMORY; STATUS_LIMIT: it would cost more than `*budget` when it is read, see JSON_CONTAINER_COST. The cost is
 * taken from `*budget`, so that several documents can share one; a NULL bounds nothing and is for texts of our own.
 */
MUST_CHECK enum status json_read(const char *text, size_t length, size_t *budget, struct json_object **out,
                                 struct json_problem *problem);
/* Frees the document with the talloc context `pool`; returns it. */
struct json_object *json_pool(void *pool, struct json_object *document);
/* An object as the database printed it, with numbers of any size; {} for anything else. */
struct json_object *json_stored(const char *text);

/* A number of a document in millionths, by decimal_parse; STATUS_INVALID when it is none. */
MUST_CHECK enum status json_millionths(struct json_object *number, int64_t *out);
/* Millionths as a number: "3", "0.25", "-1.000001". */
struct json_object *json_from_millionths(int64_t millionths);
/* A string, or JSON null when `text` is NULL. */
struct json_object *json_text(const char *text);
/* A percentage to six places, so that no binary fraction shows. */
struct json_object *json_from_percent(double percent);
/*
 * Can PostgreSQL's jsonb hold every number in it as it was sent? Not one with a thousand digits or a power of ten beyond a
 * thousand, nor a whole number of more than 64 bits, which json-c rounds.
 */
bool json_fits_database(struct json_object *document);
/* Has any string within a NUL? PostgreSQL's jsonb holds none. */
bool json_has_nul(struct json_object *document);

#endif
