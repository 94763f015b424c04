/* test_utf8.c: what is well-formed UTF-8 */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/utf8.h"

static void sequences_are_told_from_what_only_looks_like_them(void)
{
    static const struct {
        const char *bytes;
        size_t length; /* of the sequence; 0: none */
    } cases[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xc2\x80", 2},
        {"\xdf\xbf", 2},
        {"\xdf", 0},
        {"\xdf\x41", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xe0\xa0\x80", 3},
        {"\xe2\x82\xac", 3},
        {"\xe2\x82", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},
        {"\xed\xbf\xbf", 0},
        {"\xee\x80\x80", 3},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length = strlen(cases[i].bytes);

        CU_ASSERT_EQUAL(utf8_sequence(cases[i].bytes, length), cases[i].length);
        CU_ASSERT_EQUAL(utf8_valid(cases[i].bytes, length), cases[i].length == length);
    }
    CU_ASSERT_TRUE(utf8_valid("", 0));
    CU_ASSERT_TRUE(utf8_valid("a\0b", 3));
    CU_ASSERT_FALSE(utf8_valid("ab\xc3", 3));
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("utf8", NULL, NULL);
    CU_ADD_TEST(suite, sequences_are_told_from_what_only_looks_like_them);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
