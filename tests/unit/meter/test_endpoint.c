/* test_endpoint.c: paths are read as servers read them, names stay bounded */
#include <stdio.h>
#include <string.h>

#include <CUnit/Basic.h>

#include "lib/meter/endpoint.h"

static void paths_resolve_as_servers_resolve_them(void)
{
    static const struct {
        const char *uri, *path; /* NULL: refused */
    } cases[] = {
        {"/api/x", "/api/x"},
        {"/api/x?y=/../z", "/api/x"},
        {"/api/x#y", "/api/x"},
        {"//api///x", "/api/x"},
        {"/api/./x/.", "/api/x/"},
        {"/api/usage/../px/a", "/api/px/a"},
        {"/api/usage/%2e%2e/px/a", "/api/px/a"},
        {"/api/usage/%2E./px/a", "/api/px/a"},
        {"/%61pi/x", "/api/x"},
        {"/api/caf%C3%A9", "/api/caf\xc3\xa9"},
        {"/api/...", "/api/..."},
        {"http://host/api/x", "/api/x"},
        {"HTTPS://host:8/api/x", "/api/x"},
        {"http://user:word@host:80/api/x?y", "/api/x"},
        {"http://[::1]:80/api/x", "/api/x"},
        {"http://host//api/x", "/api/x"},
        {"http://host/", "/"},
        {"http://127.0.0.1?x/api/tenants", NULL},
        {"http://127.0.0.1#x/api/tenants", NULL},
        {"http://127.0.0.1:80?/api/tenants", NULL},
        {"HTTPS://u@h?/api/tenants", NULL},
        {"http://host\\x/api/tenants", NULL},
        {"http:///api/tenants", NULL},
        {"http://", NULL},
        {"http://?/api", NULL},
        {"http:/api", NULL},
        {"http:api", NULL},
        {"ftp://host/api", NULL},
        {"/", "/"},
        {"", NULL},
        {"api/x", NULL},
        {"http://host", NULL},
        {"*", NULL},
        {"/..", NULL},
        {"/api/../..", NULL},
        {"/api%2fx", NULL},
        {"/api%5cx", NULL},
        {"/api\\x", NULL},
        {"/api/%00", NULL},
        {"/api/%0a", NULL},
        {"/api/\x01", NULL},
        {"/api/%", NULL},
        {"/api/%4", NULL},
        {"/api/%zz", NULL},
        {"/api/%252e", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[ENDPOINT_PATH_SIZE] = "";
        size_t length = 0;
        enum status s = endpoint_resolve(cases[i].uri, path, &length);
        bool right = cases[i].path ? s == STATUS_OK && strcmp(path, cases[i].path) == 0 && length == strlen(path)
                                   : s == STATUS_INVALID;
        if (!right)
            printf("\n%s gave %s (%s)\n", cases[i].uri, path, status_text(s));
        CU_ASSERT_TRUE(right);
    }
}

static void a_path_that_is_too_long_is_refused(void)
{
    char uri[ENDPOINT_PATH_SIZE + 100], path[ENDPOINT_PATH_SIZE];
    size_t length;
    memset(uri, 'a', sizeof uri);
    uri[0] = '/';
    uri[ENDPOINT_PATH_SIZE - 1] = '\0';
    CU_ASSERT_EQUAL(endpoint_resolve(uri, path, &length), STATUS_OK);
    uri[ENDPOINT_PATH_SIZE - 1] = 'a';
    uri[ENDPOINT_PATH_SIZE] = '\0';
    CU_ASSERT_EQUAL(endpoint_resolve(uri, path, &length), STATUS_LIMIT);
}

static void identifiers_are_named_id(void)
{
    static const char *const cases[][2] = {
        {"/patients/123", "/patients/:id"},
        {"/patients/123/notes/7", "/patients/:id/notes/:id"},
        {"/p/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/p/:id"},
        {"/p/deadbeef01", "/p/:id"},
        {"/p/deadbeef", "/p/deadbeef"},
        {"/p/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/p/:id"},
        {"/u/a@example.org", "/u/:id"},
        {"/v2/patients/", "/v2/patients"},
        {"/", "/"},
        {"", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[ENDPOINT_NAME_SIZE];
        size_t n = endpoint_normalise(cases[i][0], strlen(cases[i][0]), name);
        CU_ASSERT_STRING_EQUAL(name, cases[i][1]);
        CU_ASSERT_EQUAL(n, strlen(name));
    }
}

static void a_name_never_outgrows_its_buffer(void)
{
    char path[ENDPOINT_PATH_SIZE], name[ENDPOINT_NAME_SIZE];
    for (size_t step = 1; step < 60; step++) {
        memset(path, 'a', sizeof path);
        for (size_t i = 0; i < sizeof path; i += step)
            path[i] = '/';
        size_t n = endpoint_normalise(path, sizeof path - 1, name);
        CU_ASSERT_TRUE(n < ENDPOINT_NAME_SIZE);
        CU_ASSERT_EQUAL(n, strlen(name));
    }
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("endpoint", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(paths_resolve_as_servers_resolve_them);
    ADD(a_path_that_is_too_long_is_refused);
    ADD(identifiers_are_named_id);
    ADD(a_name_never_outgrows_its_buffer);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
