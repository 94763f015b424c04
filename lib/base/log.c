/* log.c: one line, one write */
#include "lib/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *log_program = "tollgate";
static enum log_level log_most = LOG_LEVEL_INFO;

void log_init(const char *program, enum log_level most)
{
    log_program = program;
    log_most = most;
}

/* Copies `text` with control characters as \xNN, so that no text can forge a second line. Returns the bytes written. */
static size_t escape(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (const unsigned char *p = (const unsigned char *)text; *p && n + 4 < size; p++) {
        if (*p >= 0x20 && *p != 0x7f) {
            out[n++] = (char)*p;
            continue;
        }
        out[n++] = '\\';
        out[n++] = 'x';
        out[n++] = hex[*p >> 4];
        out[n++] = hex[*p & 15];
    }
    return n;
}

void log_write(enum log_level level, const char *format, ...)
{
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 128], when[CLOCK_RFC3339_SIZE];
    va_list args;
    int head;
    size_t n;

    if (level > log_most)
        return;
    va_start(args, format);
    if (vsnprintf(text, sizeof(text), format, args) < 0)
        text[0] = 0;
    va_end(args);
    clock_rfc3339(when, clock_wall_us(), 0, 1);
    head = snprintf(line, sizeof(line), "%s %s[%d] %s: ", when, log_program, (int)getpid(), level_names[level]);
    if (head < 0 || (size_t)head >= sizeof(line))
        return;
    n = (size_t)head;
    n += escape(line + n, sizeof(line) - n - 1, text);
    line[n++] = '\n';
    /* nothing can be done about a log that cannot be written */
    if (write(STDERR_FILENO, line, n) < 0)
        return;
}
