/*
 * clock: the two clocks, and timestamps as text.
 *
 * Times are microseconds since 1970-01-01 UTC in an int64_t (suffix _us); durations come from the
 * monotonic clock, which no one sets. Pure but for the two readers. Called by every program.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define CLOCK_US_PER_SECOND INT64_C(1000000)
#define CLOCK_RFC3339_SIZE 40 /* bytes that any text of this module fits in, with its NUL */

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);

/*
 * `us` as RFC 3339 with the offset `offset_s` (seconds east of UTC, -86399..86399): milliseconds
 * when `millis`, "Z" for offset 0; a time outside of the years 0000 to 9999 as the nearest within. Writes at most
 * CLOCK_RFC3339_SIZE bytes; returns the length.
 */
size_t clock_rfc3339(char out[CLOCK_RFC3339_SIZE], int64_t us, int offset_s, int millis);

/*
 * Reads RFC 3339 ("2026-11-24T09:00:00.123456+01:00", "T" and "Z" in either case, a leap second
 * counts as the next second's start; years 0001 to 9999). STATUS_INVALID for anything else.
 */
MUST_CHECK enum status clock_parse_rfc3339(const char *text, size_t length, int64_t *us);

#endif
