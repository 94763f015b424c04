/*
 * decimal: amounts in millionths as decimal text and back, never through a double.
 *
 * Pure; owns nothing. Every program reads and writes amounts with it.
 */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"

#define DECIMAL_ONE INT64_C(1000000) /* 1 in millionths */
#define DECIMAL_SIZE 48              /* bytes that any text of this module fits in, with its NUL */

/*
 * A number as JSON writes it ("1", "-0.000001", "1e3", "1.50e-2"), exactly. STATUS_INVALID: not such a number, or more than
 * six places that are not zero; STATUS_LIMIT: beyond ±`most` millionths.
 */
MUST_CHECK enum status decimal_parse(const char *text, size_t length, int64_t most, int64_t *millionths);
/* A number as PostgreSQL prints a numeric ("12.345678"): places behind the sixth are cut, INT64_MAX stands for what is beyond. */
int64_t decimal_saturated(const char *text);
/* `whole` in millionths, or the largest number of that sign. */
int64_t decimal_of_whole(int64_t whole);

/* As short as it is: "3", "0.25", "-1.000001". Returns `out`. */
const char *decimal_text(int64_t millionths, char out[DECIMAL_SIZE]);
/* For readers: at most `places` (0..6), the rest cut, and `separator` (at most 3 bytes) between each three digits: "1,234.5". */
const char *decimal_grouped(int64_t millionths, int places, const char *separator, char out[DECIMAL_SIZE]);

#endif
