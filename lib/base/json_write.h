/*
 * json_write: a JSON document into the caller's memory, without allocating.
 *
 * What does not fit sets `failed`, and json_write_end then gives 0: nobody sends half a document. In an array, and for the
 * document itself, `name` is NULL. Text is escaped; a byte that is no UTF-8 becomes U+FFFD. The gate's answers and records,
 * tollgate-web's records and the command line are written with it; documents that are read and changed are json-c's.
 */
#ifndef BASE_JSON_WRITE_H
#define BASE_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_WRITE_DEPTH 8

struct json_write {
    char *out;
    size_t size, length;
    bool failed, first; /* first: no comma before the next value */
    int depth;
    char closing[JSON_WRITE_DEPTH];
};

/* Begins a document of at most `size` bytes with its NUL, as an object. */
void json_write_begin(struct json_write *w, char *out, size_t size);
void json_write_array(struct json_write *w, const char *name);
/* Closes what was opened last. */
void json_write_close(struct json_write *w);
void json_write_text(struct json_write *w, const char *name, const char *value);
void json_write_integer(struct json_write *w, const char *name, int64_t value);
void json_write_count(struct json_write *w, const char *name, uint64_t value);
void json_write_boolean(struct json_write *w, const char *name, bool value);
/* Closes everything; the document's length, 0 when it did not fit. */
size_t json_write_end(struct json_write *w);

/*
 * A document that PostgreSQL printed, with each number of more than 18 digits before the point as 1.234e+40: json-c cuts whole
 * numbers at 64 bits and takes no number beyond a double, which such a one becomes at most. The caller frees it; NULL: no memory.
 */
char *json_fit_numbers(const char *text);

#endif
