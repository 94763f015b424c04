/* buffer.c: bytes that grow, bounded */
#include "lib/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX ((size_t)16 << 20)
#define FIRST_CAPACITY ((size_t)256)

void buffer_init(struct buffer *b, size_t max)
{
    *b = (struct buffer){.max = max ? max : DEFAULT_MAX};
}

void buffer_term(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){.max = b->max};
}

void buffer_clear(struct buffer *b)
{
    b->length = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

/* Room for `more` bytes and a NUL. */
static bool reserve(struct buffer *b, size_t more)
{
    size_t want;
    char *grown;

    if (b->failed || more > b->max - b->length) {
        b->failed = true;
        return false;
    }
    if (b->length + more < b->capacity)
        return true;
    want = b->capacity ? b->capacity * 2 : FIRST_CAPACITY;
    if (want < b->length + more + 1)
        want = b->length + more + 1;
    grown = realloc(b->data, want);
    if (!grown) {
        b->failed = true;
        return false;
    }
    b->data = grown;
    b->capacity = want;
    return true;
}

void buffer_add(struct buffer *b, const void *bytes, size_t length)
{
    if (!reserve(b, length))
        return;
    if (length)
        memcpy(b->data + b->length, bytes, length);
    b->length += length;
    b->data[b->length] = 0;
}

void buffer_text(struct buffer *b, const char *text)
{
    buffer_add(b, text, strlen(text));
}

void buffer_format(struct buffer *b, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (!reserve(b, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(b->data + b->length, (size_t)n + 1, format, args);
    va_end(args);
    b->length += (size_t)n;
}
