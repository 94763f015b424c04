/* test_apikey.c: keys are made, hashed and found in headers */
#include <string.h>

#include <CUnit/Basic.h>

#include "lib/meter/apikey.h"

static void a_key_has_its_id_inside_and_is_never_made_twice(void)
{
    char one[APIKEY_TEXT_SIZE], two[APIKEY_TEXT_SIZE], id[APIKEY_ID_SIZE], other[APIKEY_ID_SIZE];
    CU_ASSERT_EQUAL(apikey_make(one, id), STATUS_OK);
    CU_ASSERT_EQUAL(apikey_make(two, other), STATUS_OK);
    CU_ASSERT_EQUAL(strlen(one), APIKEY_TEXT_SIZE - 1);
    CU_ASSERT_EQUAL(strncmp(one, "tg_", 3), 0);
    CU_ASSERT_EQUAL(strncmp(one + 3, id, APIKEY_ID_SIZE - 1), 0);
    CU_ASSERT_EQUAL(strspn(id, "abcdefghijklmnopqrstuvwxyz234567"), APIKEY_ID_SIZE - 1);
    CU_ASSERT_NOT_EQUAL(strcmp(one, two), 0);
}

static void a_hash_depends_on_every_byte(void)
{
    unsigned char a[APIKEY_HASH_BYTES], b[APIKEY_HASH_BYTES];
    char text[] = "tg_aaaaaaaa_secret";
    CU_ASSERT_EQUAL(apikey_hash(text, strlen(text), a), STATUS_OK);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        text[i] ^= 1;
        CU_ASSERT_EQUAL(apikey_hash(text, strlen(text), b), STATUS_OK);
        CU_ASSERT_NOT_EQUAL(memcmp(a, b, sizeof a), 0);
        text[i] ^= 1;
    }
}

static void empty_and_oversized_texts_are_not_hashed(void)
{
    char text[APIKEY_MAX + 1];
    unsigned char hash[APIKEY_HASH_BYTES];
    memset(text, 'x', sizeof text);
    CU_ASSERT_EQUAL(apikey_hash(text, 0, hash), STATUS_INVALID);
    CU_ASSERT_EQUAL(apikey_hash(text, APIKEY_MAX, hash), STATUS_OK);
    CU_ASSERT_EQUAL(apikey_hash(text, APIKEY_MAX + 1, hash), STATUS_INVALID);
}

static void one_bearer_token_is_found_and_nothing_else(void)
{
    static const struct {
        const char *header, *token; /* NULL: none */
    } cases[] = {
        {"Bearer abc", "abc"},
        {"bearer abc", "abc"},
        {"BEARER   abc  ", "abc"},
        {"Bearer", NULL},
        {"Bearer ", NULL},
        {"Bearer a b", NULL},
        {"Bearer a, Bearer b", NULL},
        {"Bearer a,b", NULL},
        {"Basic abc", NULL},
        {"", NULL},
        {"Bearerabc", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *token = NULL;
        size_t n = 0;
        bool found = apikey_bearer(cases[i].header, &token, &n);
        CU_ASSERT_EQUAL(found, cases[i].token != NULL);
        if (found && cases[i].token)
            CU_ASSERT_TRUE(n == strlen(cases[i].token) && memcmp(token, cases[i].token, n) == 0);
    }
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("apikey", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(a_key_has_its_id_inside_and_is_never_made_twice);
    ADD(a_hash_depends_on_every_byte);
    ADD(empty_and_oversized_texts_are_not_hashed);
    ADD(one_bearer_token_is_found_and_nothing_else);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
