/* cmd_config.c: tollgate config: the reference of the configuration, and what is wrong in a file */
#include <stdio.h>

#include "cli/cli.h"

static void say_problem(void *arg, const char *problem)
{
    size_t *n = arg;

    (*n)++;
    fprintf(stderr, "%s\n", problem);
}

static int check(const char *path)
{
    size_t problems = 0;

    if (config_check(path, say_problem, &problems) == STATUS_OK) {
        printf("%s: OK\n", config_path(path));
        return CLI_OK;
    }
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
