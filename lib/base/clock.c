/* clock.c: the two clocks, and RFC 3339 both ways */
#include "lib/base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

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

size_t clock_rfc3339(char out[CLOCK_RFC3339_SIZE], int64_t us, int offset_s, int millis)
{
    int64_t seconds = us / CLOCK_US_PER_SECOND, rest = us % CLOCK_US_PER_SECOND;
    struct tm t;
    time_t local;
    int minutes, n;
    size_t used;

    if (rest < 0) {
        rest += CLOCK_US_PER_SECOND;
        seconds--;
    }
    /* RFC 3339 has no seconds in an offset; the ones of before 1900 are cut, and the time with them, so it stays the same instant */
    minutes = offset_s / 60;
    local = (time_t)(seconds + (int64_t)minutes * 60);
    if (!gmtime_r(&local, &t)) {
        out[0] = 0;
        return 0;
    }
    used = strftime(out, CLOCK_RFC3339_SIZE - 12, "%Y-%m-%dT%H:%M:%S", &t);
    /* %Y does not pad */
    if (t.tm_year + 1900 < 1000 && t.tm_year + 1900 >= 0)
        used = (size_t)snprintf(out, CLOCK_RFC3339_SIZE - 12, "%04u-%02u-%02uT%02u:%02u:%02u",
                                (unsigned)(t.tm_year + 1900) % 10000u, (unsigned)(t.tm_mon + 1) % 100u,
                                (unsigned)t.tm_mday % 100u, (unsigned)t.tm_hour % 100u, (unsigned)t.tm_min % 100u,
                                (unsigned)t.tm_sec % 100u);
    if (millis) {
        n = snprintf(out + used, CLOCK_RFC3339_SIZE - used, ".%03u", (unsigned)(rest / 1000) % 1000u);
        used += (size_t)n;
    }
    if (minutes == 0)
        n = snprintf(out + used, CLOCK_RFC3339_SIZE - used, "Z");
    else
        n = snprintf(out + used, CLOCK_RFC3339_SIZE - used, "%c%02u:%02u", minutes < 0 ? '-' : '+',
                     (unsigned)(minutes < 0 ? -minutes : minutes) / 60u % 100u,
                     (unsigned)(minutes < 0 ? -minutes : minutes) % 60u);
    return used + (size_t)n;
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
