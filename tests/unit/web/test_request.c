/* test_request.c: what is read of a request, and what is refused */
#include <CUnit/Basic.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/web/request.h"

static struct request_refusal why;

/* Reads a request of up to ten parameters; true when it is taken. */
static bool take(struct request *r, const char *body, char *const environment[])
{
    enum status s = request_open(r, environment, "10.0.0.1, ::1", &why);

    if (s == STATUS_OK)
        s = request_take_body(r, body, strlen(body), &why);
    return s == STATUS_OK;
}

#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})
#define P(text) ((char *)(uintptr_t)(text))

static void path_query_and_form_are_decoded_once(void)
{
    struct request r;

    bool taken = take(&r, "x=%C3%A4+b&y=",
                      ENV(P("REQUEST_METHOD=POST"), P("REQUEST_URI=/a%20b/c?q=1%2B1&q=2&e"),
                          P("CONTENT_TYPE=Application/X-WWW-Form-Urlencoded; charset=utf-8")));
    CU_ASSERT_TRUE_FATAL(taken);
    CU_ASSERT_EQUAL(r.method, METHOD_POST);
    CU_ASSERT_STRING_EQUAL(r.path, "/a b/c");
    CU_ASSERT_STRING_EQUAL(request_query(&r, "q"), "1+1");
    CU_ASSERT_STRING_EQUAL(request_query(&r, "e"), "");
    CU_ASSERT_PTR_NULL(request_query(&r, "none"));
    CU_ASSERT_STRING_EQUAL(request_form(&r, "x"), "ä b");
    CU_ASSERT_STRING_EQUAL(request_form(&r, "y"), "");
    request_term(&r);
}

static void head_is_get_without_a_body(void)
{
    struct request r;

    bool taken = take(&r, "", ENV(P("REQUEST_METHOD=HEAD"), P("REQUEST_URI=/")));
    CU_ASSERT_TRUE_FATAL(taken);
    CU_ASSERT_EQUAL(r.method, METHOD_GET);
    CU_ASSERT_TRUE(r.head);
    CU_ASSERT_EQUAL(strlen(r.id), 24);
    request_term(&r);
}

static void what_is_badly_encoded_or_too_large_is_refused(void)
{
    static char query[9000] = "REQUEST_URI=/?", cookie[40000] = "HTTP_COOKIE=";
    static const struct {
        const char *uri, *type, *body;
        int status;
    } cases[] = {
        {"REQUEST_URI=/?a=%zz", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/?a=%00", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/?a=%ff", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/?a=%c0%80", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/?a=%e", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/?a=b&c=%00", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/%ff", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/a%2fb", "CONTENT_TYPE=", "", 400},
        {"REQUEST_URI=/", "CONTENT_TYPE=application/x-www-form-urlencoded", "a=%00", 400},
        {"REQUEST_URI=/", "CONTENT_TYPE=application/x-www-form-urlencoded", "a=b&c=%00", 400},
        {"REQUEST_URI=/", "CONTENT_LENGTH=abc", "", 400},
        {"REQUEST_URI=/", "CONTENT_LENGTH=99999999999999999999999", "", 400},
        {"REQUEST_URI=/", "CONTENT_LENGTH=4", "abc", 400},
        {query, "CONTENT_TYPE=", "", 414},
        {"REQUEST_URI=/", cookie, "", 431},
    };

    memset(query + strlen(query), 'x', 8500);
    memset(cookie + strlen(cookie), 'x', 35000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request r;
        bool taken = take(&r, cases[i].body, ENV(P("REQUEST_METHOD=POST"), P(cases[i].uri), P(cases[i].type)));

        if (taken || why.status != cases[i].status)
            printf("case %zu: %d\n", i, why.status);
        CU_ASSERT_FALSE(taken);
        CU_ASSERT_EQUAL(why.status, cases[i].status);
        CU_ASSERT_PTR_NULL(request_query(&r, "a"));
        CU_ASSERT_PTR_NULL(request_form(&r, "a"));
        request_term(&r);
    }
}

static void forwarded_headers_count_only_of_trusted_proxies(void)
{
    static const struct {
        const char *peer, *forwarded, *address;
        bool https;
    } cases[] = {
        {"REMOTE_ADDR=192.0.2.9", "HTTP_X_FORWARDED_FOR=198.51.100.7", "192.0.2.9", false},
        {"REMOTE_ADDR=10.0.0.1", "HTTP_X_FORWARDED_FOR=198.51.100.7", "198.51.100.7", true},
        {"REMOTE_ADDR=10.0.0.1", "HTTP_X_FORWARDED_FOR=1.1.1.1, 198.51.100.7", "198.51.100.7", true},
        {"REMOTE_ADDR=10.0.0.1", "HTTP_X_FORWARDED_FOR=198.51.100.7, 10.0.0.1", "198.51.100.7", true},
        {"REMOTE_ADDR=::1", "HTTP_X_FORWARDED_FOR=2001:db8::1", "2001:db8::1", true},
        {"REMOTE_ADDR=10.0.0.1", "HTTP_X_FORWARDED_FOR=rubbish", "10.0.0.1", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request r;

        bool taken = take(&r, "",
                          ENV(P("REQUEST_METHOD=GET"), P("REQUEST_URI=/"), P(cases[i].peer), P(cases[i].forwarded),
                              P("HTTP_X_FORWARDED_PROTO=https")));
        CU_ASSERT_TRUE_FATAL(taken);
        CU_ASSERT_STRING_EQUAL(r.address, cases[i].address);
        CU_ASSERT_EQUAL(r.https, cases[i].https);
        request_term(&r);
    }
}

static void cookies_and_headers_are_found_by_name(void)
{
    struct request r;

    bool taken = take(&r, "",
                      ENV(P("REQUEST_METHOD=GET"), P("REQUEST_URI=/"), P("HTTP_COOKIE=ab=1; a=2;b=3"),
                          P("HTTP_CE_ID=x"), P("HTTP_ACCEPT=text/html,application/json")));
    CU_ASSERT_TRUE_FATAL(taken);
    CU_ASSERT_STRING_EQUAL(request_cookie(&r, "a"), "2");
    CU_ASSERT_STRING_EQUAL(request_cookie(&r, "b"), "3");
    CU_ASSERT_PTR_NULL(request_cookie(&r, "c"));
    CU_ASSERT_STRING_EQUAL(request_header(&r, "ce-id"), "x");
    CU_ASSERT_PTR_NULL(request_header(&r, "ce-source"));
    CU_ASSERT_TRUE(request_wants_html(&r));
    request_term(&r);
}

static void an_ipv6_address_stands_for_its_network(void)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.2", "192.0.2.2"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"::FFFF:C000:201", "192.0.2.1"},
        {"2001:db8:1:2::1", "2001:db8:1:2::/64"},
        {"2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"},
        {"2001:db8:1:3::1", "2001:db8:1:3::/64"},
        {"::1", "::/64"},
        {"", ""},
        {"unix:", "unix:"},
        {"2001:db8::1%eth0", "2001:db8::1%eth0"},
    };
    char out[REQUEST_NETWORK_SIZE], longest[200];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request_network(rows[i][0], out);
        CU_ASSERT_STRING_EQUAL(out, rows[i][1]);
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    request_network(longest, out);
    CU_ASSERT_EQUAL(strlen(out), sizeof out - 1);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (sodium_init() < 0 || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("request", NULL, NULL);
    CU_ADD_TEST(suite, path_query_and_form_are_decoded_once);
    CU_ADD_TEST(suite, head_is_get_without_a_body);
    CU_ADD_TEST(suite, what_is_badly_encoded_or_too_large_is_refused);
    CU_ADD_TEST(suite, forwarded_headers_count_only_of_trusted_proxies);
    CU_ADD_TEST(suite, cookies_and_headers_are_found_by_name);
    CU_ADD_TEST(suite, an_ipv6_address_stands_for_its_network);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
