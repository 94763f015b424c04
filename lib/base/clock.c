/* clock.c: the two clocks, and RFC 3339 both ways */
#include "lib/base/clock.h"

#include <stdbool.h>
#include <time.h>

#define YEAR_0000_S INT64_C(-62167219200)
#define YEAR_9999_S INT64_C(253402300799) /* its last second */

static int64_t read_clock(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * CLOCK_US_PER_SECOND + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* Writes the last `n` digits of `value` and then `behind`; gives the end of them. */
static char *put_digits(char *out, int64_t value, int n, char behind)
{
    for (int i = n; i-- > 0; value /= 10)
        out[i] = (char)('0' + value % 10);
    out[n] = behind;
    return out + n + 1;
}

/* Without strftime and printf: the gate writes a time in each call. */
size_t clock_rfc3339(char out[CLOCK_RFC3339_SIZE], int64_t us, int offset_s, int millis)
{
    int64_t seconds = us / CLOCK_US_PER_SECOND, rest = us % CLOCK_US_PER_SECOND;
    /* RFC 3339 has no seconds in an offset; the ones of before 1900 are cut, and the time with them, so it stays the same instant */
    int minutes = offset_s / 60;
    char *end = out;
    struct tm t;
    time_t local;

    if (rest < 0) {
        rest += CLOCK_US_PER_SECOND;
        seconds--;
    }
    local = (time_t)(seconds + (int64_t)minutes * 60);
    local = local < YEAR_0000_S ? YEAR_0000_S : local > YEAR_9999_S ? YEAR_9999_S : local;
    gmtime_r(&local, &t);
    end = put_digits(end, t.tm_year + 1900, 4, '-');
    end = put_digits(end, t.tm_mon + 1, 2, '-');
    end = put_digits(end, t.tm_mday, 2, 'T');
    end = put_digits(end, t.tm_hour, 2, ':');
    end = put_digits(end, t.tm_min, 2, ':');
    end = put_digits(end, t.tm_sec, 2, millis ? '.' : 'Z');
    if (millis)
        end = put_digits(end, rest / 1000, 3, 'Z');
    if (minutes != 0) {
        end[-1] = minutes < 0 ? '-' : '+';
        minutes = minutes < 0 ? -minutes : minutes;
        end = put_digits(end, minutes / 60, 2, ':');
        end = put_digits(end, minutes % 60, 2, '\0') - 1;
    }
    *end = '\0';
    return (size_t)(end - out);
}

/* A cursor over the text; every reader fails once and for all. */
struct reader {
    const char *at, *end;
    bool failed;
};

static int digits(struct reader *r, int n)
{
    int value = 0;

    for (; n > 0; n--) {
        if (r->at == r->end || *r->at < '0' || *r->at > '9') {
            r->failed = true;
            return 0;
        }
        value = value * 10 + (*r->at++ - '0');
    }
    return value;
}

static bool take(struct reader *r, const char *any)
{
    if (r->at == r->end)
        return false;
    for (; *any; any++)
        if (*r->at == *any) {
            r->at++;
            return true;
        }
    return false;
}

static void expect(struct reader *r, const char *any)
{
    if (!take(r, any))
        r->failed = true;
}

/* The microseconds behind the point; digits beyond the sixth are read and dropped. */
static int64_t fraction(struct reader *r)
{
    int64_t us = 0, place = CLOCK_US_PER_SECOND / 10;

    if (!take(r, "."))
        return 0;
    us += digits(r, 1) * place;
    while (!r->failed && r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        place /= 10;
        us += (*r->at++ - '0') * place;
    }
    return us;
}

static int offset(struct reader *r)
{
    int sign, hours, minutes;

    if (take(r, "Zz"))
        return 0;
    sign = r->at < r->end && *r->at == '-' ? -1 : 1;
    expect(r, "+-");
    hours = digits(r, 2);
    expect(r, ":");
    minutes = digits(r, 2);
    if (hours > 23 || minutes > 59)
        r->failed = true;
    return sign * (hours * 3600 + minutes * 60);
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

enum status clock_parse_rfc3339(const char *text, size_t length, int64_t *us)
{
    struct reader r = {text, text + length, false};
    struct tm t = {0};
    int year, month, day, hour, minute, second, east;
    int64_t part;

    year = digits(&r, 4);
    expect(&r, "-");
    month = digits(&r, 2);
    expect(&r, "-");
    day = digits(&r, 2);
    expect(&r, "Tt");
    hour = digits(&r, 2);
    expect(&r, ":");
    minute = digits(&r, 2);
    expect(&r, ":");
    second = digits(&r, 2);
    part = fraction(&r);
    east = offset(&r);
    if (r.failed || r.at != r.end || year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month))
        return STATUS_INVALID;
    if (hour > 23 || minute > 59 || second > 60)
        return STATUS_INVALID;
    if (second == 60)
        part = 0;
    t.tm_year = year - 1900;
    t.tm_mon = month - 1;
    t.tm_mday = day;
    t.tm_hour = hour;
    t.tm_min = minute;
    t.tm_sec = second;
    *us = ((int64_t)timegm(&t) - east) * CLOCK_US_PER_SECOND + part;
    return STATUS_OK;
}
