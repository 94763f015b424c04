/* test_config.c: file and environment against the table */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/config.h"

static char path[64];
static char problem[512];

/* Reads `text` as the file; NULL when it was refused. */
static struct config *load(const char *text)
{
    struct config *c = NULL;
    FILE *f;
    int fd;

    strcpy(path, "/tmp/test_config.XXXXXX");
    fd = mkstemp(path);
    f = fdopen(fd, "w");
    fputs(text, f);
    fclose(f);
    if (config_load(path, &c, problem))
        c = NULL;
    unlink(path);
    return c;
}

static bool says(const char *words)
{
    bool found = strstr(problem, words) != NULL;

    if (!found)
        fprintf(stderr, "said: %s\n", problem);
    return found;
}

static void test_an_empty_file_gives_every_default(void)
{
    struct config *c = load("");

    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->gate.prefix, "/api");
    CU_ASSERT_STRING_EQUAL(c->gate.unmetered[0], "/api/usage");
    CU_ASSERT_STRING_EQUAL(c->gate.unmetered[1], "/api/subscription");
    CU_ASSERT_PTR_NULL(c->gate.unmetered[2]);
    CU_ASSERT_TRUE(c->gate.admit_on_failure);
    CU_ASSERT_EQUAL(c->spool.sync, 1);
    CU_ASSERT_EQUAL(c->collector.retention_months, 13);
    config_free(c);
}

static void test_values_lists_and_rules_are_read(void)
{
    struct config *c = load(
        "[gate]\nlisten = unix:/a , 127.0.0.1:9000\nprocesses = 8\non_failure = deny\nnginx = true\n"
        "[rules]\nPOST /api/files = file_upload\n* /x/... = export\n");

    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_STRING_EQUAL(c->gate.listen[0], "unix:/a");
    CU_ASSERT_STRING_EQUAL(c->gate.listen[1], "127.0.0.1:9000");
    CU_ASSERT_EQUAL(c->gate.processes, 8);
    CU_ASSERT_FALSE(c->gate.admit_on_failure);
    CU_ASSERT_TRUE(c->gate.nginx);
    CU_ASSERT_EQUAL_FATAL(c->n_rules, 2);
    CU_ASSERT_STRING_EQUAL(c->rules[0].path, "/api/files");
    CU_ASSERT_STRING_EQUAL(c->rules[1].method, "*");
    CU_ASSERT_STRING_EQUAL(c->rules[1].metric, "export");
    config_free(c);
}

static void test_a_mistyped_key_is_refused_with_its_line_and_the_nearest_key(void)
{
    CU_ASSERT_PTR_NULL(load("# a comment\n[gate]\nproceses = 2\n"));
    CU_ASSERT_TRUE(says(":3:"));
    CU_ASSERT_TRUE(says("proceses"));
    CU_ASSERT_TRUE(says("did you mean processes"));
}

static void test_a_value_out_of_bounds_is_refused_with_the_bounds(void)
{
    CU_ASSERT_PTR_NULL(load("[gate]\nprocesses = 0\n"));
    CU_ASSERT_TRUE(says(":2:"));
    CU_ASSERT_TRUE(says("from 1 to 32"));
    CU_ASSERT_PTR_NULL(load("[spool]\nsync = maybe\n"));
    CU_ASSERT_TRUE(says("always"));
    CU_ASSERT_PTR_NULL(load("[gate]\nnginx = yes please\n"));
    CU_ASSERT_TRUE(says("true or false"));
    CU_ASSERT_PTR_NULL(load("[gate]\nprocesses = 4x\n"));
    CU_ASSERT_PTR_NULL(load("[gate]\nlisten = a,b,c,d,e\n"));
}

static void test_the_environment_comes_last_and_is_checked_too(void)
{
    struct config *c;

    setenv("TOLLGATE_GATE_PROCESSES", "3", 1);
    c = load("[gate]\nprocesses = 8\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->gate.processes, 3);
    config_free(c);
    setenv("TOLLGATE_GATE_PROCESSES", "many", 1);
    CU_ASSERT_PTR_NULL(load(""));
    CU_ASSERT_TRUE(says("TOLLGATE_GATE_PROCESSES"));
    unsetenv("TOLLGATE_GATE_PROCESSES");
}

static void test_a_file_that_is_away_is_named(void)
{
    struct config *c = NULL;

    CU_ASSERT_EQUAL(config_load("/nowhere/tollgate.conf", &c, problem), STATUS_NOT_FOUND);
    CU_ASSERT_TRUE(says("/nowhere/tollgate.conf"));
}

static void test_a_rule_without_a_path_is_refused(void)
{
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST = file_upload\n"));
    CU_ASSERT_TRUE(says("METHOD /path"));
}

int main(void)
{
    CU_pSuite s;
    unsigned failed;

    CU_initialize_registry();
    s = CU_add_suite("config", NULL, NULL);
    CU_ADD_TEST(s, test_an_empty_file_gives_every_default);
    CU_ADD_TEST(s, test_values_lists_and_rules_are_read);
    CU_ADD_TEST(s, test_a_mistyped_key_is_refused_with_its_line_and_the_nearest_key);
    CU_ADD_TEST(s, test_a_value_out_of_bounds_is_refused_with_the_bounds);
    CU_ADD_TEST(s, test_the_environment_comes_last_and_is_checked_too);
    CU_ADD_TEST(s, test_a_file_that_is_away_is_named);
    CU_ADD_TEST(s, test_a_rule_without_a_path_is_refused);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
