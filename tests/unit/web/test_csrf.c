/* test_csrf.c: which forms come from pages of ours */
#include <CUnit/Basic.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/web/csrf.h"

static void a_token_fits_its_own_secret_only(void)
{
    unsigned char mine[CSRF_SECRET_BYTES], other[CSRF_SECRET_BYTES];
    char token[CSRF_TOKEN_SIZE], longer[CSRF_TOKEN_SIZE + 1];

    randombytes_buf(mine, sizeof mine);
    randombytes_buf(other, sizeof other);
    csrf_token(mine, token);
    CU_ASSERT_TRUE(csrf_token_is(mine, token));
    CU_ASSERT_FALSE(csrf_token_is(other, token));
    CU_ASSERT_FALSE(csrf_token_is(mine, NULL));
    CU_ASSERT_FALSE(csrf_token_is(mine, ""));
    snprintf(longer, sizeof longer, "%sx", token);
    CU_ASSERT_FALSE(csrf_token_is(mine, longer));
    token[strlen(token) - 1] = '\0';
    CU_ASSERT_FALSE(csrf_token_is(mine, token));
}

static void a_token_does_not_tell_the_secret(void)
{
    unsigned char secret[CSRF_SECRET_BYTES];
    char token[CSRF_TOKEN_SIZE], text[CSRF_TOKEN_SIZE];

    randombytes_buf(secret, sizeof secret);
    csrf_token(secret, token);
    sodium_bin2base64(text, sizeof text, secret, sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    CU_ASSERT_STRING_NOT_EQUAL(token, text);
}

static void an_origin_has_to_be_this_site(void)
{
    static const struct {
        const char *origin, *host, *public_url;
        bool https, own;
    } cases[] = {
        {NULL, "a.example", "", false, true},
        {"http://a.example", "a.example", "", false, true},
        {"http://A.Example", "a.example", "", false, true},
        {"https://a.example", "a.example", "", true, true},
        {"https://a.example", "a.example", "", false, false},
        {"http://a.example:8080", "a.example:8080", "", false, true},
        {"http://a.example:8080", "a.example", "", false, false},
        {"http://b.example", "a.example", "", false, false},
        {"http://a.example.b.example", "a.example", "", false, false},
        {"null", "a.example", "", false, false},
        {"", "a.example", "", false, false},
        {"http://a.example", NULL, "", false, false},
        {"https://usage.example", "127.0.0.1:9000", "https://usage.example", false, true},
        {"https://usage.example", "127.0.0.1:9000", "https://usage.example/", false, true},
        {"https://usage.example.b.example", "127.0.0.1:9000", "https://usage.example", false, false},
        {"http://127.0.0.1:9000", "127.0.0.1:9000", "https://usage.example", false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char origin[128], host[128];
        char *environment[3] = {NULL, NULL, NULL};
        struct request r = {.environment = environment, .https = cases[i].https};
        size_t n = 0;

        snprintf(origin, sizeof origin, "HTTP_ORIGIN=%s", cases[i].origin == NULL ? "" : cases[i].origin);
        snprintf(host, sizeof host, "HTTP_HOST=%s", cases[i].host == NULL ? "" : cases[i].host);
        if (cases[i].origin != NULL)
            environment[n++] = origin;
        if (cases[i].host != NULL)
            environment[n++] = host;
        if (csrf_origin_is_own(&r, cases[i].public_url) != cases[i].own)
            printf("case %zu\n", i);
        CU_ASSERT_EQUAL(csrf_origin_is_own(&r, cases[i].public_url), cases[i].own);
    }
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (sodium_init() < 0 || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("csrf", NULL, NULL);
    CU_ADD_TEST(suite, a_token_fits_its_own_secret_only);
    CU_ADD_TEST(suite, a_token_does_not_tell_the_secret);
    CU_ADD_TEST(suite, an_origin_has_to_be_this_site);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
