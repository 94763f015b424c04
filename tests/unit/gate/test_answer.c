/* test_answer.c: the header's seconds over whole days of five zones, with the days that have 23 and 25 hours */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <CUnit/Basic.h>
#include <sodium.h>

#include "cgi/gate/answer.c" /* a program's part: no library has it */
#include "lib/meter/limit_table/limit_table.h"

#define SECOND CLOCK_US_PER_SECOND
#define A_DAY 5    /* calls */
#define A_MINUTE 2 /* calls, of another tenant */

static char dir[] = "/tmp/test-answer-XXXXXX";
static const unsigned char node[16] = "0123456789abcdef";
static struct limit_catalogue catalogue = {.n_metrics = 1, .n_limits = 2};
static int looked;

/* Days on which the clocks go forward and back in 2026; Kolkata's never do. */
static const struct zone {
    const char *name;
    struct day {
        int year, month, day;
    } days[2];
} zones[] = {
    {"Europe/Berlin", {{2026, 3, 29}, {2026, 10, 25}}},     {"America/New_York", {{2026, 3, 8}, {2026, 11, 1}}},
    {"Australia/Lord_Howe", {{2026, 10, 4}, {2026, 4, 5}}}, {"America/Santiago", {{2026, 9, 6}, {2026, 4, 4}}},
    {"Asia/Kolkata", {{2026, 3, 29}, {2026, 10, 25}}},
};

/* The first second of a local day, found without the code under test: the earliest instant that has its date. */
static int64_t first_of(const struct day *day, int plus)
{
    struct tm noon = {.tm_year = day->year - 1900,
                      .tm_mon = day->month - 1,
                      .tm_mday = day->day + plus,
                      .tm_hour = 12,
                      .tm_isdst = -1};
    struct tm there, before;
    time_t at = mktime(&noon), low = at - 14 * 3600;
    localtime_r(&at, &noon);
    for (; low < at; low += 60) {
        time_t back = low - 60;
        localtime_r(&low, &there);
        localtime_r(&back, &before);
        if (there.tm_mday == noon.tm_mday && before.tm_mday != noon.tm_mday)
            break;
    }
    return low * SECOND;
}

static int32_t offset_at(int64_t us)
{
    time_t at = us / SECOND;
    struct tm there;
    localtime_r(&at, &there);
    return (int32_t)there.tm_gmtoff;
}

static uint32_t put_tenant(struct limit_table *t, const char *id, const struct day *day, int64_t a_day,
                           int64_t a_minute)
{
    struct limit_tenant who = {.state = LIMIT_TENANT_ACTIVE};
    uint32_t index = 0;
    snprintf(who.id, sizeof who.id, "%s", id);
    strcpy(who.tier, "starter");
    for (int i = 0; i < LIMIT_TABLE_LIMITS; i++)
        who.limits[i] = (struct limit){.max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED};
    if (a_day)
        who.limits[0].max = a_day * EVENT_MILLION;
    if (a_minute)
        who.limits[1].max = a_minute * EVENT_MILLION;
    for (int i = 0; i < LIMIT_DAYS; i++) {
        int64_t end = first_of(day, i);
        who.days[i] = (struct limit_span){first_of(day, i - 1), end, offset_at(end), 0};
    }
    CU_ASSERT_EQUAL_FATAL(limit_table_put_tenant(t, &who, &index), STATUS_OK);
    return index;
}

static int64_t number_behind(const char *text, const char *words)
{
    const char *at = strstr(text, words);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    return at ? strtoll(at + strlen(words), NULL, 10) : -1;
}

/* Never early, never late by more than a second. */
static void must_reach(int64_t seconds, int64_t now_us, int64_t until_us)
{
    CU_ASSERT_TRUE(now_us + seconds * SECOND >= until_us);
    CU_ASSERT_TRUE(now_us + (seconds - 1) * SECOND < until_us);
    looked++;
}

static void take_one(struct limit_table *t, uint32_t index, int64_t now_us, struct limit_answer *taken)
{
    static const struct limit_ask ask = {0, EVENT_MILLION};
    CU_ASSERT_EQUAL_FATAL(limit_table_decide(t, index, &ask, 1, now_us, true, taken), STATUS_OK);
    limit_table_done(t);
}

/* A day's length as its hours say, `t` and Retry-After as the next local day begins, the offset of that instant. */
static void look_at_day(struct limit_table *t, uint32_t index, int64_t now_us, int64_t start_us, int64_t end_us)
{
    const struct answer_form form = {.number = 1};
    static struct answer a;
    struct limit_answer taken;
    char resets[CLOCK_RFC3339_SIZE], shown[64];
    take_one(t, index, now_us, &taken);
    if (taken.reason == LIMIT_REACHED) {
        answer_limited(&a, &form, &catalogue, &taken, now_us);
        a.bytes[a.length] = '\0';
        must_reach(number_behind(a.bytes, "Retry-After: "), now_us, end_us);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.bytes, ";r=0;t="));
        clock_rfc3339(resets, end_us, offset_at(end_us), 0);
        snprintf(shown, sizeof shown, "resets %s", resets);
        CU_ASSERT_PTR_NOT_NULL(strstr(a.bytes, shown));
    } else {
        answer_admit(&a, &catalogue, &taken, now_us);
        a.bytes[a.length] = '\0';
    }
    CU_ASSERT_EQUAL(number_behind(a.bytes, ";w="), (end_us - start_us) / SECOND);
    must_reach(number_behind(a.bytes, ";t="), now_us, end_us);
}

/* A minute's Retry-After: a call then passes, and one a second and a bit earlier does not. */
static void look_at_minute(struct limit_table *t, uint32_t index, int64_t now_us)
{
    const struct answer_form form = {.number = 1};
    static struct answer a;
    static const struct limit_ask ask = {0, EVENT_MILLION};
    struct limit_answer taken, later;
    do
        take_one(t, index, now_us, &taken);
    while (taken.reason == LIMIT_ADMITTED);
    answer_limited(&a, &form, &catalogue, &taken, now_us);
    a.bytes[a.length] = '\0';
    int64_t wait = number_behind(a.bytes, "Retry-After: ");
    must_reach(wait, now_us, taken.limits[taken.decisive].verdict.resets_us);
    CU_ASSERT_EQUAL(number_behind(a.bytes, ";t="), wait);
    CU_ASSERT_EQUAL(limit_table_decide(t, index, &ask, 1, now_us + wait * SECOND, false, &later), STATUS_OK);
    CU_ASSERT_EQUAL(later.reason, LIMIT_ADMITTED);
    CU_ASSERT_EQUAL(limit_table_decide(t, index, &ask, 1, now_us + (wait - 1) * SECOND - 1, false, &later), STATUS_OK);
    CU_ASSERT_EQUAL(later.reason, LIMIT_REACHED);
}

static void seconds_are_never_early_and_never_late(void)
{
    struct limit_table *t = NULL;
    for (size_t z = 0; z < sizeof zones / sizeof zones[0]; z++) {
        setenv("TZ", zones[z].name, 1);
        tzset();
        for (int d = 0; d < 2; d++) {
            CU_ASSERT_EQUAL_FATAL(limit_table_make(dir, node, &t), STATUS_OK);
            CU_ASSERT_EQUAL_FATAL(limit_table_put_catalogue(t, &catalogue), STATUS_OK);
            const struct day *day = &zones[z].days[d];
            uint32_t by_day = put_tenant(t, "day", day, A_DAY, 0),
                     by_minute = put_tenant(t, "minute", day, 0, A_MINUTE);
            int64_t start = first_of(day, 0), end = first_of(day, 1);
            for (int64_t now = start, n = 0; now < end; now += 60 * SECOND, n++) {
                int64_t inside = n * 7919 * 131 % (60 * SECOND); /* not always on the second */
                look_at_day(t, by_day, now, start, end);
                look_at_day(t, by_day, now + inside, start, end);
                look_at_minute(t, by_minute, now + inside);
            }
            look_at_day(t, by_day, end - 1, start, end);
            look_at_day(t, by_day, end, end, first_of(day, 2));
            limit_table_close(t);
        }
    }
    printf("\n    %d figures over %zu zones ", looked, sizeof zones / sizeof zones[0]);
}

int main(void)
{
    if (sodium_init() < 0 || !mkdtemp(dir) || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    strcpy(catalogue.metrics[0].name, "api_call");
    strcpy(catalogue.limits[0].key, "api_calls_per_day");
    catalogue.limits[0].window = LIMIT_WINDOW_DAY;
    strcpy(catalogue.limits[1].key, "api_calls_per_minute");
    catalogue.limits[1].window = LIMIT_WINDOW_MINUTE;
    CU_pSuite suite = CU_add_suite("answer", NULL, NULL);
    CU_add_test(suite, "t and Retry-After are never early and never a second late, on days of 23 to 25 hours",
                seconds_are_never_early_and_never_late);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int failed = (int)CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
