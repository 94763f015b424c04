/* utf8: well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). Pure. Called by every program. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the well-formed sequence at the beginning of `bytes`, or 0. `left` is at least 1. */
size_t utf8_sequence(const char *bytes, size_t left);
bool utf8_valid(const char *bytes, size_t length);

#endif
