/*
 * log: lines on standard error, one write(2) each, so that processes never mix within a line.
 *
 * "2026-11-24T09:00:00.123Z gate[123] warning: text"; control characters are escaped. Secrets never go in: callers log ids.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "lib/base/status.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `program` must outlive the process ("gate"). */
void log_init(const char *program, enum log_level most);
void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
