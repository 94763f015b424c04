/* status.c: a text for each status */
#include "lib/base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const texts[STATUS_COUNT] = {
    [STATUS_OK] = "ok",
    [STATUS_INVALID] = "invalid",
    [STATUS_NOT_FOUND] = "not found",
    [STATUS_EXISTS] = "exists already",
    [STATUS_DENIED] = "not allowed",
    [STATUS_LIMIT] = "limit reached",
    [STATUS_NO_MEMORY] = "out of memory",
    [STATUS_NO_SPACE] = "no space left",
    [STATUS_IO] = "input or output failed",
    [STATUS_DAMAGED] = "damaged",
    [STATUS_VERSION] = "of another version",
    [STATUS_UNAVAILABLE] = "not available",
    [STATUS_TIMEOUT] = "took too long",
    [STATUS_FENCED] = "another process has taken its place",
    [STATUS_FAILED] = "failed in the database",
    [STATUS_CONFLICT] = "in conflict with another process",
    [STATUS_END] = "at the end",
};

const char *status_text(enum status s)
{
    return (unsigned)s < STATUS_COUNT ? texts[s] : "unknown status";
}

enum status status_say(enum status s, char problem[PROBLEM_SIZE], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(problem, PROBLEM_SIZE, format, args);
    va_end(args);
    return s;
}
