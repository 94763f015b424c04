/* test_latency.c: percentiles against cases by hand and against sorted times */
#include <math.h>
#include <stdlib.h>

#include <CUnit/Basic.h>

#include "lib/meter/latency.h"

#define CALLS 2000

static int bucket_of(double us)
{
    int i = 0;

    while (i < LIMIT_LATENCY_BUCKETS - 1 && us > limit_latency_bounds_us[i])
        i++;
    return i;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void without_calls_nothing_is_known(void)
{
    uint64_t none[LIMIT_LATENCY_BUCKETS] = {0};

    CU_ASSERT_FALSE(latency_quantile(none, 0.5).known);
    CU_ASSERT_EQUAL(latency_calls(none), 0);
}

static void within_a_bucket_calls_are_spread_evenly(void)
{
    /* bounds: 1 2 5 10 20 50 … */
    static const struct {
        uint64_t calls[LIMIT_LATENCY_BUCKETS];
        double q, us;
    } cases[] = {
        {{[3] = 100}, 0.5, 7.5},        {{[3] = 100}, 0.99, 9.95},      {{[3] = 100}, 1, 10},
        {{[0] = 4}, 0.25, 0.25},        {{[1] = 50, [4] = 50}, 0.5, 2}, {{[1] = 50, [4] = 50}, 0.75, 15},
        {{[2] = 99, [9] = 1}, 0.99, 5}, {{[2] = 1}, 0.5, 3.5},          {{[5] = 10}, 0, 20},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct latency l = latency_quantile(cases[i].calls, cases[i].q);
        CU_ASSERT_TRUE(l.known && !l.over);
        CU_ASSERT_TRUE(near(l.us, cases[i].us));
    }
}

static void of_the_last_bucket_only_the_lower_bound_is_known(void)
{
    uint64_t calls[LIMIT_LATENCY_BUCKETS] = {[3] = 1, [LIMIT_LATENCY_BUCKETS - 1] = 9};
    struct latency l = latency_quantile(calls, 0.5);

    CU_ASSERT_TRUE(l.known && l.over);
    CU_ASSERT_TRUE(near(l.us, limit_latency_bounds_us[LIMIT_LATENCY_BUCKETS - 2]));
    CU_ASSERT_FALSE(latency_quantile(calls, 0.1).over);
}

static void a_share_beyond_its_range_is_the_nearest_in_it(void)
{
    uint64_t calls[LIMIT_LATENCY_BUCKETS] = {[2] = 10};

    CU_ASSERT_TRUE(near(latency_quantile(calls, 7).us, 5));
    CU_ASSERT_TRUE(near(latency_quantile(calls, -7).us, 2));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void the_true_value_lies_in_the_same_bucket(void)
{
    static double times[CALLS];
    static const double shares[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1};

    srandom(20261124);
    for (int round = 0; round < 200; round++) {
        uint64_t calls[LIMIT_LATENCY_BUCKETS] = {0};
        size_t n = 1 + (size_t)random() % CALLS;

        for (size_t i = 0; i < n; i++) {
            times[i] = ceil(exp((double)(random() % 11500) / 1000)); /* 1 us to 0.1 s */
            calls[bucket_of(times[i])]++;
        }
        qsort(times, n, sizeof times[0], by_size);
        for (size_t q = 0; q < sizeof shares / sizeof shares[0]; q++) {
            double right = times[(size_t)ceil(shares[q] * (double)n - 1e-9) - 1];
            struct latency l = latency_quantile(calls, shares[q]);

            CU_ASSERT_EQUAL(bucket_of(l.us - 1e-9 > 0 ? l.us - 1e-9 : 0), bucket_of(right));
        }
    }
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"without calls nothing is known", without_calls_nothing_is_known},
        {"within a bucket calls are spread evenly", within_a_bucket_calls_are_spread_evenly},
        {"of the last bucket only the lower bound is known", of_the_last_bucket_only_the_lower_bound_is_known},
        {"a share beyond its range is the nearest in it", a_share_beyond_its_range_is_the_nearest_in_it},
        {"the true value lies in the same bucket", the_true_value_lies_in_the_same_bucket},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{.pName = "latency", .pTests = tests}, CU_SUITE_INFO_NULL};
    int failed = 1;

    if (CU_initialize_registry() == CUE_SUCCESS && CU_register_suites(suites) == CUE_SUCCESS) {
        CU_basic_set_mode(CU_BRM_NORMAL);
        CU_basic_run_tests();
        failed = CU_get_number_of_failures() != 0;
    }
    CU_cleanup_registry();
    return failed;
}
