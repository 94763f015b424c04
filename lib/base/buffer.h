/*
 * buffer: bytes that grow, bounded.
 *
 * The caller owns the struct; buffer_term frees what it holds. An append beyond `max`, or without memory, sets `failed`
 * and appends nothing more, so that a caller checks once at the end. Always NUL-terminated when data is not NULL.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/status.h"

struct buffer {
    char *data;
    size_t length, capacity, max;
    bool failed;
};

/* `max` bytes at most; 0: 16 MiB. */
void buffer_init(struct buffer *b, size_t max);
void buffer_term(struct buffer *b);
/* Empty again, keeps its memory; clears `failed`. */
void buffer_clear(struct buffer *b);
void buffer_add(struct buffer *b, const void *bytes, size_t length);
void buffer_text(struct buffer *b, const char *text);
void buffer_format(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
