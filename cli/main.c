/* main.c: tollgate, the command line: global options, then a row of the tables of commands */
#include "cli/cli.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/store/db.h"

static const char metric_help[] =
    "--from is {schema}.NAME, a table in each tenant's schema, or SCHEMA.NAME, one that all tenants share; --tenant-column\n"
    "then has the tenant's id. Its rows are counted, or --value is summed. --where says which of them, by the table's columns\n"
    "and what is built into PostgreSQL. --records is a counter of which each new row is an event.\n";
static const char setup_help[] =
    "Announces each step, skips what exists already, and prints what is left to do by hand. Running it again does no harm.\n"
    "Run it as root: what only PostgreSQL's superuser can do is then done as the user postgres, or else with the connection\n"
    "string after --superuser. --write-login adds the lines by which the programs log in to pg_hba.conf and pg_ident.conf;\n"
    "without it they are printed, and at a terminal you are asked. The operator's password is asked for at the terminal, read\n"
    "with --password-stdin, or generated and shown once, like the key. Defaults: tier starter, api_calls_per_day=1000, tenant\n"
    "example.\n";

static const struct cli_command first[] = {
    {NULL, "setup",
     "[--write-login] [--operator-email EMAIL [--password-stdin]] [--tier TIER] [--limit LIMIT=NUMBER] [--tenant ID] "
     "[--tenant-name NAME] [--superuser CONNINFO]",
     "Create roles, database, schema, the first operator, tier, tenant and key", cmd_setup, setup_help},
    {NULL, "migrate", "[--new]", "Create or update the schema in the database", cmd_migrate,
     "--new also creates the tables tenants, users, subscription_tiers and tenant_subscriptions where there are none.\n"
     "Running it again changes nothing. To take over a database that has tenants of its own, use `tollgate adopt`.\n"},
    {NULL, "adopt", "[--map FILE] [--dry-run] [--no-enforce]", "Take over a database that has tenants of its own",
     cmd_adopt,
     "Lists what it will add, asks, and adds nothing else. --dry-run only lists; --no-enforce lets rows beyond plans in.\n"
     "FILE says where the tenants are, when they are not in the specification's tables: [tenants] with table, id, and if there\n"
     "are such columns name, plan, state and suspended (the values of state, with commas); [schemas] with column or pattern.\n"},
    {NULL, "leave", "[--dry-run]", "Take all of Tollgate's out of an adopted database", cmd_leave,
     "Drops the schema tollgate with all that was recorded, the triggers and the rights; the host's tables stay as they are.\n"
     "--dry-run does the same and undoes it.\n"},
    {NULL, "enforce", "TENANT|--all [on|off], or list", "Let the database refuse rows beyond the plan", cmd_enforce,
     "A refused statement fails with SQLSTATE TG429 and the numbers; on is the default.\n"},
    {NULL, "demo", "", "Fill an empty database with the demo's tenants", cmd_demo, NULL},
    {0},
};
static const struct cli_command metric_commands[] = {
    {"metric", "create",
     "TYPE --kind counter|gauge|--aggregation count|sum|level|max|unique [--field NAME] --unit UNIT [--plural UNITS] "
     "[--decimals NUMBER] --label LABEL [--limit KEY] [--window none|minute|hour|day|week|period] "
     "[--from TABLE] [--where CONDITION] [--tenant-column COLUMN] [--value COLUMN] [--records TYPE]",
     "Create a metric for events, or a gauge that is counted from a table", cmd_metric_create, metric_help},
    {"metric", "limit", "TYPE KEY --window none|minute|hour|day|week|period --label LABEL",
     "Add another limit that plans may set for a metric", cmd_metric_limit, NULL},
    {"metric", "list", "", "The catalogue", cmd_metric_list, NULL},
    {"metric", "show", "TYPE", "One metric", cmd_metric_show, NULL},
    {"metric", "change",
     "TYPE [--unit UNIT] [--plural UNITS] [--decimals NUMBER] [--label LABEL] [--where CONDITION] [--value COLUMN] "
     "[--records TYPE] [--from TABLE] [--tenant-column COLUMN]",
     "Change a metric's unit, label, or what it is counted from", cmd_metric_change, metric_help},
    {"metric", "remove", "TYPE", "Remove a metric without events, or one that is counted from a table",
     cmd_metric_remove, NULL},
    {0},
};
static const struct cli_command last[] = {
    {NULL, "reconcile", "[--tenant T] [--repair] [--progress]",
     "Compare rollups, counts, summaries and gauges with the rows", cmd_reconcile,
     "Compares the days whose rows are still kept; older days are final. Prints every difference; exit status 1 when there is\n"
     "one. --repair corrects them from the rows and the tenants' schemas, one transaction per tenant. --progress reports\n"
     "progress on standard error, as is done on a terminal.\n"},
    {NULL, "doctor", "[--seen] [--at URL]", "Check every part and say how to correct what is wrong", cmd_doctor,
     "Exit status 1 when a line says WRONG. --seen marks the damage it shows as reviewed. --at calls the web server at URL\n"
     "instead of at web.public_url: use http://127.0.0.1 where the public address has TLS.\n"},
    {"config", "lighttpd", "", "Print lighttpd's configuration, made from tollgate.conf", cmd_config_server, NULL},
    {"config", "apache", "server|vhost", "Print a part of Apache's configuration", cmd_config_server, NULL},
    {"config", "nginx", "http|server", "Print a part of nginx's configuration", cmd_config_server, NULL},
    {NULL, "config", "[--sample | --check [FILE]]", "Every key of the configuration", cmd_config,
     "--sample prints a file to start from. --check reads FILE, or the file in use, and names every problem in it; exit status 2\n"
     "when there is one.\n"},
    {0},
};
static const struct cli_command *const tables[] = {
    first,        tenant_commands, tier_commands,  limit_commands, account_commands,
    key_commands, metric_commands, spool_commands, last,
};

static const char options_text[] = "Options of every command:\n"
                                   "  --config FILE  the configuration ($TOLLGATE_CONF, /etc/tollgate/tollgate.conf)\n"
                                   "  --json         one JSON value in place of a table\n"
                                   "  --yes          go on without a question\n"
                                   "  --help         what a command does and takes\n"
                                   "  --version      which version this is\n"
                                   "Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused or not confirmed.\n";

/* The commands of all tables, from 0; NULL behind the last. */
static const struct cli_command *command(size_t i)
{
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (const struct cli_command *k = tables[t]; k->name; k++)
            if (i-- == 0)
                return k;
    return NULL;
}

static void print_usage(FILE *to, const struct cli_command *k)
{
    fprintf(to, "  tollgate %s%s%s%s%s\n      %s.\n", k->group ? k->group : "", k->group ? " " : "", k->name,
            *k->arguments ? " " : "", k->arguments, k->help);
}

/* The commands of one group, or all of them. */
static void print_help(FILE *to, const char *group)
{
    const struct cli_command *k;

    for (size_t i = 0; (k = command(i)); i++)
        if (!group || strcmp(k->group ? k->group : k->name, group) == 0)
            print_usage(to, k);
    fprintf(to, "\n%s", options_text);
}

static const struct cli_command *find(int argc, char *argv[], int *used)
{
    const struct cli_command *k;

    for (size_t i = 0; (k = command(i)); i++) {
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
    const struct cli_command *k;

    for (size_t i = 0; (k = command(i)); i++)
        if (k->group && strcmp(k->group, word) == 0)
            return true;
    return false;
}

/* Takes the global options out of argv, up to "--"; -1: wrong, else how many words stay. */
static int take_globals(struct cli *c, int argc, char *argv[], bool *help)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int n = 0, option, at = 1;

    opterr = 0;
    for (; (option = getopt_long(argc, argv, "-:h", options, NULL)) != -1; at = optind) {
        if (option == 'c') {
            c->config_path = optarg;
        } else if (option == 'j') {
            c->json = true;
        } else if (option == 'y') {
            c->yes = true;
        } else if (option == 'h') {
            *help = true;
        } else if (option == ':') {
            cli_say("--config needs a file");
            return -1;
        } else if (optind > at) { /* a word, or an option that is the command's */
            argv[n++] = argv[at];
        }
    }
    for (int i = at; i < argc; i++) /* "--" and what is behind it */
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
    result = k->run(c, argc - used + 1, argv + used - 1);
    db_close(c->db);
    config_free(c->config);
    return result;
}

int main(int argc, char *argv[])
{
    struct cli c = {0};
    bool help = false;
    int n;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("tollgate " TOLLGATE_VERSION);
        return CLI_OK;
    }
    n = take_globals(&c, argc, argv, &help);
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
