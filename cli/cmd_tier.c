/* cmd_tier.c: tollgate tier: make, list, show, change and remove plans */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/store/tiers.h"

#define WORDS 17 /* an id and as many limits as there may be */

static const struct table_column columns[] = {
    {"id", "id", TABLE_TEXT},
    {"name", "name", TABLE_TEXT},
    {"tenants", "tenants", TABLE_NUMBER},
    {"limits", "limits", TABLE_JSON},
    {0},
};

/* "-1", or digits with at most six behind a point. */
static bool is_limit(const char *text)
{
    size_t whole = strspn(text, "0123456789"), part;

    if (strcmp(text, "-1") == 0)
        return true;
    if (whole == 0 || whole > 12)
        return false;
    if (!text[whole])
        return true;
    part = strspn(text + whole + 1, "0123456789");
    return text[whole] == '.' && part > 0 && part <= 6 && !text[whole + 1 + part];
}

enum status cli_check_limits(const char *words[], bool may_remove)
{
    for (; *words; words++) {
        const char *equals = strchr(*words, '=');

        if (!equals || equals == *words || (!equals[1] && !may_remove) || (equals[1] && !is_limit(equals + 1))) {
            cli_say("\"%s\" is not a limit; write it as storage_gb=50, or =-1 for unlimited", *words);
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

enum status cli_set_limits(struct cli *c, const char *id, const char *words[])
{
    enum status s = STATUS_OK;

    for (; !s && *words; words++) {
        size_t n = strcspn(*words, "=");
        char *key = strndup(*words, n);

        s = key ? tiers_set_limit(c->db, id, key, (*words)[n + 1] ? *words + n + 1 : NULL) : STATUS_NO_MEMORY;
        if (s == STATUS_NOT_FOUND)
            cli_say("\"%s\" is not a limit; `tollgate metric list` shows them", key);
        free(key);
    }
    return s;
}

static int cmd_tier_create(struct cli *c, int argc, char *argv[])
{
    const char *name = NULL, *words[WORDS + 1] = {0};
    const struct cli_option options[] = {{"name", &name, NULL}, {0}};
    enum status s;

    if (cli_parse(argc, argv, options, words, 1, WORDS) || cli_check_limits(words + 1, false))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = tiers_create(c->db, words[0], name ? name : words[0]);
    if (!s)
        s = cli_set_limits(c, words[0], words + 1);
    return cli_end(c, s, "the tier was not created", "The tier was created.", words[0]);
}

static int cmd_tier_list(struct cli *c, int argc, char *argv[])
{
    return cli_list(c, argc, argv, tiers_list, columns, "the tiers can't be listed");
}

static int cmd_tier_show(struct cli *c, int argc, char *argv[])
{
    return cli_show_named(c, argc, argv, tiers_show, columns);
}

static int cmd_tier_change(struct cli *c, int argc, char *argv[])
{
    const char *name = NULL, *words[WORDS + 1] = {0};
    const struct cli_option options[] = {{"name", &name, NULL}, {0}};
    enum status s;

    if (cli_parse(argc, argv, options, words, 1, WORDS) || cli_check_limits(words + 1, true))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = tiers_rename(c->db, words[0], name);
    if (!s)
        s = cli_set_limits(c, words[0], words + 1);
    return cli_end(c, s, words[0], "The tier was changed.", words[0]);
}

static int cmd_tier_remove(struct cli *c, int argc, char *argv[])
{
    return cli_remove(c, argc, argv, "The tier", "goes.", tiers_remove, "The tier was removed.");
}

static const char limits_help[] = "LIMIT=NUMBER sets a limit, such as storage_gb=50; -1 is unlimited.\n";
const struct cli_command tier_commands[] = {
    {"tier", "create", "ID --name NAME [LIMIT=NUMBER]...", "Create a plan", cmd_tier_create, limits_help},
    {"tier", "list", "", "All plans", cmd_tier_list, NULL},
    {"tier", "show", "ID", "One plan with its limits", cmd_tier_show, NULL},
    {"tier", "change", "ID [--name NAME] [LIMIT=NUMBER|LIMIT=]...", "Change a plan and the limits of all who are on it",
     cmd_tier_change, "LIMIT= without a number removes the limit.\n"},
    {"tier", "remove", "ID", "Remove a plan that nobody is on", cmd_tier_remove, NULL},
    {0},
};
