/* test_decimal.c: amounts as text and back */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/decimal.h"

#define MOST INT64_C(1000000000000000000)

static void decimals_become_millionths_without_rounding(void)
{
    static const struct {
        const char *text;
        enum status status;
        int64_t value;
    } cases[] = {
        {"0", STATUS_OK, 0},
        {"-0", STATUS_OK, 0},
        {"1", STATUS_OK, 1000000},
        {"0.1", STATUS_OK, 100000},
        {"0.000001", STATUS_OK, 1},
        {"-0.000001", STATUS_OK, -1},
        {"0.0000001", STATUS_INVALID, 0},
        {"0.0000010", STATUS_OK, 1},
        {"1e3", STATUS_OK, 1000000000},
        {"1E+3", STATUS_OK, 1000000000},
        {"1e-6", STATUS_OK, 1},
        {"1e-7", STATUS_INVALID, 0},
        {"10e-7", STATUS_OK, 1},
        {"1.50e-2", STATUS_OK, 15000},
        {"4.35", STATUS_OK, 4350000},
        {"1.005", STATUS_OK, 1005000},
        {"0.29", STATUS_OK, 290000},
        {"1000000000000", STATUS_OK, MOST},
        {"1000000000000.000001", STATUS_LIMIT, 0},
        {"1000000000001", STATUS_LIMIT, 0},
        {"-1000000000000", STATUS_OK, -MOST},
        {"1e12", STATUS_OK, MOST},
        {"1e13", STATUS_LIMIT, 0},
        {"1e999999999999", STATUS_LIMIT, 0},
        {"0e999999999999", STATUS_OK, 0},
        {"1e-999999999999", STATUS_INVALID, 0},
        {"0.0e-99", STATUS_OK, 0},
        {"99999999999999999999999", STATUS_LIMIT, 0},
        {"", STATUS_INVALID, 0},
        {"-", STATUS_INVALID, 0},
        {".5", STATUS_INVALID, 0},
        {"5.", STATUS_INVALID, 0},
        {"01", STATUS_INVALID, 0},
        {"1e", STATUS_INVALID, 0},
        {"1x", STATUS_INVALID, 0},
        {"1.2.3", STATUS_INVALID, 0},
        {"NaN", STATUS_INVALID, 0},
        {"+1", STATUS_INVALID, 0},
        {"0.00000000000000000000000000001", STATUS_INVALID, 0},
        {"100000000e-14", STATUS_OK, 1},
        {"9223372036854.775807", STATUS_LIMIT, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        enum status s = decimal_parse(cases[i].text, strlen(cases[i].text), MOST, &value);

        if (s != cases[i].status || value != cases[i].value)
            printf("%s: %s %lld\n", cases[i].text, status_text(s), (long long)value);
        CU_ASSERT_EQUAL(s, cases[i].status);
        CU_ASSERT_EQUAL(value, cases[i].value);
    }
}

static void the_callers_bound_holds(void)
{
    int64_t value = 0;

    CU_ASSERT_EQUAL(decimal_parse("9223372036854.775807", 20, INT64_MAX, &value), STATUS_OK);
    CU_ASSERT_EQUAL(value, INT64_MAX);
    CU_ASSERT_EQUAL(decimal_parse("9223372036854.775808", 20, INT64_MAX, &value), STATUS_LIMIT);
    CU_ASSERT_EQUAL(decimal_parse("5", 1, 4999999, &value), STATUS_LIMIT);
    CU_ASSERT_EQUAL(decimal_parse("-4.999999", 9, 4999999, &value), STATUS_OK);
}

static void what_the_database_prints_is_held_within_bounds(void)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"", 0},
        {"0", 0},
        {"12.345678", 12345678},
        {"-12.345678", -12345678},
        {"12.5", 12500000},
        {"12.3456789", 12345678},
        {"9007199254740991", INT64_MAX},
        {"10000000000000", INT64_MAX},
        {"9223372036854.775807", INT64_MAX},
        {"9223372036854.775808", INT64_MAX},
        {"9223372036854775808", INT64_MAX},
        {"-9223372036854775808", -INT64_MAX},
        {"99999999999999999999999999.9", INT64_MAX},
        {"NaN", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CU_ASSERT_EQUAL(decimal_saturated(cases[i].text), cases[i].value);
    CU_ASSERT_EQUAL(decimal_of_whole(7), 7000000);
    CU_ASSERT_EQUAL(decimal_of_whole(INT64_MAX / 2), INT64_MAX);
    CU_ASSERT_EQUAL(decimal_of_whole(INT64_MIN), -INT64_MAX);
}

static void millionths_are_written_as_short_as_they_are(void)
{
    char text[DECIMAL_SIZE];

    CU_ASSERT_STRING_EQUAL(decimal_text(0, text), "0");
    CU_ASSERT_STRING_EQUAL(decimal_text(1, text), "0.000001");
    CU_ASSERT_STRING_EQUAL(decimal_text(-1500000, text), "-1.5");
    CU_ASSERT_STRING_EQUAL(decimal_text(100000000, text), "100");
    CU_ASSERT_STRING_EQUAL(decimal_text(INT64_MIN, text), "-9223372036854.775808");
}

static void readers_get_groups_of_three(void)
{
    char text[DECIMAL_SIZE];

    CU_ASSERT_STRING_EQUAL(decimal_grouped(1234567 * DECIMAL_ONE, 0, ",", text), "1,234,567");
    CU_ASSERT_STRING_EQUAL(decimal_grouped(999 * DECIMAL_ONE + 999999, 0, ",", text), "999");
    CU_ASSERT_STRING_EQUAL(decimal_grouped(-1000 * DECIMAL_ONE - 250000, 3, ",", text), "-1,000.25");
    CU_ASSERT_STRING_EQUAL(decimal_grouped(1499, 3, ",", text), "0.001");
    CU_ASSERT_STRING_EQUAL(decimal_grouped(499, 3, ",", text), "0");
    CU_ASSERT_EQUAL(strlen(decimal_grouped(INT64_MIN, 6, "\u202f", text)), 33);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("decimal", NULL, NULL);
    CU_ADD_TEST(suite, decimals_become_millionths_without_rounding);
    CU_ADD_TEST(suite, the_callers_bound_holds);
    CU_ADD_TEST(suite, what_the_database_prints_is_held_within_bounds);
    CU_ADD_TEST(suite, millionths_are_written_as_short_as_they_are);
    CU_ADD_TEST(suite, readers_get_groups_of_three);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
