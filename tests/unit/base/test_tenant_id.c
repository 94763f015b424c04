/* test_tenant_id.c: which texts may be a tenant's id */
#include <CUnit/Basic.h>
#include <string.h>

#include "lib/base/tenant_id.h"

static void ids_that_a_header_carries_are_taken(void)
{
    static const char *const ids[] = {"a",
                                      "17",
                                      "acme corp",
                                      "Praxis M\xc3\xbcller & S\xc3\xb6hne?",
                                      "odd/..;\\~2F %2F",
                                      "\xf0\x9f\x8f\xa5",
                                      "a\xc2\xa0z",
                                      "\xc2\xa1Hola!"};

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        CU_ASSERT_PTR_NULL(tenant_id_problem(ids[i]));
}

static void others_are_refused_with_their_reason(void)
{
    static const struct {
        const char *id, *problem;
    } cases[] = {
        {"", "is empty"},
        {"a,b", "holds a comma"},
        {"evil\r\nX-Tollgate-Tier: gold", "holds a control character"},
        {"tab\there", "holds a control character"},
        {"del\x7f", "holds a control character"},
        {"c1\xc2\x85x", "holds a control character"},
        {"sp ", "begins or ends with white space"},
        {" sp", "begins or ends with white space"},
        {"\xc2\xa0sp", "begins or ends with white space"},
        {"sp\xe2\x80\x89", "begins or ends with white space"},
        {"\xe3\x80\x80", "begins or ends with white space"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CU_ASSERT_STRING_EQUAL(tenant_id_problem(cases[i].id) ? tenant_id_problem(cases[i].id) : "none",
                               cases[i].problem);
}

static void an_id_has_at_most_255_bytes(void)
{
    char id[257];

    memset(id, 'x', 256);
    id[256] = '\0';
    CU_ASSERT_STRING_EQUAL(tenant_id_problem(id), "is longer than 255 bytes");
    CU_ASSERT_PTR_NULL(tenant_id_problem(id + 1));
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("tenant_id", NULL, NULL);
    CU_ADD_TEST(suite, ids_that_a_header_carries_are_taken);
    CU_ADD_TEST(suite, others_are_refused_with_their_reason);
    CU_ADD_TEST(suite, an_id_has_at_most_255_bytes);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
