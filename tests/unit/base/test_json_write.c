/* test_json_write.c: documents as they are written, and what does not fit */
#include <CUnit/Basic.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json_write.h"

static void everything_nests_and_has_its_commas(void)
{
    static const char wanted[] = "{\"a\":\"x\",\"c\":[1,-2,[true]],\"e\":18446744073709551615,"
                                 "\"f\":-9223372036854775808,\"g\":false,\"h\":[]}";
    char out[256];
    struct json_write w;

    json_write_begin(&w, out, sizeof out);
    json_write_text(&w, "a", "x");
    json_write_array(&w, "c");
    json_write_integer(&w, NULL, 1);
    json_write_integer(&w, NULL, -2);
    json_write_array(&w, NULL);
    json_write_boolean(&w, NULL, true);
    json_write_close(&w);
    json_write_close(&w);
    json_write_count(&w, "e", UINT64_MAX);
    json_write_integer(&w, "f", INT64_MIN);
    json_write_boolean(&w, "g", false);
    json_write_array(&w, "h");
    CU_ASSERT_EQUAL(json_write_end(&w), strlen(wanted));
    CU_ASSERT_STRING_EQUAL(out, wanted);
}

static void text_is_escaped(void)
{
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"", ""},
        {"a/b", "a/b"},
        {"say \"x\"", "say \\\"x\\\""},
        {"C:\\n", "C:\\\\n"},
        {"\b\f\n\r\t", "\\b\\f\\n\\r\\t"},
        {"\x01\x1f\x7f", "\\u0001\\u001f\x7f"},
        {"bf nrt", "bf nrt"},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80"},
        {"a\xff\xed\xa0\x80z", "a\\ufffd\\ufffd\\ufffd\\ufffdz"},
        {"\xe2\x82", "\\ufffd\\ufffd"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[128], wanted[128] = "{\"t\":\"";
        struct json_write w;

        strcat(strcat(wanted, cases[i].written), "\"}");
        json_write_begin(&w, out, sizeof out);
        json_write_text(&w, "t", cases[i].text);
        CU_ASSERT_EQUAL(json_write_end(&w), strlen(wanted));
        CU_ASSERT_STRING_EQUAL(out, wanted);
    }
}

/* Every byte but NUL, and a name that needs escaping: json-c reads the same back. */
static void what_is_written_is_read_again(void)
{
    char text[128], out[1024];
    struct json_write w;

    for (int c = 1; c < 128; c++)
        text[c - 1] = (char)c;
    text[127] = '\0';
    json_write_begin(&w, out, sizeof out);
    json_write_text(&w, text, text);
    CU_ASSERT(json_write_end(&w) > 0);
    struct json_object *o = json_tokener_parse(out), *v = NULL;

    CU_ASSERT_PTR_NOT_NULL_FATAL(o);
    CU_ASSERT_TRUE(json_object_object_get_ex(o, text, &v));
    CU_ASSERT_STRING_EQUAL(json_object_get_string(v), text);
    json_object_put(o);
}

/* Each size is too small but the last; nothing is written behind the buffer (the sanitizer looks). */
static void what_does_not_fit_is_nothing(void)
{
    for (size_t size = 1; size <= sizeof "{\"a\":\"x\\ny\",\"b\":12}"; size++) {
        char *out = malloc(size);
        struct json_write w;
        bool fits = size == sizeof "{\"a\":\"x\\ny\",\"b\":12}";

        CU_ASSERT_PTR_NOT_NULL_FATAL(out);
        json_write_begin(&w, out, size);
        json_write_text(&w, "a", "x\ny");
        json_write_integer(&w, "b", 12);
        CU_ASSERT_EQUAL(json_write_end(&w), fits ? size - 1 : 0);
        CU_ASSERT_STRING_EQUAL(out, fits ? "{\"a\":\"x\\ny\",\"b\":12}" : "");
        free(out);
    }
}

static void depth_is_bounded(void)
{
    char out[256];
    struct json_write w;

    json_write_begin(&w, out, sizeof out);
    for (int i = 1; i < JSON_WRITE_DEPTH; i++)
        json_write_array(&w, i == 1 ? "a" : NULL);
    CU_ASSERT_FALSE(w.failed);
    json_write_array(&w, NULL);
    CU_ASSERT_TRUE(w.failed);
    CU_ASSERT_EQUAL(json_write_end(&w), 0);
}

static void numbers_of_any_size_are_made_to_fit(void)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"{\"a\": 9007199254740993, \"b\": -1, \"c\": 0.1234567890123456789012}",
         "{\"a\": 9007199254740993, \"b\": -1, \"c\": 0.1234567890123456789012}"},
        {"[1234567890123456789]", "[1.2345678901234567e18]"},
        {"[-1000000000000000000000000000000000000000.5, 2]", "[-1.0000000000000000e39, 2]"},
        {"{\"1234567890123456789012\": \"\\\\\\\"1234567890123456789012\"}",
         "{\"1234567890123456789012\": \"\\\\\\\"1234567890123456789012\"}"},
        {"", ""},
    };
    char huge[402], *fitting;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fitting = json_fit_numbers(cases[i].text);
        CU_ASSERT_STRING_EQUAL(fitting, cases[i].wanted);
        free(fitting);
    }
    memset(huge, '9', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    fitting = json_fit_numbers(huge);
    CU_ASSERT_STRING_EQUAL(fitting, "1e308");
    free(fitting);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("json_write", NULL, NULL);
    CU_ADD_TEST(suite, everything_nests_and_has_its_commas);
    CU_ADD_TEST(suite, text_is_escaped);
    CU_ADD_TEST(suite, what_is_written_is_read_again);
    CU_ADD_TEST(suite, what_does_not_fit_is_nothing);
    CU_ADD_TEST(suite, depth_is_bounded);
    CU_ADD_TEST(suite, numbers_of_any_size_are_made_to_fit);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
