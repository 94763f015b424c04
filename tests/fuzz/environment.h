/*
 * environment: lines of an input as the parameters that a server hands over, up to an empty line.
 *
 * Freed with environment_free.
 */
#ifndef FUZZ_ENVIRONMENT_H
#define FUZZ_ENVIRONMENT_H

#include "tests/fuzz/input.h"

#define ENVIRONMENT_LINES 64

static inline void environment_read(struct input *in, char *environment[ENVIRONMENT_LINES + 1])
{
    size_t n = 0;

    while (n < ENVIRONMENT_LINES && in->left > 0) {
        char *line = input_line(in);
        if (!*line) {
            free(line);
            break;
        }
        environment[n++] = line;
    }
    environment[n] = NULL;
}

static inline void environment_free(char *environment[ENVIRONMENT_LINES + 1])
{
    for (; *environment; environment++)
        free(*environment);
}

#endif
