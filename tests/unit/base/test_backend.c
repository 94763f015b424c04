/* test_backend.c: the lines of [backends], and what no server's configuration may be made of */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/backend.h"
#include "lib/base/config.h"

static struct backend b;
static char problem[512];

static bool takes(const char *path, const char *target)
{
    return backend_parse(path, target, &b, problem) == STATUS_OK;
}

static void test_http_and_fastcgi_over_tcp_and_sockets_are_taken(void)
{
    CU_ASSERT(takes("/api/orders", "http://127.0.0.1:9000"));
    CU_ASSERT(!b.fastcgi);
    CU_ASSERT_STRING_EQUAL(b.address, "127.0.0.1:9000");
    CU_ASSERT(takes("/api/orders", "http://[::1]:9000"));
    CU_ASSERT(takes("/api/orders", "http://backend.internal:80"));
    CU_ASSERT(takes("/", "http:unix:/run/my service/x.sock"));
    CU_ASSERT_STRING_EQUAL(b.address, "unix:/run/my service/x.sock");
    CU_ASSERT(takes("/api", "fastcgi://localhost:9001"));
    CU_ASSERT(b.fastcgi);
    CU_ASSERT(takes("/api", "fastcgi:unix:/run/php.sock"));
    CU_ASSERT_STRING_EQUAL(b.address, "unix:/run/php.sock");
}

static void test_what_would_be_read_as_configuration_is_refused(void)
{
    static const char *const targets[] = {
        "http://127.0.0.1:9000; return 200",
        "http://127.0.0.1:9000\"",
        "http://127.0.0.1:9000/path",
        "http://127.0.0.1:9000 ",
        "http://127.0.0.1",
        "http://:9000",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://$host:80",
        "http://user@host:80",
        "http://[::1:80",
        "http://[]:80",
        "https://127.0.0.1:443",
        "ftp://127.0.0.1:21",
        "127.0.0.1:9000",
        "unix:/run/x.sock",
        "http:unix:run/x.sock",
        "http:unix:/",
        "fastcgi:unix:/run/x\"; }.sock",
        "fastcgi:unix:/run/$x.sock",
        "fastcgi:unix:/run/x|y",
        "fastcgi:unix:/run/%{x}",
        "",
    };
    static const char *const paths[] = {"",       "api",       "/api/",   "/api//x", "/api/../x", "/api/.",
                                        "/api x", "/api\"x",   "/api{x}", "/api;x",  "/api$x",    "/api%41",
                                        "/api#x", "/\xc3\xa4", "/api|x",  "/api\\x"};

    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        CU_ASSERT_FALSE(takes("/api/orders", targets[i]));
        CU_ASSERT(strstr(problem, "backends") != NULL);
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        CU_ASSERT_FALSE(takes(paths[i], "http://127.0.0.1:9000"));
}

static void test_a_path_that_is_handed_over_is_told_to_be_left_out(void)
{
    CU_ASSERT_FALSE(takes("/api/orders", "http://127.0.0.1:9000/orders"));
    CU_ASSERT(strstr(problem, "leave /orders out") != NULL);
}

/* Whether a file with these lines is taken. */
static bool loads(const char *text)
{
    char path[] = "/tmp/test_backend.XXXXXX";
    struct config *c = NULL;
    FILE *f = fdopen(mkstemp(path), "w");
    bool ok;

    fputs(text, f);
    fclose(f);
    ok = config_load(path, &c, problem) == STATUS_OK;
    config_free(c);
    unlink(path);
    return ok;
}

static void test_a_back_end_stands_behind_the_gate_or_not_at_all(void)
{
    CU_ASSERT(loads("[backends]\n/api/orders = http://127.0.0.1:1\n/api = http://127.0.0.1:2\n"));
    CU_ASSERT_FALSE(loads("[backends]\n/shop = http://127.0.0.1:1\n"));
    CU_ASSERT(strstr(problem, "/shop is not metered") != NULL);
    CU_ASSERT_FALSE(loads("[backends]\n/apix = http://127.0.0.1:1\n"));
    CU_ASSERT_FALSE(loads("[backends]\n/api/usage = http://127.0.0.1:1\n"));
    CU_ASSERT(strstr(problem, "Tollgate's own") != NULL);
    CU_ASSERT_FALSE(loads("[backends]\n/api/subscription/x = http://127.0.0.1:1\n"));
    CU_ASSERT_FALSE(loads("[backends]\n/api/tenants = http://127.0.0.1:1\n"));
    CU_ASSERT_FALSE(loads("[backends]\n/api/x = http://127.0.0.1:1\n/api/x = http://127.0.0.1:2\n"));
    CU_ASSERT(strstr(problem, "twice") != NULL);
    CU_ASSERT(loads(
        "[gate]\nprefix = /\n[web]\npage_prefix = /usage\napi_prefix = /own\n[backends]\n/ = http://127.0.0.1:1\n"));
    CU_ASSERT_FALSE(
        loads("[gate]\nprefix = /\n[web]\npage_prefix = /usage\n[backends]\n/usage/x = http://127.0.0.1:1\n"));
}

int main(void)
{
    CU_pSuite s;

    CU_initialize_registry();
    s = CU_add_suite("backend", NULL, NULL);
    CU_ADD_TEST(s, test_http_and_fastcgi_over_tcp_and_sockets_are_taken);
    CU_ADD_TEST(s, test_what_would_be_read_as_configuration_is_refused);
    CU_ADD_TEST(s, test_a_path_that_is_handed_over_is_told_to_be_left_out);
    CU_ADD_TEST(s, test_a_back_end_stands_behind_the_gate_or_not_at_all);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int failed = (int)CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
