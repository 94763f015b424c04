/* cmd_config.c: tollgate config: the reference of the configuration, and what is wrong in a file */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/rules.h"

static void say_problem(void *arg, const char *problem)
{
    size_t *n = arg;

    (*n)++;
    fprintf(stderr, "%s\n", problem);
}

/* A file that every program takes: its rules may still be wrong for the catalogue. */
static int check_rules(const char *path)
{
    struct config *config;
    char problem[512] = "";
    size_t problems = 0;

    if (config_load(path, &config, problem) != STATUS_OK) {
        cli_say("%s", problem);
        return CLI_FAILED;
    }
    rules_check(config, config_path(path), say_problem, &problems);
    config_free(config);
    if (problems == 0)
        printf("%s: OK\n", config_path(path));
    return problems == 0 ? CLI_OK : CLI_USAGE;
}

static int check(const char *path)
{
    size_t problems = 0;

    if (config_check(path, say_problem, &problems) == STATUS_OK)
        return check_rules(path);
    cli_say("%zu problem%s in %s; every program refuses to start until %s corrected", problems,
            problems == 1 ? "" : "s", config_path(path), problems == 1 ? "it is" : "they are");
    return CLI_USAGE;
}

int cmd_config(struct cli *c, int argc, char *argv[])
{
    bool sample = false, checks = false;
    const struct cli_option options[] = {{"sample", NULL, &sample}, {"check", NULL, &checks}, {0}};
    const char *file;

    if (cli_parse(argc, argv, options, &file, 0, 1))
        return CLI_USAGE;
    if ((sample && checks) || (file && !checks)) {
        cli_say("--check takes a FILE; --sample and the reference take nothing else");
        return CLI_USAGE;
    }
    if (checks)
        return check(file ? file : c->config_path);
    if (sample)
        config_print_sample(stdout);
    else
        config_print_reference(stdout);
    return CLI_OK;
}
