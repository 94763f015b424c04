/*
 * input: what every fuzz target needs: a check, and the parts of an input.
 *
 * A part is a copy of exactly its length and a NUL, so that the address sanitizer sees a byte read too far. The caller frees it.
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static inline void must(int holds)
{
    if (!holds)
        abort();
}

struct input {
    const unsigned char *at;
    size_t left;
};

static inline char *input_copy(const void *from, size_t length)
{
    char *copy = malloc(length + 1);

    must(copy != NULL);
    if (length > 0)
        memcpy(copy, from, length);
    copy[length] = '\0';
    return copy;
}

/* The next byte, 0 at the end. */
static inline unsigned char input_byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

/* The next line as a string without NULs: up to a NUL or a line end, which goes. */
static inline char *input_line(struct input *in)
{
    size_t n = 0;
    char *line;

    while (n < in->left && in->at[n] != '\n' && in->at[n] != '\0')
        n++;
    line = input_copy(in->at, n);
    n += n < in->left;
    in->at += n;
    in->left -= n;
    return line;
}

/* All that is left; `*length` bytes, NULs among them. */
static inline char *input_rest(struct input *in, size_t *length)
{
    *length = in->left;
    in->left = 0;
    return input_copy(in->at, *length);
}

#endif
