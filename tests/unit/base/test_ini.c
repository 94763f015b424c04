/* test_ini.c: what was written is read back, and nothing else is accepted */
#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/ini.h"

#define FOUND_MOST (1 << 20)

/* Everything that was found, as text: "S1 name;", "P2 key=value;" and "E3 what;". */
static char *found;
static size_t found_length;

static void put(char kind, int line, const char *a, const char *b)
{
    found_length += (size_t)snprintf(found + found_length, FOUND_MOST - found_length, b ? "%c%d %s=%s;" : "%c%d %s;",
                                     kind, line, a, b);
    CU_ASSERT_FATAL(found_length < FOUND_MOST);
}

static void on_section(void *arg, int line, const char *name)
{
    (void)arg;
    put('S', line, name, NULL);
}

static void on_pair(void *arg, int line, const char *key, const char *value)
{
    (void)arg;
    put('P', line, key, value);
}

static void on_problem(void *arg, int line, const char *what)
{
    (void)arg;
    put('E', line, what, NULL);
}

static const char *parse_bytes(const char *bytes, size_t n)
{
    const struct ini_handler handler = {on_section, on_pair, on_problem, NULL};
    char *text = malloc(n + 1); /* to the byte, so that the sanitizer sees a read beyond */

    memcpy(text, bytes, n);
    text[n] = 0;
    found_length = 0;
    found[0] = 0;
    ini_parse(text, n, &handler);
    free(text);
    return found;
}

static const char *parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static bool refused(const char *text, int line, const char *words)
{
    char start[16];
    const char *said = parse(text);

    snprintf(start, sizeof start, "E%d ", line);
    if (strstr(said, start) && strstr(said, words))
        return true;
    fprintf(stderr, "said: %s\n", said);
    return false;
}

static void test_sections_pairs_and_comments_are_told_apart(void)
{
    CU_ASSERT_STRING_EQUAL(parse("# one\n[a]\nx = 1\n; two\n  # three\n\n[ b ]\ny=\t2 \nz ="),
                           "S2 a;P3 x=1;S7 b;P8 y=2;P9 z=;");
    CU_ASSERT_STRING_EQUAL(parse(""), "");
    CU_ASSERT_STRING_EQUAL(parse("\n\n"), "");
}

static void test_a_value_is_the_whole_rest_of_its_line(void)
{
    CU_ASSERT_STRING_EQUAL(parse("[a]\nx = dbname=t user=u ; # [b] \\\n"), "S1 a;P2 x=dbname=t user=u ; # [b] \\;");
}

static void test_a_byte_order_mark_and_dos_line_ends_are_accepted(void)
{
    CU_ASSERT_STRING_EQUAL(parse("\xef\xbb\xbf[a]\r\nx = 1\r\n\r\ny = 2\r"), "S1 a;P2 x=1;P4 y=2;");
}

static void test_an_indented_line_neither_continues_nor_replaces_a_value(void)
{
    CU_ASSERT_TRUE(refused("[a]\nx = 1\n  y = 2\n", 3, "begins with a blank"));
    CU_ASSERT_TRUE(refused("[a]\nx = 1\n\t2\n", 3, "begins with a blank"));
    CU_ASSERT_PTR_NOT_NULL(strstr(found, "P2 x=1;"));
    CU_ASSERT_PTR_NULL(strstr(found, "P3"));
}

static void test_other_lines_are_refused_by_their_number(void)
{
    CU_ASSERT_TRUE(refused("[a]\nx\n", 2, "key = value"));
    CU_ASSERT_TRUE(refused("[a]\nx: 1\n", 2, "key = value"));
    CU_ASSERT_TRUE(refused("[a]\n= 1\n", 2, "key = value"));
    CU_ASSERT_TRUE(refused("x = 1\n[a]\n", 1, "before the first [section]"));
    CU_ASSERT_TRUE(refused("[a\nx = 1\n", 1, "not a section"));
    CU_ASSERT_TRUE(refused("[a] b\n", 1, "not a section"));
    CU_ASSERT_TRUE(refused("[a] # comment ]\n", 1, "not a section"));
    CU_ASSERT_TRUE(refused("[\n", 1, "not a section"));
}

static void test_control_characters_are_refused_in_comments_too(void)
{
    static const char with_nul[] = "[a]\nx = 1\0 2\n";

    CU_ASSERT_PTR_NOT_NULL(strstr(parse_bytes(with_nul, sizeof with_nul - 1), "E2 there is a NUL byte"));
    CU_ASSERT_TRUE(refused("# old\r[a]\rx = 1\n", 1, "carriage return"));
    CU_ASSERT_TRUE(refused("[a]\nx = \x1b[31m\n", 2, "control character"));
    CU_ASSERT_TRUE(refused("[a]\n\x7f = 1\n", 2, "control character"));
    CU_ASSERT_TRUE(refused("\xff\xfe[", 1, "UTF-16"));
    CU_ASSERT_TRUE(refused("\xfe\xff[", 1, "UTF-16"));
}

/* A byte that a value may hold. */
static char value_byte(bool edge)
{
    for (;;) {
        char c = (char)(random() & 0xff);

        if ((unsigned char)c >= 0x20 && c != 0x7f && !(edge && c == ' '))
            return c;
    }
}

static void test_a_random_value_of_any_length_is_read_back_as_written(void)
{
    static const size_t sizes[] = {1, 2, 198, 199, 200, 201, 1023, 1024, 1025, 4096, 70000};
    static char file[80000], expected[80000];

    srandom(9);
    for (int round = 0; round < 3000; round++) {
        size_t n = round < 110 ? sizes[round % 11] : 1 + (size_t)random() % 600;
        char *value = file + sprintf(file, "[s]\nkey = ");

        for (size_t i = 0; i < n; i++)
            value[i] = value_byte(i == 0 || i == n - 1);
        value[n] = 0;
        snprintf(expected, sizeof expected, "S1 s;P2 key=%s;P3 last=1;", value);
        strcpy(value + n, round % 2 ? "\nlast = 1\n" : "\r\nlast = 1");
        if (strcmp(parse(file), expected) != 0) {
            CU_FAIL("a value was not read back as written");
            fprintf(stderr, "%zu bytes, round %d\n", n, round);
            return;
        }
    }
}

static void test_random_bytes_never_read_beyond_the_text(void)
{
    static const char likely[] = "[]=#; \t\r\n\n\nab";
    char bytes[64];

    srandom(10);
    for (int round = 0; round < 200000; round++) {
        size_t n = (size_t)random() % sizeof bytes;

        for (size_t i = 0; i < n; i++)
            bytes[i] = random() % 8 ? likely[random() % (long)(sizeof likely - 1)] : (char)random();
        parse_bytes(bytes, n);
    }
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    found = malloc(FOUND_MOST);
    CU_initialize_registry();
    s = CU_add_suite("ini", NULL, NULL);
    CU_ADD_TEST(s, test_sections_pairs_and_comments_are_told_apart);
    CU_ADD_TEST(s, test_a_value_is_the_whole_rest_of_its_line);
    CU_ADD_TEST(s, test_a_byte_order_mark_and_dos_line_ends_are_accepted);
    CU_ADD_TEST(s, test_an_indented_line_neither_continues_nor_replaces_a_value);
    CU_ADD_TEST(s, test_other_lines_are_refused_by_their_number);
    CU_ADD_TEST(s, test_control_characters_are_refused_in_comments_too);
    CU_ADD_TEST(s, test_a_random_value_of_any_length_is_read_back_as_written);
    CU_ADD_TEST(s, test_random_bytes_never_read_beyond_the_text);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    free(found);
    return failed != 0;
}
