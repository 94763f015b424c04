/* test_session.c: the cookie of a sign-in */
#include <CUnit/Basic.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <talloc.h>

#include "lib/web/session.h"

static unsigned char token[SESSION_BYTES];

/* The one header that session_cookie_set leaves, as text in `out`. */
static void header(bool secure, const unsigned char *value, char out[512])
{
    struct response r;

    response_init(&r);
    session_cookie_set(&r, SESSION_COOKIE, secure, value);
    snprintf(out, 512, "%.*s", (int)r.headers.length, r.headers.data);
    response_term(&r);
}

static enum status read_back(const char *cookie, bool secure, unsigned char out[SESSION_BYTES])
{
    struct request r = {.cookie = cookie, .pool = talloc_new(NULL)};
    enum status s = session_cookie_read(&r, SESSION_COOKIE, secure, out);

    talloc_free(r.pool);
    return s;
}

static void a_cookie_is_for_this_site_and_http_only(void)
{
    char line[512];

    header(false, token, line);
    CU_ASSERT_EQUAL(strncmp(line, "Set-Cookie: tollgate_session=", 29), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "; Path=/; HttpOnly; SameSite=Lax\r\n"));
    CU_ASSERT_PTR_NULL(strstr(line, "Secure"));
}

static void under_https_it_is_secure_and_bound_to_the_host(void)
{
    char line[512];

    header(true, token, line);
    CU_ASSERT_EQUAL(strncmp(line, "Set-Cookie: __Host-tollgate_session=", 36), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "; Path=/; HttpOnly; SameSite=Lax; Secure\r\n"));
    CU_ASSERT_PTR_NULL(strstr(line, "Domain"));
}

static void forgetting_it_leaves_no_value(void)
{
    char line[512];

    header(false, NULL, line);
    CU_ASSERT_STRING_EQUAL(line, "Set-Cookie: tollgate_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0\r\n");
}

static void what_was_set_is_read_back(void)
{
    unsigned char back[SESSION_BYTES] = {0};
    char line[512], cookie[700], *value;

    for (int secure = 0; secure < 2; secure++) {
        header(secure, token, line);
        value = line + strlen("Set-Cookie: ");
        *strchr(value, ';') = '\0';
        snprintf(cookie, sizeof cookie, "a=b; %s; c=d", value);
        CU_ASSERT_EQUAL(read_back(cookie, secure, back), STATUS_OK);
        CU_ASSERT_EQUAL(memcmp(back, token, sizeof token), 0);
        CU_ASSERT_EQUAL(read_back(cookie, !secure, back), STATUS_NOT_FOUND);
    }
}

static void what_is_not_ours_is_no_session(void)
{
    static const char *const cookies[] = {NULL,
                                          "",
                                          "tollgate_session",
                                          "tollgate_session=",
                                          "tollgate_session=AAAA",
                                          "tollgate_session=!!!",
                                          "x_tollgate_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                          "tollgate_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                          "tollgate_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    unsigned char back[SESSION_BYTES];

    for (size_t i = 0; i < sizeof cookies / sizeof cookies[0]; i++)
        CU_ASSERT_EQUAL(read_back(cookies[i], false, back), STATUS_NOT_FOUND);
}

static void only_a_hash_is_told(void)
{
    unsigned char other[SESSION_BYTES];
    char hash[SESSION_HASH_SIZE], again[SESSION_HASH_SIZE], text[2 * SESSION_BYTES + 1];

    randombytes_buf(other, sizeof other);
    session_hash(token, SESSION_BYTES, hash);
    session_hash(token, SESSION_BYTES, again);
    CU_ASSERT_STRING_EQUAL(hash, again);
    session_hash(other, SESSION_BYTES, again);
    CU_ASSERT_STRING_NOT_EQUAL(hash, again);
    CU_ASSERT_EQUAL(strlen(hash), 66);
    CU_ASSERT_EQUAL(strncmp(hash, "\\x", 2), 0);
    sodium_bin2hex(text, sizeof text, token, sizeof token);
    CU_ASSERT_STRING_NOT_EQUAL(hash + 2, text);
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (sodium_init() < 0 || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    randombytes_buf(token, sizeof token);
    suite = CU_add_suite("session", NULL, NULL);
    CU_ADD_TEST(suite, a_cookie_is_for_this_site_and_http_only);
    CU_ADD_TEST(suite, under_https_it_is_secure_and_bound_to_the_host);
    CU_ADD_TEST(suite, forgetting_it_leaves_no_value);
    CU_ADD_TEST(suite, what_was_set_is_read_back);
    CU_ADD_TEST(suite, what_is_not_ours_is_no_session);
    CU_ADD_TEST(suite, only_a_hash_is_told);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
