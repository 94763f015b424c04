/* test_buffer.c: growth, bounds, and failing once */
#include <CUnit/Basic.h>
#include <string.h>

#include "lib/base/buffer.h"

static void test_it_grows_and_is_always_terminated(void)
{
    struct buffer b;

    buffer_init(&b, 0);
    for (int i = 0; i < 10000; i++)
        buffer_format(&b, "%04d", i);
    CU_ASSERT_FALSE(b.failed);
    CU_ASSERT_EQUAL(b.length, 40000);
    CU_ASSERT_EQUAL(strlen(b.data), 40000);
    CU_ASSERT_EQUAL(memcmp(b.data + 39996, "9999", 5), 0);
    buffer_term(&b);
}

static void test_it_takes_its_maximum_and_not_a_byte_more(void)
{
    struct buffer b;

    buffer_init(&b, 10);
    buffer_text(&b, "0123456789");
    CU_ASSERT_FALSE(b.failed);
    buffer_add(&b, "x", 1);
    CU_ASSERT_TRUE(b.failed);
    CU_ASSERT_STRING_EQUAL(b.data, "0123456789");
    buffer_term(&b);
}

static void test_after_a_failure_nothing_more_is_appended_until_it_is_cleared(void)
{
    struct buffer b;

    buffer_init(&b, 4);
    buffer_format(&b, "%s", "too long");
    buffer_text(&b, "ab");
    CU_ASSERT_TRUE(b.failed);
    CU_ASSERT_EQUAL(b.length, 0);
    buffer_clear(&b);
    buffer_text(&b, "ab");
    CU_ASSERT_FALSE(b.failed);
    CU_ASSERT_STRING_EQUAL(b.data, "ab");
    buffer_term(&b);
}

static void test_bytes_with_a_nul_are_kept(void)
{
    struct buffer b;

    buffer_init(&b, 0);
    buffer_add(&b, "a\0b", 3);
    CU_ASSERT_EQUAL(b.length, 3);
    CU_ASSERT_EQUAL(memcmp(b.data, "a\0b", 4), 0);
    buffer_term(&b);
    CU_ASSERT_PTR_NULL(b.data);
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    CU_initialize_registry();
    s = CU_add_suite("buffer", NULL, NULL);
    CU_ADD_TEST(s, test_it_grows_and_is_always_terminated);
    CU_ADD_TEST(s, test_it_takes_its_maximum_and_not_a_byte_more);
    CU_ADD_TEST(s, test_after_a_failure_nothing_more_is_appended_until_it_is_cleared);
    CU_ADD_TEST(s, test_bytes_with_a_nul_are_kept);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
