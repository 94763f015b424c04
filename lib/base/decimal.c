/* decimal.c: millionths as decimal text and back */
#include "lib/base/decimal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PLACES 6
#define EXPONENT_MAX 1000 /* beyond it, every number that is not zero is too large or too small */
#define FRACTION_MAX 100000

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the exponent behind "e"; false when it is none. */
static bool read_exponent(const char *at, const char *end, int *out)
{
    bool minus = at < end && *at == '-';
    int value = 0;

    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end)
        return false;
    for (; at < end; at++) {
        if (!is_digit(*at))
            return false;
        value = value > EXPONENT_MAX ? value : value * 10 + (*at - '0');
    }
    *out = minus ? -value : value;
    return true;
}

/* The digits of a number, and the power of ten that makes them millionths. */
struct digits {
    const char *at, *end; /* may hold a point */
    int shift;
};

static bool split(const char *text, const char *end, struct digits *d)
{
    const char *at = text + (text < end && *text == '-'), *stop = at, *point = NULL;
    int exponent = 0, fraction;

    for (; stop < end && (is_digit(*stop) || (*stop == '.' && !point)); stop++)
        if (*stop == '.')
            point = stop;
    if (at == end || !is_digit(*at) || (point && point + 1 == stop))
        return false;
    if (*at == '0' && at + 1 < stop && is_digit(at[1]))
        return false;
    if (stop < end && ((*stop != 'e' && *stop != 'E') || !read_exponent(stop + 1, end, &exponent)))
        return false;
    fraction = !point ? 0 : stop - point - 1 > FRACTION_MAX ? FRACTION_MAX : (int)(stop - point - 1);
    *d = (struct digits){at, stop, exponent + PLACES - fraction};
    return true;
}

/* Zeros at the end stand for nothing but a power of ten. */
static void drop_zeros(struct digits *d)
{
    while (d->shift < 0 && d->end > d->at && (d->end[-1] == '0' || d->end[-1] == '.'))
        if (*--d->end == '0')
            d->shift++;
}

enum status decimal_parse(const char *text, size_t length, int64_t most, int64_t *millionths)
{
    struct digits d;
    int64_t value = 0;

    if (!split(text, text + length, &d))
        return STATUS_INVALID;
    drop_zeros(&d);
    if (d.shift < 0 && d.end > d.at)
        return STATUS_INVALID;
    for (; d.at < d.end; d.at++) {
        if (*d.at == '.')
            continue;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *d.at - '0', &value))
            return STATUS_LIMIT;
    }
    for (; value && d.shift > 0; d.shift--)
        if (__builtin_mul_overflow(value, 10, &value))
            return STATUS_LIMIT;
    if (value > most)
        return STATUS_LIMIT;
    *millionths = *text == '-' ? -value : value;
    return STATUS_OK;
}

int64_t decimal_saturated(const char *text)
{
    bool negative = *text == '-';
    int places = -1; /* behind the point; -1: before it */
    int64_t value = 0;

    for (text += negative; (is_digit(*text) || *text == '.') && places < PLACES; text++) {
        if (*text == '.')
            places = 0;
        else if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *text - '0', &value))
            return negative ? -INT64_MAX : INT64_MAX;
        else
            places += places >= 0;
    }
    for (places = places < 0 ? 0 : places; places < PLACES; places++)
        if (__builtin_mul_overflow(value, 10, &value))
            return negative ? -INT64_MAX : INT64_MAX;
    return negative ? -value : value;
}

int64_t decimal_of_whole(int64_t whole)
{
    int64_t product;

    if (__builtin_mul_overflow(whole, DECIMAL_ONE, &product))
        return whole < 0 ? -INT64_MAX : INT64_MAX;
    return product;
}

static uint64_t size_of(int64_t millionths)
{
    return millionths < 0 ? 0 - (uint64_t)millionths : (uint64_t)millionths;
}

/* Behind the digits: a point and `places` of the millionths, without zeros at the end. */
static void add_fraction(char *at, uint64_t millionths, int places)
{
    char digits[16];
    int n = places;

    snprintf(digits, sizeof(digits), "%06" PRIu64, millionths % DECIMAL_ONE);
    while (n > 0 && digits[n - 1] == '0')
        n--;
    if (n > 0) {
        *at++ = '.';
        memcpy(at, digits, (size_t)n);
    }
    at[n] = '\0';
}

const char *decimal_text(int64_t millionths, char out[DECIMAL_SIZE])
{
    return decimal_grouped(millionths, PLACES, "", out);
}

const char *decimal_grouped(int64_t millionths, int places, const char *separator, char out[DECIMAL_SIZE])
{
    uint64_t size = size_of(millionths);
    char digits[24], *at = out;
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, size / DECIMAL_ONE);

    if (millionths < 0)
        *at++ = '-';
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            for (const char *c = separator; *c; c++)
                *at++ = *c;
        *at++ = digits[i];
    }
    add_fraction(at, size, places);
    return out;
}
