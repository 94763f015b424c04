/* test_router.c: which route a request means */
#include <CUnit/Basic.h>
#include <string.h>
#include <talloc.h>

#include "lib/web/router.h"

static void one(struct app *app)
{
    (void)app;
}

static const struct route table[] = {
    {METHOD_GET, "/", WHO_ANYONE, 0, BODY_NONE, false, one},
    {METHOD_GET, "/api/things/:id", WHO_KEY, 1, BODY_NONE, false, one},
    {METHOD_PUT, "/api/things/:id", WHO_KEY, 2, BODY_NONE, false, one},
    {METHOD_GET, "/api/things/:id/parts/:part", WHO_KEY, 1, BODY_NONE, false, one},
};
#define N (sizeof table / sizeof table[0])

static enum status find(enum request_method method, const char *path, void *pool, struct route_match *m)
{
    struct request r = {.method = method, .path = path, .pool = pool};

    return router_find(table, N, &r, m);
}

static void a_path_is_matched_segment_by_segment(void)
{
    void *pool = talloc_new(NULL);
    struct route_match m = {0};
    char long_one[400] = "/api/things/";

    CU_ASSERT_EQUAL(find(METHOD_GET, "/", pool, &m), STATUS_OK);
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/things/a b", pool, &m), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(router_value(&m, "id"), "a b");
    CU_ASSERT_PTR_NULL(router_value(&m, "part"));
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/things/x/parts/y", pool, &m), STATUS_OK);
    CU_ASSERT_STRING_EQUAL(router_value(&m, "part"), "y");
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/things", pool, &m), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/things/", pool, &m), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/things/x/", pool, &m), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(find(METHOD_GET, "/api/Things/x", pool, &m), STATUS_NOT_FOUND);
    CU_ASSERT_EQUAL(find(METHOD_GET, "", pool, &m), STATUS_NOT_FOUND);
    memset(long_one + 12, 'x', 300);
    CU_ASSERT_EQUAL(find(METHOD_GET, long_one, pool, &m), STATUS_NOT_FOUND);
    talloc_free(pool);
}

static void any_value_goes_through_a_segment_and_back(void)
{
    static const char *const values[] = {"tenant_1",       "a/b",  "..",   ".", "a.b", "~", "~2F", "100 %", "a\\b",
                                         "Zahn\u00e4rzte", "?#&;", "\x01", " ", "%2F"};
    void *pool = talloc_new(NULL);
    struct route_match m = {0};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char *segment = router_segment(pool, values[i]);
        char *path = talloc_asprintf(pool, "/api/things/%s", segment);

        CU_ASSERT_PTR_NULL(strpbrk(segment, "/%\\?#;. \x01") != NULL && strcmp(values[i], "a.b") != 0 ? segment : NULL);
        CU_ASSERT_EQUAL_FATAL(find(METHOD_GET, path, pool, &m), STATUS_OK);
        CU_ASSERT_STRING_EQUAL(router_value(&m, "id"), values[i]);
    }
    talloc_free(pool);
}

static void what_looks_like_an_encoded_byte_and_is_none_stays(void)
{
    static const char *const same[] = {"~", "a~", "~2", "~2f", "~zz", "~~"};
    static const char *const refused[] = {"~00", "a~FF", "~C3", "~E2~82"};
    void *pool = talloc_new(NULL);
    struct route_match m = {0};

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        CU_ASSERT_EQUAL_FATAL(find(METHOD_GET, talloc_asprintf(pool, "/api/things/%s", same[i]), pool, &m), STATUS_OK);
        CU_ASSERT_STRING_EQUAL(router_value(&m, "id"), same[i]);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        CU_ASSERT_EQUAL(find(METHOD_GET, talloc_asprintf(pool, "/api/things/%s", refused[i]), pool, &m),
                        STATUS_NOT_FOUND);
    talloc_free(pool);
}

static void a_wrong_method_says_which_are_right(void)
{
    void *pool = talloc_new(NULL);
    struct route_match m = {0};
    char allow[64];

    CU_ASSERT_EQUAL(find(METHOD_POST, "/api/things/x", pool, &m), STATUS_DENIED);
    CU_ASSERT_STRING_EQUAL(router_allow(m.allowed, allow), "GET, HEAD, PUT");
    CU_ASSERT_EQUAL(find(METHOD_OTHER, "/", pool, &m), STATUS_DENIED);
    CU_ASSERT_STRING_EQUAL(router_allow(m.allowed, allow), "GET, HEAD");
    talloc_free(pool);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("router", NULL, NULL);
    CU_ADD_TEST(suite, a_path_is_matched_segment_by_segment);
    CU_ADD_TEST(suite, any_value_goes_through_a_segment_and_back);
    CU_ADD_TEST(suite, what_looks_like_an_encoded_byte_and_is_none_stays);
    CU_ADD_TEST(suite, a_wrong_method_says_which_are_right);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
