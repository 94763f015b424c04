/* cmd_limit.c: tollgate limit: limits of tenants and tiers, what they do when they are reached, and where each comes from */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/db.h"
#include "lib/store/limits.h"

static const struct table_column columns[] = {
    {"kind", "of", TABLE_TEXT},
    {"id", "id", TABLE_TEXT},
    {"limit_key", "limit", TABLE_TEXT},
    {"max", "number", TABLE_NUMBER},
    {"used", "used", TABLE_NUMBER},
    {"source", "from", TABLE_TEXT},
    {"mode", "mode", TABLE_TEXT},
    {"grace_percent", "grace %", TABLE_NUMBER},
    {"grace_until", "grace until", TABLE_TEXT},
    {"expires_at", "expires", TABLE_TEXT},
    {"reason", "reason", TABLE_TEXT},
    {0},
};
static const struct table_column over_columns[] = {
    {"tenant_id", "tenant", TABLE_TEXT}, {"limit_key", "limit", TABLE_TEXT}, {"used", "used", TABLE_NUMBER},
    {"max", "number", TABLE_NUMBER},     {"mode", "mode", TABLE_TEXT},       {0},
};

/* Whose limit is meant; says so when it is not one. */
static bool has_owner(const struct limit_owner *of, bool may_be_none)
{
    int named = !!of->tenant + !!of->tier + !!of->key;

    if (named == 1 || (may_be_none && named == 0))
        return true;
    cli_say("say whose limit it is: --tenant ID, --tier ID or --key ID");
    return false;
}

/* Who would be over: the change was made in this transaction, which is taken back. */
static int show_over(struct cli *c, const struct limit_owner *of, const char *limit)
{
    struct db_rows *rows = NULL;
    enum status s = limits_over(c->db, of, limit, &rows);

    if (s)
        return cli_fail(c, s, "it can't be told who would be over");
    if (!c->json)
        fprintf(stderr, "Nothing was changed. %s\n",
                db_count(rows) ? "These would be over the limit:" : "Nobody would be over the limit.");
    return db_count(rows) || c->json ? cli_show(c, rows, over_columns, false) : (db_rows_free(rows), CLI_OK);
}

static int cmd_limit_set(struct cli *c, int argc, char *argv[])
{
    struct limit_owner of = {0};
    struct limit_values v = {0};
    const char *words[2];
    bool dry_run = false;
    const struct cli_option options[] = {{"tenant", &of.tenant, NULL},
                                         {"tier", &of.tier, NULL},
                                         {"key", &of.key, NULL},
                                         {"mode", &v.mode, NULL},
                                         {"grace-percent", &v.grace_percent, NULL},
                                         {"grace-until", &v.grace_until, NULL},
                                         {"expires", &v.expires, NULL},
                                         {"reason", &v.reason, NULL},
                                         {"dry-run", NULL, &dry_run},
                                         {0}};
    enum status s;

    if (cli_parse(argc, argv, options, words, 1, 2) || !has_owner(&of, false))
        return CLI_USAGE;
    if (of.tier && v.expires) {
        cli_say("--expires is for a limit of a tenant or a key; a tier's limit holds until it is set anew");
        return CLI_USAGE;
    }
    if (of.key && dry_run) {
        cli_say("--dry-run is for a tenant or a tier: what a key used in a minute is not kept");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    v.number = words[1];
    s = limits_set(c->db, &of, words[0], &v);
    if (!s && dry_run)
        return show_over(c, &of, words[0]);
    return cli_end(c, s, "the limit was not set", "The limit was set.", words[0]);
}

static int cmd_limit_list(struct cli *c, int argc, char *argv[])
{
    struct limit_owner of = {0};
    const struct cli_option options[] = {
        {"tenant", &of.tenant, NULL}, {"tier", &of.tier, NULL}, {"key", &of.key, NULL}, {0}};
    struct db_rows *rows = NULL;
    enum status s;

    if (cli_parse(argc, argv, options, NULL, 0, 0) || !has_owner(&of, true))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = limits_list(c->db, &of, &rows);
    return s ? cli_fail(c, s, "the limits can't be listed") : cli_show(c, rows, columns, false);
}

static int cmd_limit_grant(struct cli *c, int argc, char *argv[])
{
    const char *words[3], *until = NULL, *reason = NULL;
    const struct cli_option options[] = {{"until", &until, NULL}, {"reason", &reason, NULL}, {0}};
    struct db_rows *rows = NULL;
    char said[64], id[32], full[CAPACITY_TEXT];
    enum status s;

    if (cli_parse(argc, argv, options, words, 3, 3))
        return CLI_USAGE;
    if (!until) {
        cli_say(
            "say until when it may be used: --until 2027-01-31, which counts to the day's end in the tenant's zone");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    s = limits_grant(c->db, words[0], words[1], words[2], until, reason, &rows, full);
    if (s == STATUS_LIMIT)
        cli_say("%s", full);
    if (s)
        return cli_fail(c, s, "nothing was granted");
    snprintf(id, sizeof(id), "%s", db_text(rows, 0, 0));
    snprintf(said, sizeof(said), "Granted, as credit %s.", id);
    db_rows_free(rows);
    return cli_end(c, s, "nothing was granted", said, id);
}

static int cmd_limit_remove(struct cli *c, int argc, char *argv[])
{
    struct limit_owner of = {0};
    const char *limit, *credit = NULL;
    const struct cli_option options[] = {
        {"tenant", &of.tenant, NULL}, {"tier", &of.tier, NULL}, {"key", &of.key, NULL}, {"credit", &credit, NULL}, {0}};

    if (cli_parse(argc, argv, options, &limit, 0, 1) || !has_owner(&of, false))
        return CLI_USAGE;
    if (!limit == !credit || (credit && !of.tenant)) {
        cli_say("name the limit, or a tenant's credit: --tenant ID --credit NUMBER");
        return CLI_USAGE;
    }
    if (cli_begin(c))
        return CLI_FAILED;
    if (credit)
        return cli_end(c, limits_take_back(c->db, of.tenant, credit), "the credit was not taken back",
                       "What was left of it was taken back.", credit);
    return cli_end(c, limits_remove(c->db, &of, limit), "the limit was not removed", "The limit was removed.", limit);
}

static const char set_help[] =
    "NUMBER is 0 or more, or unlimited; without it the number stays. --mode: hard refuses what is beyond the limit (the default),\n"
    "soft admits it and says so, grace admits N percent more (--grace-percent), or everything until a time (--grace-until).\n"
    "TIME is a day such as 2027-01-31, which counts to its end in the tenant's zone, a time such as 2027-01-31T18:00:00Z, or a\n"
    "number of days such as 30d. After --expires the tier's number and mode hold again. --dry-run changes nothing and lists who\n"
    "would be over the limit: tenant, what is used, and the new number. A key's limit is of a minute.\n";
const struct cli_command limit_commands[] = {
    {"limit", "set",
     "(--tenant ID | --tier ID | --key ID) LIMIT [NUMBER] [--mode hard|soft|grace] [--grace-percent N] [--grace-until TIME] "
     "[--expires TIME] [--reason TEXT] [--dry-run]",
     "Set a limit of a tenant, a tier or a key, and what it does when it is reached", cmd_limit_set, set_help},
    {"limit", "list", "[--tenant ID | --tier ID | --key ID]", "Limits, where each comes from, until when and why",
     cmd_limit_list,
     "With none of them, all that was set for single tenants and keys, all modes of tiers, and credits. from is tier, override (set for this\n"
     "tenant), host (a number that the host wrote into usage_limits), or a credit's number.\n"},
    {"limit", "grant", "TENANT LIMIT AMOUNT --until DAY [--reason TEXT]",
     "Let a tenant use an amount once, beyond its plan", cmd_limit_grant,
     "It is used when the plan's number is used up, in as many windows as it lasts, until the day ends in the tenant's zone. Of several\n"
     "the one that ends first is used first. LIMIT may be a metric's name, which is its main limit. On what is counted as a level, such as\n"
     "users, it raises the limit until then. DAY is such as 2027-01-31 or 30d.\n"},
    {"limit", "remove", "(--tenant ID | --tier ID | --key ID) LIMIT, or --tenant ID --credit NUMBER",
     "Let the tier's limit hold again, let a tier limit it no more, or take back a credit", cmd_limit_remove, NULL},
    {0},
};
