/* test_limit.c: the decision against tables of cases and against a slow, obvious model */
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

#include "lib/meter/limit.h"

#define NOW INT64_C(1800000000000000)
#define SECOND INT64_C(1000000)
#define STEPS 12

static long histories = 1000000;

/* ---- cases ---- */

static struct limit plain(int64_t units, uint8_t window)
{
    return (struct limit){.max = units < 0 ? LIMIT_UNLIMITED : units * EVENT_MILLION,
                          .until_us = LIMIT_NEVER,
                          .max_after = LIMIT_UNLIMITED,
                          .window = window};
}

static void a_fixed_window_admits_up_to_its_limit(void)
{
    static const struct {
        int64_t max, used, amount;
        bool allowed;
        int64_t remaining, overage;
    } cases[] = {
        {10, 0, 1, true, 9, 0},   {10, 9, 1, true, 0, 0},  {10, 10, 1, false, 0, 0},
        {10, 12, 1, false, 0, 2}, {10, 8, 3, false, 2, 0}, {10, 10, 0, false, 0, 0},
        {10, 9, 0, true, 1, 0},   {0, 0, 1, false, 0, 0},  {0, 0, 0, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct limit l = plain(cases[i].max, LIMIT_WINDOW_DAY);
        struct limit_count c = {
            .used = cases[i].used * EVENT_MILLION, .start_us = NOW - SECOND, .end_us = NOW + SECOND};
        struct limit_verdict v;
        limit_decide(&l, &c, cases[i].amount * EVENT_MILLION, NOW, &v);
        CU_ASSERT_EQUAL(v.allowed, cases[i].allowed);
        CU_ASSERT_EQUAL(v.remaining, cases[i].remaining * EVENT_MILLION);
        CU_ASSERT_EQUAL(v.overage, cases[i].overage * EVENT_MILLION);
        CU_ASSERT_EQUAL(v.resets_us, NOW + SECOND);
    }
}

static void the_leased_part_of_a_limit_passes_with_a_lease_only(void)
{
    static const struct {
        int64_t max, used, amount, lease;
        bool allowed, leased;
        int64_t remaining;
    } cases[] = {
        {100, 0, 1, 0, true, false, 99},   {100, 89, 1, 0, true, false, 10}, {100, 90, 1, 0, false, true, 0},
        {100, 90, 1, 1, true, true, 9},    {100, 90, 2, 1, false, true, 0},  {100, 90, 0, 1, true, true, 10},
        {100, 90, 0, 0, false, true, 0},   {100, 91, 0, 0, false, true, 0},  {100, 99, 1, 9, true, true, 0},
        {100, 100, 1, 9, false, false, 0}, {1, 0, 1, 0, false, true, 0},     {1, 0, 1, 1, true, true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct limit l = plain(cases[i].max, LIMIT_WINDOW_DAY);
        struct limit_count c = {.used = cases[i].used * EVENT_MILLION,
                                .start_us = NOW - SECOND,
                                .end_us = NOW + 100 * SECOND,
                                .leased = cases[i].lease * EVENT_MILLION};
        struct limit_verdict v;
        l.lease_percent = 10;
        limit_decide(&l, &c, cases[i].amount * EVENT_MILLION, NOW, &v);
        CU_ASSERT_EQUAL(v.allowed, cases[i].allowed);
        CU_ASSERT_EQUAL(v.leased, cases[i].leased);
        CU_ASSERT_EQUAL(v.remaining, cases[i].remaining * EVENT_MILLION);
        /* who lacks a lease only comes again soon, not when the window turns */
        CU_ASSERT_EQUAL(v.resets_us, !v.allowed && v.leased ? NOW + SECOND : NOW + 100 * SECOND);
    }
}

static void a_lease_begins_where_its_part_of_the_ceiling_does(void)
{
    struct limit l = plain(1000, LIMIT_WINDOW_DAY);
    CU_ASSERT_EQUAL(limit_unleased(&l, NOW), LIMIT_UNLIMITED);
    l.lease_percent = 10;
    CU_ASSERT_EQUAL(limit_unleased(&l, NOW), 900 * EVENT_MILLION);
    l.mode = LIMIT_GRACE;
    l.grace_percent = 50;
    CU_ASSERT_EQUAL(limit_unleased(&l, NOW), 1350 * EVENT_MILLION);
    l.mode = LIMIT_SOFT;
    CU_ASSERT_EQUAL(limit_unleased(&l, NOW), LIMIT_UNLIMITED);
    l = plain(1000, LIMIT_WINDOW_MINUTE);
    l.lease_percent = 10;
    CU_ASSERT_EQUAL(limit_unleased(&l, NOW), LIMIT_UNLIMITED);
}

static void minus_one_is_unlimited_and_counts_on(void)
{
    struct limit l = plain(-1, LIMIT_WINDOW_PERIOD);
    struct limit_count c = {.used = 5 * EVENT_MILLION, .end_us = NOW + SECOND};
    struct limit_verdict v;
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_TRUE(v.allowed && v.unlimited);
    CU_ASSERT_EQUAL(v.limit, LIMIT_UNLIMITED);
    CU_ASSERT_EQUAL(v.used, 5 * EVENT_MILLION);
}

static void soft_admits_beyond_and_says_how_far(void)
{
    struct limit l = plain(10, LIMIT_WINDOW_DAY);
    struct limit_count c = {.used = 12 * EVENT_MILLION, .end_us = NOW + SECOND};
    struct limit_verdict v;
    l.mode = LIMIT_SOFT;
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_TRUE(v.allowed && v.over);
    CU_ASSERT_EQUAL(v.overage, 3 * EVENT_MILLION);
    CU_ASSERT_EQUAL(v.remaining, 0);
}

static void grace_by_percent_moves_the_ceiling(void)
{
    struct limit l = plain(10, LIMIT_WINDOW_DAY);
    struct limit_count c = {.used = 11 * EVENT_MILLION, .end_us = NOW + SECOND};
    struct limit_verdict v;
    l.mode = LIMIT_GRACE;
    l.grace_percent = 20;
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_TRUE(v.allowed && v.over);
    c.used = 12 * EVENT_MILLION;
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_FALSE(v.allowed);
    CU_ASSERT_EQUAL(v.ceiling, 12 * EVENT_MILLION);
}

static void grace_by_date_ends_at_that_instant(void)
{
    struct limit l = plain(1, LIMIT_WINDOW_DAY);
    struct limit_count c = {.used = 50 * EVENT_MILLION, .end_us = NOW + SECOND};
    struct limit_verdict v;
    l.mode = LIMIT_GRACE;
    l.grace_until_us = NOW;
    limit_decide(&l, &c, EVENT_MILLION, NOW - 1, &v);
    CU_ASSERT_TRUE(v.allowed);
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_FALSE(v.allowed);
}

static void an_override_ends_at_its_expiry(void)
{
    struct limit l = plain(100, LIMIT_WINDOW_DAY);
    struct limit_count c = {.used = 50 * EVENT_MILLION, .end_us = NOW + SECOND};
    struct limit_verdict v;
    l.until_us = NOW;
    l.max_after = 10 * EVENT_MILLION;
    limit_decide(&l, &c, EVENT_MILLION, NOW - 1, &v);
    CU_ASSERT_TRUE(v.allowed);
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_FALSE(v.allowed);
    CU_ASSERT_EQUAL(v.limit, 10 * EVENT_MILLION);
}

/* Sizes that do not divide a minute included: 7, 11, 999,983. */
static void a_minute_of_any_size_admits_exactly_that_many_at_once(void)
{
    static const int64_t sizes[] = {1, 2, 7, 11, 59, 60, 61, 600, 1009, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct limit l = plain(sizes[i], LIMIT_WINDOW_MINUTE);
        struct limit_count c = {0};
        struct limit_verdict v;
        int64_t passed = 0;
        for (;;) {
            limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
            if (!v.allowed)
                break;
            c.tat_ns = v.tat_ns;
            passed++;
        }
        CU_ASSERT_EQUAL(passed, sizes[i]);
        limit_decide(&l, &c, EVENT_MILLION, v.resets_us, &v); /* when it says the next passes, it passes */
        CU_ASSERT_TRUE(v.allowed);
    }
}

/* Each would wrap around in 64 bits somewhere on the way. */
static void amounts_counts_and_limits_of_any_size_are_decided_rightly(void)
{
    static const struct {
        uint8_t window, mode;
        int64_t max, used, amount;
        int32_t grace_percent;
        bool allowed;
    } cases[] = {
        {LIMIT_WINDOW_MINUTE, LIMIT_HARD, 60 * EVENT_MILLION, 0, INT64_C(10000000000) * EVENT_MILLION, 0, false},
        {LIMIT_WINDOW_MINUTE, LIMIT_HARD, 60 * EVENT_MILLION, 0, INT64_MAX, 0, false},
        {LIMIT_WINDOW_MINUTE, LIMIT_HARD, 1, 0, INT64_MAX, 0, false},
        {LIMIT_WINDOW_MINUTE, LIMIT_HARD, EVENT_VALUE_MAX, 0, EVENT_VALUE_MAX, 0, true},
        {LIMIT_WINDOW_MINUTE, LIMIT_SOFT, 60 * EVENT_MILLION, 0, INT64_MAX, 0, true},
        {LIMIT_WINDOW_DAY, LIMIT_HARD, INT64_MAX, INT64_MAX, INT64_MAX, 0,
         true}, /* the count is at its end: nothing is lost */
        {LIMIT_WINDOW_DAY, LIMIT_HARD, 10 * EVENT_MILLION, INT64_MAX - 1, INT64_MAX, 0, false},
        {LIMIT_WINDOW_DAY, LIMIT_GRACE, INT64_MAX / 2, 0, INT64_MAX, 1000, true},
        {LIMIT_WINDOW_DAY, LIMIT_SOFT, 0, INT64_MAX, INT64_MAX, 0, true},
        {LIMIT_WINDOW_NONE, LIMIT_HARD, 5, INT64_MAX, 1, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct limit l = {.max = cases[i].max,
                          .until_us = LIMIT_NEVER,
                          .max_after = LIMIT_UNLIMITED,
                          .grace_percent = cases[i].grace_percent,
                          .mode = cases[i].mode,
                          .window = cases[i].window};
        struct limit_count c = {.used = cases[i].used, .start_us = NOW - SECOND, .end_us = NOW + SECOND};
        struct limit_verdict v;
        limit_decide(&l, &c, cases[i].amount, NOW, &v);
        CU_ASSERT_EQUAL(v.allowed, cases[i].allowed);
        CU_ASSERT_TRUE(v.used >= 0 && v.remaining >= 0 && v.overage >= 0 && v.tat_ns >= 0 && v.resets_us >= 0);
        CU_ASSERT_TRUE(limit_minute_cost(&v, cases[i].amount) >= 0);
    }
}

static void a_minute_has_no_double_burst_at_a_boundary(void)
{
    struct limit l = plain(60, LIMIT_WINDOW_MINUTE);
    struct limit_count c = {0};
    struct limit_verdict v;
    int passed = 0;
    for (int64_t at = NOW; at < NOW + 61 * SECOND; at += SECOND / 10) {
        limit_decide(&l, &c, EVENT_MILLION, at, &v);
        if (v.allowed) {
            c.tat_ns = v.tat_ns;
            passed++;
        }
    }
    CU_ASSERT_EQUAL(passed, 60 + 60); /* the bucket, and one a second that leaked */
}

static void a_clock_set_back_never_locks_out_for_longer_than_a_minute(void)
{
    struct limit l = plain(10, LIMIT_WINDOW_MINUTE);
    struct limit_count c = {.tat_ns = (NOW + 3600 * SECOND) * 1000};
    struct limit_verdict v;
    limit_decide(&l, &c, EVENT_MILLION, NOW, &v);
    CU_ASSERT_FALSE(v.allowed);
    CU_ASSERT_TRUE(v.resets_us <= NOW + 60 * SECOND);
}

static void percent_of_nothing_is_defined(void)
{
    CU_ASSERT_EQUAL(limit_percent(0, 0), 0);
    CU_ASSERT_EQUAL(limit_percent(1, 0), 100);
    CU_ASSERT_EQUAL(limit_percent(5, LIMIT_UNLIMITED), 0);
    CU_ASSERT_EQUAL(limit_percent(15, 10), 150);
}

/* ---- the model: a list of what passed, added up anew at every step ---- */

static uint64_t state = 88172645463325252u;

static uint64_t any(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

struct passed {
    int64_t at_us, amount;
};

/* Nanoseconds until the bucket is empty: each unit takes a minute / size, leaked in real time; never above a full one. */
static int64_t model_backlog(const struct passed *p, int n, int64_t size, int64_t now_us)
{
    int64_t empty_ns = 0;
    for (int i = 0; i < n; i++) {
        int64_t at = p[i].at_us * 1000;
        empty_ns = empty_ns > at ? empty_ns : at;
        empty_ns += 60 * SECOND * 1000 / size * p[i].amount;
        if (empty_ns > at + 60 * SECOND * 1000)
            empty_ns = at + 60 * SECOND * 1000;
    }
    return empty_ns > now_us * 1000 ? empty_ns - now_us * 1000 : 0;
}

static bool model_allows(const struct limit *l, const struct passed *p, int n, int64_t amount, int64_t now_us,
                         int64_t start_us)
{
    int64_t max = (now_us < l->until_us ? l->max : l->max_after), sum = 0;
    if (max == LIMIT_UNLIMITED || l->mode == LIMIT_SOFT)
        return true;
    if (l->mode == LIMIT_GRACE && now_us < l->grace_until_us)
        return true;
    int64_t size = max / EVENT_MILLION;
    if (l->mode == LIMIT_GRACE)
        size += size * l->grace_percent / 100;
    if (l->window == LIMIT_WINDOW_MINUTE)
        return size > 0 && model_backlog(p, n, size, now_us) + 60 * SECOND * 1000 / size * amount <= 60 * SECOND * 1000;
    for (int i = 0; i < n; i++)
        if (p[i].at_us >= start_us)
            sum += p[i].amount;
    return sum + amount <= size;
}

static struct limit any_limit(void)
{
    static const int64_t sizes[] = {0, 1, 2, 3,  4,
                                    5, 6, 8, 10, 12}; /* whose minute divides evenly, so the model is exact */
    struct limit l = plain(sizes[any(10)], any(2) ? LIMIT_WINDOW_MINUTE : LIMIT_WINDOW_DAY);
    if (any(10) == 0)
        l.max = LIMIT_UNLIMITED;
    if (l.window == LIMIT_WINDOW_DAY) { /* of a minute a changed size rescales the bucket; that has a case of its own */
        l.mode = (uint8_t)any(3);
        if (any(3) == 0) {
            l.until_us = NOW + (int64_t)any(120) * SECOND;
            l.max_after = (int64_t)any(12) * EVENT_MILLION;
        }
        if (l.mode == LIMIT_GRACE && any(2))
            l.grace_until_us = NOW + (int64_t)any(120) * SECOND;
        l.grace_percent = l.mode == LIMIT_GRACE ? (int32_t)any(4) * 100 : 0;
    } else if (any(4) == 0) {
        l.mode = LIMIT_SOFT;
    }
    return l;
}

/* One history: calls of random amounts at random times, the window turning on the way. True when both always agree. */
static bool agree(void)
{
    struct limit l = any_limit();
    struct limit_count c = {.start_us = NOW, .end_us = NOW + 60 * SECOND};
    struct passed list[STEPS];
    int n = 0;
    int64_t now = NOW;
    for (int step = 0; step < STEPS; step++) {
        int64_t amount = 1 + (int64_t)any(3);
        struct limit_verdict v;
        now += (int64_t)any(3) * (int64_t)any(12 * SECOND);
        if (l.window == LIMIT_WINDOW_DAY && now >= c.end_us) {
            int64_t windows = (now - c.start_us) / (60 * SECOND);
            c = (struct limit_count){.start_us = c.start_us + windows * 60 * SECOND};
            c.end_us = c.start_us + 60 * SECOND;
        }
        limit_decide(&l, &c, amount * EVENT_MILLION, now, &v);
        if (v.allowed != model_allows(&l, list, n, amount, now, c.start_us) || v.remaining < 0 || v.overage < 0)
            return false;
        if (!v.allowed)
            continue;
        list[n++] = (struct passed){now, amount};
        c.used += amount * EVENT_MILLION;
        c.tat_ns = v.tat_ns;
    }
    return true;
}

static void random_histories_agree_with_the_model(void)
{
    long wrong = 0;
    for (long i = 0; i < histories; i++)
        wrong += !agree();
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- a minute of any size, by numbers that can't overflow ---- */

typedef __int128 big;

/* 1 to INT64_MAX, each power of two as likely as another. */
static int64_t any_size(void)
{
    return (int64_t)(any(UINT64_C(1) << (1 + any(63))) | 1);
}

struct level {
    big ns; /* until the bucket is empty */
    int64_t at_us;
};

/* The bucket by its level: what flowed in, less what leaked since; changed only when the amount fits. */
static bool level_takes(struct level *l, int64_t size, int64_t amount, int64_t now_us)
{
    big interval = ((big)60000000000 * EVENT_MILLION + size - 1) / size;
    big left = l->ns - (big)(now_us - l->at_us) * 1000, cost = (interval * amount + EVENT_MILLION - 1) / EVENT_MILLION;

    left = left < 0 ? 0 : left;
    if (left * EVENT_MILLION + interval * amount > interval * size)
        return false;
    *l = (struct level){left + cost, now_us};
    return true;
}

/* No stretch of time lets through more than a bucket and what leaked meanwhile. */
static bool within_size(const struct passed *p, int n, int64_t size)
{
    big sum = 0;

    for (int i = n - 1; i >= 0; i--) {
        sum += p[i].amount;
        if ((sum - size) * 60 * SECOND > (big)size * (p[n - 1].at_us - p[i].at_us))
            return false;
    }
    return true;
}

/* One history of a minute's bucket; sizes, amounts and pauses of any order of magnitude. */
static bool any_minute_agrees(void)
{
    int64_t size = any_size(), now = NOW;
    struct limit l = {
        .max = size, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED, .window = LIMIT_WINDOW_MINUTE};
    struct limit_count c = {0};
    struct level level = {0, NOW};
    struct passed list[STEPS];
    int n = 0;

    for (int step = 0; step < STEPS; step++) {
        int64_t amount = any(2) ? any_size() : (int64_t)any((uint64_t)size) + 1;
        struct limit_verdict v, later;

        now += (int64_t)any(UINT64_C(1) << any(28));
        limit_decide(&l, &c, amount, now, &v);
        if (v.allowed != level_takes(&level, size, amount, now) || v.used < 0 || v.remaining < 0 || v.resets_us < 0)
            return false;
        if (!v.allowed && amount <= size) { /* it passes when it says so */
            limit_decide(&l, &c, amount, v.resets_us, &later);
            if (!later.allowed)
                return false;
        }
        if (!v.allowed)
            continue;
        c.tat_ns = v.tat_ns;
        list[n++] = (struct passed){now, amount};
        if (!within_size(list, n, size))
            return false;
    }
    return true;
}

static void minutes_of_any_size_agree_with_the_level_of_their_bucket(void)
{
    long wrong = 0;
    for (long i = 0; i < histories; i++)
        wrong += !any_minute_agrees();
    CU_ASSERT_EQUAL(wrong, 0);
}

int main(int argc, char *argv[])
{
    if (argc > 1)
        histories = atol(argv[1]);
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("limit", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(a_fixed_window_admits_up_to_its_limit);
    ADD(minus_one_is_unlimited_and_counts_on);
    ADD(the_leased_part_of_a_limit_passes_with_a_lease_only);
    ADD(a_lease_begins_where_its_part_of_the_ceiling_does);
    ADD(soft_admits_beyond_and_says_how_far);
    ADD(grace_by_percent_moves_the_ceiling);
    ADD(grace_by_date_ends_at_that_instant);
    ADD(an_override_ends_at_its_expiry);
    ADD(a_minute_of_any_size_admits_exactly_that_many_at_once);
    ADD(amounts_counts_and_limits_of_any_size_are_decided_rightly);
    ADD(a_minute_has_no_double_burst_at_a_boundary);
    ADD(a_clock_set_back_never_locks_out_for_longer_than_a_minute);
    ADD(percent_of_nothing_is_defined);
    ADD(random_histories_agree_with_the_model);
    ADD(minutes_of_any_size_agree_with_the_level_of_their_bucket);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
