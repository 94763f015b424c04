/* main.c: tollgate, the command line: global options, then a row of the command table */
#include "cli/cli.h"

#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/store/db.h"

static const char limits_help[] = "LIMIT=NUMBER sets a limit, such as max_patients=500; -1 is unlimited.\n";
static const char spool_help[] = "DIR is paths.spool_dir unless given. TIME is RFC 3339: 2026-11-24T09:00:00Z.\n";

static const char setup_help[] =
    "Announces each step, skips what exists already, and prints what is left to do by hand. Running it again does no harm.\n"
    "Run it as root: what only PostgreSQL's superuser can do is then done as the user postgres, or else with the connection\n"
    "string after --superuser. --write-login adds the lines by which the programs log in to pg_hba.conf and pg_ident.conf;\n"
    "without it they are printed, and at a terminal you are asked. The operator's password is asked for at the terminal, read\n"
    "with --password-stdin, or generated and shown once, like the key. Defaults: tier starter, api_calls_per_day=1000, tenant\n"
    "example.\n";

static const struct cli_command commands[] = {
    {NULL, "setup",
     "[--write-login] [--operator-email EMAIL [--password-stdin]] [--tier TIER] [--limit LIMIT=NUMBER] [--tenant ID] "
     "[--tenant-name NAME] [--superuser CONNINFO]",
     "Create roles, database, schema, the first operator, tier, tenant and key", cmd_setup, setup_help},
    {NULL, "migrate", "[--new]", "Create or update the schema in the database", cmd_migrate,
     "--new also creates the tables tenants, users, subscription_tiers and tenant_subscriptions where there are none.\n"
     "Running it again changes nothing. To take over a database that has tenants of its own, use `tollgate adopt`.\n"},
    {NULL, "adopt", "[--dry-run] [--enforce]", "Take over a database that has tenants of its own", cmd_adopt,
     "Lists what it will add, asks, and adds nothing else. --dry-run only lists; --enforce also refuses rows beyond plans.\n"},
    {NULL, "enforce", "TENANT|--all [on|off], or list", "Let the database refuse patients and users beyond the plan",
     cmd_enforce, "A refused statement fails with SQLSTATE TG429 and the numbers; on is the default.\n"},
    {NULL, "demo", "", "Fill an empty database with the demo's tenants", cmd_demo, NULL},
    {"tenant", "create", "ID --name NAME [--tier TIER] [--zone ZONE] [--anchor DAY] [--schema NAME] [--storage PATH]",
     "Create a tenant with its settings and subscription", cmd_tenant_create,
     "--zone is an IANA name such as Europe/Berlin (default: UTC); --anchor is the day of the month on which a period starts\n"
     "(default: 1); --schema is where its patients and appointments are (default: its id); --storage is its folder below\n"
     "storage.dir (default: its id).\n"},
    {"tenant", "list", "", "All tenants", cmd_tenant_list, NULL},
    {"tenant", "show", "ID", "One tenant", cmd_tenant_show, NULL},
    {"tenant", "change", "ID [--name NAME] [--tier TIER] [--zone ZONE] [--anchor DAY] [--storage PATH]",
     "Change a tenant; zone and anchor take effect with the next period", cmd_tenant_change, NULL},
    {"tenant", "remove", "ID", "Remove a tenant with all its usage, keys and accounts", cmd_tenant_remove, NULL},
    {"tenant", "suspend", "ID", "Refuse all its calls until it is resumed", cmd_tenant_suspend, NULL},
    {"tenant", "resume", "ID", "Admit its calls again", cmd_tenant_resume, NULL},

    {"tier", "create", "ID --name NAME [LIMIT=NUMBER]...", "Create a plan", cmd_tier_create, limits_help},
    {"tier", "list", "", "All plans", cmd_tier_list, NULL},
    {"tier", "show", "ID", "One plan with its limits", cmd_tier_show, NULL},
    {"tier", "change", "ID [--name NAME] [LIMIT=NUMBER|LIMIT=]...", "Change a plan and the limits of all who are on it",
     cmd_tier_change, "LIMIT= without a number removes the limit.\n"},
    {"tier", "remove", "ID", "Remove a plan that nobody is on", cmd_tier_remove, NULL},

    {"account", "create", "EMAIL (--tenant ID --role viewer|admin | --role operator) [--password-stdin]",
     "Let a person sign in", cmd_account_create,
     "The password is asked for at the terminal; it is never an argument.\n"},
    {"account", "list", "[--tenant ID]", "Who may sign in", cmd_account_list, NULL},
    {"account", "show", "EMAIL", "One account", cmd_account_show, NULL},
    {"account", "change", "EMAIL [--email NEW] [--role viewer|admin]", "Change an account; it is signed out everywhere",
     cmd_account_change, NULL},
    {"account", "remove", "EMAIL", "Remove an account", cmd_account_remove, NULL},
    {"account", "password", "EMAIL [--password-stdin]", "Set a password; it is signed out everywhere",
     cmd_account_password, NULL},

    {"key", "create", "NAME (--tenant ID | --operator) [--scopes LIST] [--expires TIME] [--key-stdin]",
     "Create a key, which is shown once", cmd_key_create,
     "--expires is a time such as 2027-01-31T00:00:00Z or a number of days such as 90d. --scopes is a list of call, track, read,\n"
     "admin and metrics; the default is call,track,read for a tenant's key and all of them for an operator's. metrics, for\n"
     "GET /metrics, is for an operator's key only.\n"
     "--key-stdin reads a secret of your own, of at least 128 bits, from standard input instead of generating one.\n"},
    {"key", "list", "[--tenant ID]", "Keys, without their secrets", cmd_key_list, NULL},
    {"key", "show", "ID", "One key, without its secret", cmd_key_show, NULL},
    {"key", "change", "ID [--name NAME] [--scopes LIST] [--expires TIME|never]", "Change a key", cmd_key_change, NULL},
    {"key", "remove", "ID", "Revoke a key for good", cmd_key_remove, NULL},

    {"metric", "create",
     "TYPE --kind counter|gauge --unit UNIT --label LABEL [--limit KEY] [--window none|minute|day|period]",
     "Create a metric for events", cmd_metric_create, NULL},
    {"metric", "list", "", "The catalogue", cmd_metric_list, NULL},
    {"metric", "show", "TYPE", "One metric", cmd_metric_show, NULL},
    {"metric", "change", "TYPE [--unit UNIT] [--label LABEL]", "Change a metric's unit or label", cmd_metric_change,
     NULL},
    {"metric", "remove", "TYPE", "Remove a metric without events", cmd_metric_remove, NULL},

    {"spool", "list", "[DIR] [--segment S] [--writer gate|web|collector] [--alive|--dead]",
     "The segments of a node's journal of events, what each holds and how much of it is stored", cmd_spool_list,
     spool_help},
    {"spool", "show",
     "[DIR] [--tenant T] [--metric M] [--id ID] [--segment S] [--writer W] [--from TIME] [--to TIME] [--most NUMBER] "
     "[--damaged]",
     "The events in the journal, or its damaged places", cmd_spool_show, spool_help},
    {"spool", "verify", "[DIR] [--segment S] [--writer W] [--alive|--dead]",
     "Read all of the journal; exit status 1 when something is damaged", cmd_spool_verify, spool_help},
    {"spool", "ingest", "DIR", "Store a dead node's events", cmd_spool_ingest,
     "Each event is stored once, however often this is run, even if the dead node comes back. Its files are not changed.\n"},
    {"spool", "rejected",
     "list|explain|replay [ID...] [--tenant T] [--since TIME] [--reason R] [--most NUMBER] [--all] [--dry-run]",
     "Events that could not be stored: which, why, and once more", cmd_spool_rejected,
     "explain ID gives the reason in words, what is in the event and what to do.\n"
     "replay takes IDs, the options or --all. Each event is examined like a new one and stored once; what still can't be\n"
     "stored stays as it is. --dry-run says what would happen. TIME is RFC 3339: 2026-11-24T09:00:00Z.\n"},

    {NULL, "reconcile", "[--tenant T] [--repair] [--progress]",
     "Compare rollups, counts, summaries and gauges with the rows", cmd_reconcile,
     "Compares the days whose rows are still kept; older days are final. Prints every difference; exit status 1 when there is\n"
     "one. --repair corrects them from the rows and the tenants' schemas, one transaction per tenant. --progress reports\n"
     "progress on standard error, as is done on a terminal.\n"},
    {NULL, "doctor", "[--seen] [--at URL]", "Check every part and say how to correct what is wrong", cmd_doctor,
     "Exit status 1 when a line says WRONG. --seen marks the damage it shows as reviewed. --at calls the web server at URL\n"
     "instead of at web.public_url: use http://127.0.0.1 where the public address has TLS.\n"},
    {"config", "lighttpd", "", "Print lighttpd's configuration, made from tollgate.conf", cmd_config_lighttpd, NULL},
    {"config", "apache", "server|vhost", "Print a part of Apache's configuration", cmd_config_apache, NULL},
    {"config", "nginx", "http|server", "Print a part of nginx's configuration", cmd_config_nginx, NULL},
    {NULL, "config", "[--sample | --check [FILE]]", "Every key of the configuration", cmd_config,
     "--sample prints a file to start from. --check reads FILE, or the file in use, and names every problem in it; exit status 2\n"
     "when there is one.\n"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char options_text[] = "Options of every command:\n"
                                   "  --config FILE  the configuration ($TOLLGATE_CONF, /etc/tollgate/tollgate.conf)\n"
                                   "  --json         one JSON value in place of a table\n"
                                   "  --yes          go on without a question\n"
                                   "  --help         what a command does and takes\n"
                                   "  --version      which version this is\n"
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
