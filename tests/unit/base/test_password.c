/* test_password.c: hashes that know their cost, and are renewed when it is another */
#include <CUnit/Basic.h>
#include <sodium.h>
#include <string.h>

#include "lib/base/password.h"

static struct config cheap = {.web = {.password_memory_kib = 8192, .password_passes = 1}};
static struct config dear = {.web = {.password_memory_kib = 16384, .password_passes = 1}};
static struct config longer = {.web = {.password_memory_kib = 8192, .password_passes = 2}};

static void the_right_password_is_known_and_no_other(void)
{
    char hash[PASSWORD_HASH_SIZE];

    CU_ASSERT_EQUAL_FATAL(password_hash(&cheap, "correct horse", hash), STATUS_OK);
    CU_ASSERT_TRUE(password_is(hash, "correct horse"));
    CU_ASSERT_FALSE(password_is(hash, "correct horsE"));
    CU_ASSERT_FALSE(password_is(hash, "correct horse "));
    CU_ASSERT_FALSE(password_is(hash, ""));
}

static void a_hash_is_argon2id_at_the_configured_cost_and_salted(void)
{
    char hash[PASSWORD_HASH_SIZE], again[PASSWORD_HASH_SIZE];

    CU_ASSERT_EQUAL_FATAL(password_hash(&longer, "a password", hash), STATUS_OK);
    CU_ASSERT_EQUAL_FATAL(password_hash(&longer, "a password", again), STATUS_OK);
    CU_ASSERT_EQUAL(strncmp(hash, "$argon2id$v=19$m=8192,t=2,p=1$", 30), 0);
    CU_ASSERT_STRING_NOT_EQUAL(hash, again);
}

static void a_hash_of_another_cost_is_good_and_stale(void)
{
    char hash[PASSWORD_HASH_SIZE];

    CU_ASSERT_EQUAL_FATAL(password_hash(&cheap, "a password", hash), STATUS_OK);
    CU_ASSERT_FALSE(password_is_stale(&cheap, hash));
    CU_ASSERT_TRUE(password_is_stale(&dear, hash));
    CU_ASSERT_TRUE(password_is_stale(&longer, hash));
    CU_ASSERT_TRUE(password_is(hash, "a password"));
}

static void what_is_no_hash_fits_no_password(void)
{
    static const char *const rubbish[] = {"", "a password", "$argon2id$", "$argon2id$v=19$m=8192,t=1,p=1$$"};

    for (size_t i = 0; i < sizeof rubbish / sizeof rubbish[0]; i++) {
        CU_ASSERT_FALSE(password_is(rubbish[i], "a password"));
        CU_ASSERT_TRUE(password_is_stale(&cheap, rubbish[i]));
    }
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (sodium_init() < 0 || CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("password", NULL, NULL);
    CU_ADD_TEST(suite, the_right_password_is_known_and_no_other);
    CU_ADD_TEST(suite, a_hash_is_argon2id_at_the_configured_cost_and_salted);
    CU_ADD_TEST(suite, a_hash_of_another_cost_is_good_and_stale);
    CU_ADD_TEST(suite, what_is_no_hash_fits_no_password);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
