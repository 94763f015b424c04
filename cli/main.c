/* main.c: tollgate, the command line: global options, then a row of the command table */
#include "cli/cli.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/store/db.h"

static const struct cli_command commands[] = {
    {NULL, "migrate", "[--new]", "Bring the database to this program's schema", cmd_migrate,
     "--new also makes the host's tables (tenants, users, subscription_tiers, tenant_subscriptions) where there are none.\n"
     "Again is a no-op. A database of your own with tenants in it is taken over with `tollgate adopt`.\n"},
    {NULL, "demo", "", "Fill an empty database with the demo's tenants", cmd_demo, NULL},
    {NULL, "config", "", "Every key of the configuration with its bounds and default", cmd_config, NULL},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char options_text[] = "Options of every command:\n"
                                   "  --config FILE  the configuration ($TOLLGATE_CONF, /etc/tollgate/tollgate.conf)\n"
                                   "  --json         one JSON value in place of a table\n"
                                   "  --yes          go on without a question\n"
                                   "  --help         what a command does and takes\n"
                                   "Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused or not confirmed.\n";

static void print_usage(FILE *to, const struct cli_command *k)
{
    fprintf(to, "  tollgate %s%s%s%s%s\n      %s.\n", k->group ? k->group : "", k->group ? " " : "", k->name,
            *k->arguments ? " " : "", k->arguments, k->help);
}

/* The commands of one group, or all of them; returns how many there are. */
static size_t print_help(FILE *to, const char *group)
{
    size_t n = 0;

    for (size_t i = 0; i < COMMANDS; i++) {
        const char *of = commands[i].group ? commands[i].group : commands[i].name;

        if (!group || strcmp(of, group) == 0) {
            print_usage(to, &commands[i]);
            n++;
        }
    }
    fprintf(to, "\n%s", options_text);
    return n;
}

static const struct cli_command *find(int argc, char *argv[], int *used)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct cli_command *k = &commands[i];

        *used = k->group ? 2 : 1;
        if (argc < *used || strcmp(argv[*used - 1], k->name) != 0)
            continue;
        if (!k->group || strcmp(argv[0], k->group) == 0)
            return k;
    }
    return NULL;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].group && strcmp(commands[i].group, word) == 0)
            return true;
    return false;
}

/* Takes the global options out of argv, up to "--"; -1: wrong, else how many words stay. */
static int take_globals(struct cli *c, int argc, char *argv[], bool *help)
{
    int n = 0, i = 1;

    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            c->json = true;
        } else if (strcmp(argv[i], "--yes") == 0) {
            c->yes = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *help = true;
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            c->config_path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0) {
            if (i + 1 == argc) {
                cli_say("--config needs a file");
                return -1;
            }
            c->config_path = argv[++i];
        } else {
            argv[n++] = argv[i];
        }
    }
    for (; i < argc; i++)
        argv[n++] = argv[i];
    argv[n] = NULL;
    return n;
}

static int show_help(int argc, char *argv[])
{
    int used;
    const struct cli_command *k = find(argc, argv, &used);

    if (k) {
        print_usage(stdout, k);
        printf("%s\n%s", k->more ? k->more : "", options_text);
    } else if (argc == 0) {
        print_help(stdout, NULL);
    } else if (is_group(argv[0])) {
        print_help(stdout, argv[0]);
    } else {
        cli_say("\"%s\" is not a command; `tollgate help` lists them", argv[0]);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int run_command(struct cli *c, int argc, char *argv[])
{
    char problem[512];
    int used, result;
    const struct cli_command *k = find(argc, argv, &used);

    if (!k) {
        if (is_group(argv[0]))
            print_help(stderr, argv[0]);
        else
            cli_say("\"%s\" is not a command; `tollgate help` lists them", argv[0]);
        return CLI_USAGE;
    }
    if (k->run != cmd_config && config_load(c->config_path, &c->config, problem)) {
        cli_say("%s", problem);
        return CLI_USAGE;
    }
    result = k->run(c, argc - used, argv + used);
    db_close(c->db);
    config_free(c->config);
    return result;
}

int main(int argc, char *argv[])
{
    struct cli c = {0};
    bool help = false;
    int n = take_globals(&c, argc, argv, &help);

    log_init("tollgate", LOG_LEVEL_WARNING);
    if (n < 0)
        return CLI_USAGE;
    if (sodium_init() < 0) {
        cli_say("libsodium can't start: no source of random numbers");
        return CLI_FAILED;
    }
    if (n > 0 && strcmp(argv[0], "help") == 0)
        return show_help(n - 1, argv + 1);
    if (help)
        return show_help(n, argv);
    if (n == 0) {
        print_help(stderr, NULL);
        return CLI_USAGE;
    }
    return run_command(&c, n, argv);
}
