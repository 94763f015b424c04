/* test_apikey.c: keys are made, hashed and found in headers */
#include <string.h>

#include <CUnit/Basic.h>
#include <sodium.h>

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

static void one_key_is_found_and_nothing_else(void)
{
    static const struct {
        const char *header, *value, *key; /* NULL: none */
    } cases[] = {
        {"Authorization", "Bearer abc", "abc"},
        {"authorization", "bearer abc", "abc"},
        {"Authorization", "BEARER   abc  ", "abc"},
        {"Authorization", "Bearer", NULL},
        {"Authorization", "Bearer ", NULL},
        {"Authorization", "Bearer a b", NULL},
        {"Authorization", "Bearer a, Bearer b", NULL},
        {"Authorization", "Bearer a,b", NULL},
        {"Authorization", "Bearerabc", NULL},
        {"Authorization", "Digest abc", NULL},
        {"Authorization", "", NULL},
        /* Basic: "abc:", "abc:secret", "abc:d:e", "abc:" with 300 bytes of password */
        {"Authorization", "Basic YWJjOg==", "abc"},
        {"Authorization", "basic  YWJjOnNlY3JldA== ", "abc"},
        {"Authorization", "Basic YWJjOmQ6ZQ==", "abc"},
        /* "abc", ":secret", "", "a\0b:", not base64, not padded, URL-safe letters, two of them, joined by a server */
        {"Authorization", "Basic YWJj", NULL},
        {"Authorization", "Basic OnNlY3JldA==", NULL},
        {"Authorization", "Basic ", NULL},
        {"Authorization", "Basic YQBiOg==", NULL},
        {"Authorization", "Basic !!!!", NULL},
        {"Authorization", "Basic YWJjOg", NULL},
        {"Authorization", "Basic _-_-", NULL},
        {"Authorization", "Basic YWJjOg== YWJjOg==", NULL},
        {"Authorization", "Basic YWJjOg==, Basic YWJjOg==", NULL},
        {"Authorization", "Basic YWJjOg==, Bearer abc", NULL},
        {"X-API-Key", "abc", "abc"},
        {"X-API-Key", " abc\t", "abc"},
        {"X-API-Key", "Bearer abc", NULL},
        {"X-API-Key", "a, b", NULL},
        {"X-API-Key", "a,a", NULL},
        {"X-API-Key", "", NULL},
        {"X-API-Key", " ", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct apikey_source source;
        char room[APIKEY_ROOM];
        const char *key = NULL;
        size_t n = 0;
        apikey_source_init(&source, cases[i].header);
        bool found = apikey_find(&source, cases[i].value, room, &key, &n);
        bool right = found == (cases[i].key != NULL) &&
                     (!found || (n == strlen(cases[i].key) && memcmp(key, cases[i].key, n) == 0));
        if (!right)
            printf("\n%s: %s gave %.*s\n", cases[i].header, cases[i].value, found ? (int)n : 4, found ? key : "none");
        CU_ASSERT_TRUE(right);
    }
}

static void a_value_of_any_length_fits_or_is_refused(void)
{
    char plain[2 * APIKEY_ROOM], value[4 * APIKEY_ROOM], room[APIKEY_ROOM];
    struct apikey_source source;
    apikey_source_init(&source, "Authorization");
    for (size_t n = 1; n < sizeof plain; n++) {
        const char *key;
        size_t length;
        memset(plain, 'k', n);
        plain[n / 2] = ':';
        memcpy(value, "Basic ", 6);
        sodium_bin2base64(value + 6, sizeof value - 6, (const unsigned char *)plain, n, sodium_base64_VARIANT_ORIGINAL);
        if (apikey_find(&source, value, room, &key, &length))
            CU_ASSERT_TRUE(n < APIKEY_ROOM && length == n / 2);
    }
}

static void a_source_says_what_to_send(void)
{
    struct apikey_source s;
    apikey_source_init(&s, "Authorization");
    CU_ASSERT_STRING_EQUAL(s.variable, "HTTP_AUTHORIZATION");
    CU_ASSERT_STRING_EQUAL(s.challenge, "Bearer realm=\"tollgate\"");
    apikey_source_init(&s, "X-Api-Key");
    CU_ASSERT_STRING_EQUAL(s.variable, "HTTP_X_API_KEY");
    CU_ASSERT_STRING_EQUAL(s.advice, "Send your key in the header X-Api-Key.");
    CU_ASSERT_STRING_EQUAL(s.challenge, "ApiKey realm=\"tollgate\", header=\"X-Api-Key\"");
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("apikey", NULL, NULL);
#define ADD(test) CU_add_test(suite, #test, test)
    ADD(a_key_has_its_id_inside_and_is_never_made_twice);
    ADD(a_hash_depends_on_every_byte);
    ADD(empty_and_oversized_texts_are_not_hashed);
    ADD(one_key_is_found_and_nothing_else);
    ADD(a_value_of_any_length_fits_or_is_refused);
    ADD(a_source_says_what_to_send);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed ? 1 : 0;
}
