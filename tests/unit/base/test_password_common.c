/* test_password_common.c: what is refused as a password, and what is not */
#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/password_common.h"

#define EMAIL "marion.keller@example.org"

static void expect(const char *password, bool refused)
{
    const char *problem = password_problem(password, EMAIL);

    CU_ASSERT_EQUAL(problem != NULL, refused);
    if ((problem != NULL) != refused)
        printf("%s: %s\n", password, problem == NULL ? "taken" : problem);
}

static void what_is_tried_first_is_refused(void)
{
    static const char *const rows[] = {
        "password1234",
        "Password1234!",
        "P4ssw0rd2024!",
        "p@ssw0rd1234",
        "PASSWORDPASSWORD",
        "passwordpassw0rd",
        "qwertyuiop12",
        "1234567890123",
        "098765432109",
        "1qaz2wsx3edc",
        "zaq12wsxcde3",
        "q1w2e3r4t5y6",
        "asdfghjkl123",
        "abcdefghijkl",
        "zyxwvutsrqpo",
        "aaaaaaaaaaaa",
        "111111111111",
        "abcabcabcabc",
        "abababababab",
        "administrator",
        "admin1234567",
        "Administrator1!",
        "letmein12345",
        "let me in 2024",
        "welcome-2024-!",
        "Welcome123456",
        "iloveyou1234",
        "I Love You 2024!",
        "changeme1234",
        "change-me-2024",
        "sunshine2024",
        "Summer2024!!!",
        "football1234",
        "tollgate1234",
        "Tollgate2026!!",
        "T0llg4te-2026",
        "mytollgatepassword",
        "adminpassword1",
        "MyPassword2024",
        "!!!!password!!!!",
        "2024password2024",
        "secretsecret1",
        "correct horse battery staple",
        "Monkey Dragon 99",
        "asdfasdfasdf",
        "qwerty qwerty 1",
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(rows[i], true);
}

static void expect_own(const char *password)
{
    const char *problem = password_problem(password, EMAIL);

    CU_ASSERT_STRING_EQUAL(problem == NULL ? "" : problem,
                           "This password is made of the account's own e-mail address.");
}

static void the_accounts_own_address_is_refused(void)
{
    expect_own("marionkeller");
    expect_own("Marion.Keller2024");
    expect_own("m4rion-k3ller!");
    expect_own("MarionKellerPassword");
    CU_ASSERT_PTR_NULL(password_problem("marionkeller", "somebody.else@example.org"));
    CU_ASSERT_PTR_NULL(password_problem("winding staircase", "w@example.org"));
}

static void a_length_is_asked_for(void)
{
    char *text = malloc(1026);

    memset(text, 0, 1026);
    for (size_t i = 0; i < 1025; i++)
        text[i] = (char)('a' + (i * i + i / 7) % 26);
    CU_ASSERT_STRING_EQUAL(password_problem("xk7-Tq9.wZ1", EMAIL), "A password has 12 to 1024 bytes.");
    CU_ASSERT_PTR_NULL(password_problem("xk7-Tq9.wZ1v", EMAIL));
    CU_ASSERT_PTR_NOT_NULL(password_problem("", EMAIL));
    CU_ASSERT_PTR_NOT_NULL(password_problem(text, EMAIL));
    text[1024] = '\0';
    CU_ASSERT_PTR_NULL(password_problem(text, EMAIL));
    free(text);
}

static void others_are_taken(void)
{
    static const char *const rows[] = {
        "a good long password",   "another good password", "yet another password",        "correct horse",
        "battery staple",         "Zr8kWm2pLq0xTn5y",      "xYs3VbKq9LmTz1RwPd0h",        "gravel piano cactus",
        "Fünfzehn Äpfel im Korb", "7h3-bl1nd-0w1-f1i35",   "tollgate keeps an eye on it", "密码不可以太短了吧",
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(rows[i], false);
}

/* As the demo makes its passwords: 20 characters of base64. */
static void random_ones_are_taken(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xy";
    char text[21] = "";

    srandom(1);
    for (int i = 0; i < 20000; i++) {
        for (int k = 0; k < 20; k++)
            text[k] = digits[random() % 64];
        CU_ASSERT_PTR_NULL(password_problem(text, "admin@riverside.example"));
    }
}

int main(void)
{
    CU_pSuite suite;
    unsigned failed;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    suite = CU_add_suite("password_common", NULL, NULL);
    CU_ADD_TEST(suite, what_is_tried_first_is_refused);
    CU_ADD_TEST(suite, the_accounts_own_address_is_refused);
    CU_ADD_TEST(suite, a_length_is_asked_for);
    CU_ADD_TEST(suite, others_are_taken);
    CU_ADD_TEST(suite, random_ones_are_taken);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
