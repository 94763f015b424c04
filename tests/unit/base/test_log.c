/* test_log.c: one line a call, whatever is in it */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/log.h"

/* What `text` becomes on standard error at `level`. */
static const char *logged(enum log_level level, const char *text)
{
    static char out[8192];
    int saved = dup(STDERR_FILENO), pipes[2];
    ssize_t n;

    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    log_write(level, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[1]);
    n = read(pipes[0], out, sizeof out - 1);
    close(pipes[0]);
    out[n > 0 ? n : 0] = 0;
    return out;
}

static void test_a_line_says_time_program_process_and_level(void)
{
    const char *line = logged(LOG_LEVEL_WARNING, "something");
    char expected[64];

    snprintf(expected, sizeof expected, "Z gate[%d] warning: something\n", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(line, expected));
}

static void test_control_characters_can_not_make_a_second_line(void)
{
    const char *line = logged(LOG_LEVEL_ERROR, "a\nb\x1b[0m");

    CU_ASSERT_PTR_NOT_NULL(strstr(line, "a\\x0ab\\x1b[0m"));
    CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_what_is_less_important_than_asked_for_is_left_out(void)
{
    CU_ASSERT_STRING_EQUAL(logged(LOG_LEVEL_DEBUG, "detail"), "");
}

static void test_a_long_text_is_cut_and_still_one_line(void)
{
    static char text[6000];
    const char *line;

    memset(text, '\n', sizeof text - 1);
    line = logged(LOG_LEVEL_ERROR, text);
    CU_ASSERT_TRUE(strlen(line) < 3000);
    CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    log_init("gate", LOG_LEVEL_INFO);
    CU_initialize_registry();
    s = CU_add_suite("log", NULL, NULL);
    CU_ADD_TEST(s, test_a_line_says_time_program_process_and_level);
    CU_ADD_TEST(s, test_control_characters_can_not_make_a_second_line);
    CU_ADD_TEST(s, test_what_is_less_important_than_asked_for_is_left_out);
    CU_ADD_TEST(s, test_a_long_text_is_cut_and_still_one_line);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
