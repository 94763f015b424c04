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
    {METHOD_GET, "/", WHO_ANYONE, false, one},
    {METHOD_GET, "/api/things/:id", WHO_KEY_READ, false, one},
    {METHOD_PUT, "/api/things/:id", WHO_KEY_ADMIN, false, one},
    {METHOD_GET, "/api/things/:id/parts/:part", WHO_KEY_READ, false, one},
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
    CU_ADD_TEST(suite, a_wrong_method_says_which_are_right);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
