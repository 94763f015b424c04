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
    CU_ASSERT_STRING_EQUAL(c->gate.prefix[0], "/api");
    CU_ASSERT_PTR_NULL(c->gate.prefix[1]);
    CU_ASSERT_PTR_NULL(c->gate.unmetered[0]);
    CU_ASSERT_STRING_EQUAL(c->gate.key_header, "Authorization");
    CU_ASSERT_STRING_EQUAL(c->web.api_prefix, "/api");
    CU_ASSERT_STRING_EQUAL(c->web.page_prefix, "/");
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

static void test_more_processes_than_the_limit_table_takes_with_a_reload_are_refused(void)
{
    struct config *c = load("[gate]\nprocesses = 29\nlisten = unix:/a, unix:/b\n");

    CU_ASSERT_PTR_NOT_NULL_FATAL(c); /* 58 gates, 4 and 2 of web's */
    config_free(c);
    CU_ASSERT_PTR_NULL(load("[gate]\nprocesses = 30\nlisten = unix:/a, unix:/b\n"));
    CU_ASSERT_TRUE(
        says("gate.processes 30 for each of 2 addresses, web.processes 4 for 1 and web.pages_processes 2 for 1"));
    CU_ASSERT_TRUE(says("are 66 processes; the limit table has room for 64"));
    CU_ASSERT_TRUE(says("ask for 2 fewer"));
}

static void test_a_rule_of_several_metrics_is_one_for_each(void)
{
    struct config *c = load("[rules]\nPOST /a = x, y ,z\n");
    static const char *const metrics[] = {"x", "y", "z"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL_FATAL(c->n_rules, 3);
    for (size_t i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(c->rules[i].path, "/a");
        CU_ASSERT_STRING_EQUAL(c->rules[i].metric, metrics[i]);
        CU_ASSERT_EQUAL(c->rules[i].line, 2);
    }
    config_free(c);
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST /a = x, x\n"));
    CU_ASSERT_TRUE(says("is here twice"));
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST /a = x,\n"));
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST /a = x y\n"));
}

static void test_a_rule_knows_its_line(void)
{
    struct config *c = load("[rules]\n# a comment\nPOST /a = x\n\nPOST /b = y\n");

    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->rules[0].line, 3);
    CU_ASSERT_EQUAL(c->rules[1].line, 5);
    config_free(c);
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST /a = x\nPOST /a = x\n"));
    CU_ASSERT_TRUE(says("is here twice"));
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

static void test_a_key_that_stands_twice_is_refused_with_its_second_line(void)
{
    CU_ASSERT_PTR_NULL(load("[gate]\nprocesses = 2\n[web]\n[gate]\nprocesses = 3\n"));
    CU_ASSERT_TRUE(says(":5:"));
    CU_ASSERT_TRUE(says("gate.processes is here a second time"));
    CU_ASSERT_PTR_NULL(load("[rules]\nPOST /a = x\nPOST /a = x\n"));
    CU_ASSERT_TRUE(says("twice"));
}

static void test_an_indented_line_is_refused_and_overrides_nothing(void)
{
    CU_ASSERT_PTR_NULL(load("[database]\nweb = dbname=tollgate host=db\n  user=tollgate_web\n"));
    CU_ASSERT_TRUE(says(":3:"));
    CU_ASSERT_TRUE(says("begins with a blank"));
}

static void test_a_connection_string_of_any_length_is_read_whole(void)
{
    static char text[9000], value[8200];
    struct config *c;

    for (size_t n = 150; n < sizeof value; n = n * 5 / 4) {
        memset(value, 'p', n);
        memcpy(value, "password=' # ", 13);
        strcpy(value + n - 10, "' host=end");
        snprintf(text, sizeof text, "[database]\nowner = %s\n", value);
        c = load(text);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c);
        CU_ASSERT_STRING_EQUAL(c->database.owner, value);
        config_free(c);
    }
}

static void test_a_comment_behind_a_value_is_refused(void)
{
    CU_ASSERT_PTR_NULL(load("[paths]\nspool_dir = /var/spool # the local disk\n"));
    CU_ASSERT_TRUE(says(":2:"));
    CU_ASSERT_TRUE(says("a line of its own"));
}

static void test_an_unknown_section_is_named_once(void)
{
    CU_ASSERT_PTR_NULL(load("[gatte]\nprocesses = 1\n"));
    CU_ASSERT_TRUE(says(":1:"));
    CU_ASSERT_TRUE(says("[gatte] is not a section"));
}

static void count(void *arg, const char *text)
{
    int *n = arg;

    (*n)++;
    snprintf(problem, sizeof problem, "%s", text);
}

static void test_a_check_reports_every_problem(void)
{
    static const char text[] = "[gate]\nproceses = 1\nprocesses = 0\nlisten\n[web]\nprocesses = 1\n";
    FILE *f;
    int n = 0;

    strcpy(path, "/tmp/test_config.XXXXXX");
    f = fdopen(mkstemp(path), "w");
    fputs(text, f);
    fclose(f);
    CU_ASSERT_EQUAL(config_check(path, count, &n), STATUS_INVALID);
    CU_ASSERT_EQUAL(n, 3);
    CU_ASSERT_TRUE(says(":4:"));
    unlink(path);
}

/* Reads what config_print_sample writes, as it is and with every key's comment sign taken away. */
static void test_the_sample_loads_as_it_is_and_with_every_key_set(void)
{
    char line[4096], text[65536] = "", set[65536] = "";
    struct config *c;
    FILE *f = tmpfile();

    config_print_sample(f);
    rewind(f);
    while (fgets(line, sizeof line, f)) {
        CU_ASSERT_TRUE(strlen(line) <= 101);
        strcat(text, line);
        strcat(set, line[0] == '#' && line[1] != ' ' ? line + 1 : line);
    }
    fclose(f);
    c = load(text);
    CU_ASSERT_PTR_NOT_NULL(c);
    config_free(c);
    c = load(set);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    CU_ASSERT_EQUAL(c->n_rules, 2);
    CU_ASSERT_EQUAL(c->web.processes, 4);
    config_free(c);
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
    CU_ADD_TEST(s, test_more_processes_than_the_limit_table_takes_with_a_reload_are_refused);
    CU_ADD_TEST(s, test_a_rule_knows_its_line);
    CU_ADD_TEST(s, test_a_rule_of_several_metrics_is_one_for_each);
    CU_ADD_TEST(s, test_a_rule_without_a_path_is_refused);
    CU_ADD_TEST(s, test_a_key_that_stands_twice_is_refused_with_its_second_line);
    CU_ADD_TEST(s, test_an_indented_line_is_refused_and_overrides_nothing);
    CU_ADD_TEST(s, test_a_connection_string_of_any_length_is_read_whole);
    CU_ADD_TEST(s, test_a_comment_behind_a_value_is_refused);
    CU_ADD_TEST(s, test_an_unknown_section_is_named_once);
    CU_ADD_TEST(s, test_a_check_reports_every_problem);
    CU_ADD_TEST(s, test_the_sample_loads_as_it_is_and_with_every_key_set);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
