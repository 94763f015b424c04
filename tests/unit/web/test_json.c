/* test_json.c: documents are bounded, numbers exact */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/meter/event.h"
#include "lib/web/json.h"

static enum status reads(const char *text, size_t length)
{
    struct json_object *document = NULL;
    struct json_problem problem;
    enum status s = json_read(text, length, NULL, &document, &problem);

    json_object_put(document);
    return s;
}

static void whole_documents_are_read_and_nothing_may_stand_behind(void)
{
    static const char *const good[] = {"{}",   "[]",  "1",  "\"a\"", " {\"a\":[1,2,{\"b\":null}]} \n",
                                       "null", "0.1", "1e3"};
    static const char *const bad[] = {
        "",      "{",          "{} x",          "[1,]", "{'a':1}",   "{\"a\":1,}", "nul",          "NaN",
        "[NaN]", "[Infinity]", "01x",           "\"a",  "{\"a\" 1}", "\"\xff\"",   "\"\xc0\x80\"", "[1] [2]",
        "01.5",  "[-00.5]",    "{\"a\":007e1}", "1.",   "[1.e3]",    "-Infinity",  "[-]",          "[1e]"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CU_ASSERT_EQUAL(reads(good[i], strlen(good[i])), STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (reads(bad[i], strlen(bad[i])) != STATUS_INVALID)
            printf("accepted: %s\n", bad[i]);
        CU_ASSERT_EQUAL(reads(bad[i], strlen(bad[i])), STATUS_INVALID);
    }
    CU_ASSERT_EQUAL(reads("{}\0{}", 5), STATUS_INVALID);
}

static void nesting_is_bounded(void)
{
    char text[2 * 100 + 1];

    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    CU_ASSERT_EQUAL(reads(text, 200), STATUS_INVALID);
    CU_ASSERT_EQUAL(reads(text + 90, 20), STATUS_OK);
}

static void what_would_cost_too_much_is_not_built(void)
{
    static const char quoted[] = "{\"a\":[1,2,\"[[[,,,\\\"{{{\"]}";
    static char text[300001] = "[";
    struct json_object *document = NULL;
    struct json_problem problem;
    size_t budget = 1000;

    for (size_t i = 0; i < 100000; i++)
        memcpy(text + 1 + 3 * i, "{},", 3);
    CU_ASSERT_EQUAL(json_read(text, sizeof text - 1, &budget, &document, &problem), STATUS_LIMIT);
    CU_ASSERT_EQUAL(budget, 1000);
    memset(text, '[', sizeof text);
    CU_ASSERT_EQUAL(json_read(text, sizeof text - 1, &budget, &document, &problem), STATUS_LIMIT);
    memset(text + 1, ',', sizeof text - 1);
    CU_ASSERT_EQUAL(json_read(text, sizeof text - 1, &budget, &document, &problem), STATUS_LIMIT);
    CU_ASSERT_EQUAL(json_read(quoted, strlen(quoted), &budget, &document, &problem), STATUS_OK);
    CU_ASSERT_EQUAL(budget, 1000 - 2 * JSON_CONTAINER_COST - 2);
    json_object_put(document);
}

static void a_name_holds_no_nul(void)
{
    static const char *const bad[] = {"{\"a\\u0000b\":1}", "{\"\\u0000\" \n:1}", "{\"x\":{\"\\\\\\u0000\":[]}}"};
    static const char *const good[] = {"{\"a\\\\u0000\":1}", "{\"a\":\"\\u0000\"}", "[\"\\u0000\"]"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(reads(bad[i], strlen(bad[i])), STATUS_INVALID);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CU_ASSERT_EQUAL(reads(good[i], strlen(good[i])), STATUS_OK);
}

static void numbers_that_the_database_can_not_hold_are_told(void)
{
    static const struct {
        const char *text;
        bool fits;
    } cases[] = {
        {"[1,-2.5,1e300,1E-300,1e+1000,\"1e999999\",18446744073709551614,-9223372036854775807]", true},
        {"{\"a\":[{\"b\":1e200000}]}", false},
        {"[1e-200000]", false},
        {"[1e1001]", false},
        {"[123456789012345678901234567890]", false},
        {"[-123456789012345678901234567890]", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *document = NULL;
        struct json_problem problem;

        CU_ASSERT_EQUAL_FATAL(json_read(cases[i].text, strlen(cases[i].text), NULL, &document, &problem), STATUS_OK);
        CU_ASSERT_EQUAL(json_fits_database(document), cases[i].fits);
        json_object_put(document);
    }
}

static void a_problem_names_its_place(void)
{
    struct json_object *document = NULL;
    struct json_problem problem;

    CU_ASSERT_EQUAL(json_read("{\"a\":x}", 7, NULL, &document, &problem), STATUS_INVALID);
    CU_ASSERT_EQUAL(problem.offset, 5);
    CU_ASSERT_NOT_EQUAL(problem.message[0], '\0');
}

static void a_number_of_a_document_keeps_its_digits(void)
{
    struct json_object *document = NULL;
    struct json_problem problem;
    int64_t value = 0;

    CU_ASSERT_EQUAL_FATAL(json_read("123456.654321", 13, NULL, &document, &problem), STATUS_OK);
    CU_ASSERT_EQUAL(json_millionths(document, &value), STATUS_OK);
    CU_ASSERT_EQUAL(value, 123456654321);
    json_object_put(document);
    CU_ASSERT_EQUAL(json_millionths(NULL, &value), STATUS_INVALID);
}

static void a_nul_within_a_string_is_found(void)
{
    struct json_object *document = NULL;
    struct json_problem problem;

    CU_ASSERT_EQUAL_FATAL(json_read("{\"a\":[\"x\\u0000y\"]}", 18, NULL, &document, &problem), STATUS_OK);
    CU_ASSERT_TRUE(json_has_nul(document));
    json_object_put(document);
    CU_ASSERT_EQUAL_FATAL(json_read("{\"a\":[\"xy\"]}", 12, NULL, &document, &problem), STATUS_OK);
    CU_ASSERT_FALSE(json_has_nul(document));
    json_object_put(document);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("json", NULL, NULL);
    CU_ADD_TEST(suite, whole_documents_are_read_and_nothing_may_stand_behind);
    CU_ADD_TEST(suite, nesting_is_bounded);
    CU_ADD_TEST(suite, what_would_cost_too_much_is_not_built);
    CU_ADD_TEST(suite, a_name_holds_no_nul);
    CU_ADD_TEST(suite, numbers_that_the_database_can_not_hold_are_told);
    CU_ADD_TEST(suite, a_problem_names_its_place);
    CU_ADD_TEST(suite, a_number_of_a_document_keeps_its_digits);
    CU_ADD_TEST(suite, a_nul_within_a_string_is_found);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
