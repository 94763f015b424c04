/* test_clock.c: RFC 3339 both ways */
#include <CUnit/Basic.h>
#include <string.h>

#include "lib/base/clock.h"

static int64_t parsed(const char *text)
{
    int64_t us = -1;

    return clock_parse_rfc3339(text, strlen(text), &us) ? -1 : us;
}

static const char *written(int64_t us, int offset_s, int millis)
{
    static char out[CLOCK_RFC3339_SIZE];

    CU_ASSERT_EQUAL(clock_rfc3339(out, us, offset_s, millis), strlen(out));
    return out;
}

static void test_an_instant_is_the_same_in_every_offset(void)
{
    int64_t us = INT64_C(1795510800123456);

    CU_ASSERT_EQUAL(parsed("2026-11-24T09:00:00.123456Z"), us);
    CU_ASSERT_EQUAL(parsed("2026-11-24t10:00:00.123456+01:00"), us);
    CU_ASSERT_EQUAL(parsed("2026-11-23T23:30:00.123456-09:30"), us);
    CU_ASSERT_EQUAL(parsed("2026-11-24T09:00:00.123456789z"), us);
    CU_ASSERT_EQUAL(parsed("1969-12-31T23:59:59.5Z"), -500000);
}

static void test_what_is_no_timestamp_is_refused(void)
{
    static const char *const wrong[] = {
        "",
        "2026-11-24",
        "2026-11-24 09:00:00Z",
        "2026-11-24T09:00:00",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T09:60:00Z",
        "2026-11-24T09:00:61Z",
        "2026-11-24T09:00:00.Z",
        "2026-11-24T09:00:00+24:00",
        "2026-11-24T09:00:00Z ",
        "0000-01-01T00:00:00Z",
        "+026-11-24T09:00:00Z",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT_EQUAL(parsed(wrong[i]), -1);
}

static void test_a_leap_day_and_a_leap_second_are_read(void)
{
    CU_ASSERT_EQUAL(parsed("2024-02-29T00:00:00Z"), INT64_C(1709164800000000));
    CU_ASSERT_EQUAL(parsed("2016-12-31T23:59:60.9Z"), parsed("2017-01-01T00:00:00Z"));
}

static void test_a_time_is_written_with_its_offset(void)
{
    int64_t us = INT64_C(1795510800123456);

    CU_ASSERT_STRING_EQUAL(written(us, 0, 0), "2026-11-24T09:00:00Z");
    CU_ASSERT_STRING_EQUAL(written(us, 3600, 1), "2026-11-24T10:00:00.123+01:00");
    CU_ASSERT_STRING_EQUAL(written(us, -34200, 0), "2026-11-23T23:30:00-09:30");
    CU_ASSERT_STRING_EQUAL(written(-1, 0, 1), "1969-12-31T23:59:59.999Z");
}

static void test_a_time_that_needs_more_than_four_digits_of_a_year_is_cut(void)
{
    CU_ASSERT_STRING_EQUAL(written(INT64_MAX, 0, 0), "9999-12-31T23:59:59Z");
    CU_ASSERT_STRING_EQUAL(written(INT64_MIN, 3600, 0), "0000-01-01T00:00:00+01:00");
}

static void test_what_is_written_is_read_as_the_same(void)
{
    static const char *const texts[] = {"0001-01-01T00:00:00Z", "1900-02-28T23:59:59Z", "2000-02-29T12:00:00Z",
                                        "9999-12-31T23:59:59Z"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t us = 0;

        CU_ASSERT_EQUAL_FATAL(clock_parse_rfc3339(texts[i], strlen(texts[i]), &us), STATUS_OK);
        CU_ASSERT_STRING_EQUAL(written(us, 0, 0), texts[i]);
    }
}

static void test_the_monotonic_clock_never_goes_back(void)
{
    int64_t last = clock_mono_us();

    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us();

        CU_ASSERT_TRUE(now >= last);
        last = now;
    }
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    CU_initialize_registry();
    s = CU_add_suite("clock", NULL, NULL);
    CU_ADD_TEST(s, test_an_instant_is_the_same_in_every_offset);
    CU_ADD_TEST(s, test_what_is_no_timestamp_is_refused);
    CU_ADD_TEST(s, test_a_leap_day_and_a_leap_second_are_read);
    CU_ADD_TEST(s, test_a_time_is_written_with_its_offset);
    CU_ADD_TEST(s, test_a_time_that_needs_more_than_four_digits_of_a_year_is_cut);
    CU_ADD_TEST(s, test_what_is_written_is_read_as_the_same);
    CU_ADD_TEST(s, test_the_monotonic_clock_never_goes_back);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
