/* cmd_adopt_map.c: tollgate adopt --map, tollgate leave: a database whose tenants are where a file says, and out of it again */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/adopt_map.h"
#include "cli/cli.h"
#include "lib/base/ini.h"
#include "lib/base/io.h"
#include "lib/store/adopt.h"
#include "lib/store/db.h"
#include "lib/store/migrate.h"

#define MAP_BYTES_MAX 65536

static const struct {
    const char *section, *key;
    size_t at;
} keys[] = {
    {"tenants", "table", offsetof(struct adopt_mapping, table)},
    {"tenants", "id", offsetof(struct adopt_mapping, id)},
    {"tenants", "name", offsetof(struct adopt_mapping, name)},
    {"tenants", "plan", offsetof(struct adopt_mapping, plan)},
    {"tenants", "state", offsetof(struct adopt_mapping, state)},
    {"tenants", "suspended", offsetof(struct adopt_mapping, suspended)},
    {"schemas", "column", offsetof(struct adopt_mapping, schema)},
    {"schemas", "pattern", offsetof(struct adopt_mapping, pattern)},
};

struct reading {
    const char *path, *section;
    struct adopt_mapping *mapping;
    bool wrong;
};

static void complain(void *arg, int line, const char *what)
{
    struct reading *r = arg;

    cli_say("%s, line %d: %s", r->path, line, what);
    r->wrong = true;
}

static void take_section(void *arg, int line, const char *name)
{
    struct reading *r = arg;

    (void)line;
    r->section = name;
}

static void take_pair(void *arg, int line, const char *key, const char *value)
{
    struct reading *r = arg;
    char text[256];

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (r->section && strcmp(r->section, keys[i].section) == 0 && strcmp(key, keys[i].key) == 0) {
            *(const char **)((char *)r->mapping + keys[i].at) = *value ? value : NULL;
            return;
        }
    snprintf(text, sizeof(text), "a mapping has no key %.60s in a section %.60s", key,
             r->section ? r->section : "(none)");
    complain(r, line, text);
}

/* The mapping of a file, whose text the caller frees; the mapping points into it. */
static int read_mapping(const char *path, char **text, struct adopt_mapping *m)
{
    struct reading r = {path, NULL, m, false};
    const struct ini_handler handler = {take_section, take_pair, complain, &r};
    size_t length;
    enum status s = io_read_file(path, MAP_BYTES_MAX, text, &length);

    if (s != STATUS_OK) {
        cli_say("cannot read %s: %s", path, status_text(s));
        return CLI_USAGE;
    }
    ini_parse(*text, length, &handler);
    if (!r.wrong && (!m->table || !m->id))
        cli_say("%s says not where the tenants are: it needs table and id in a section [tenants]", path);
    return r.wrong || !m->table || !m->id ? CLI_USAGE : CLI_OK;
}

/* What was taken; tenants without a plan are refused every call, so that is said. */
static void report(const struct db_rows *rows)
{
    size_t left_out = 0, no_plan = 0;

    for (size_t i = 0; i < db_count(rows); i++) {
        if (!db_null(rows, i, 5)) {
            printf("  %s is left out: its id %s\n", db_text(rows, i, 0), db_text(rows, i, 5));
            left_out++;
            continue;
        }
        printf("  %s: %s, plan %s, %s%s%s\n", db_text(rows, i, 0), db_text(rows, i, 1),
               db_null(rows, i, 2) ? "none" : db_text(rows, i, 2), db_text(rows, i, 3),
               *db_text(rows, i, 4) ? ", schema " : "", db_text(rows, i, 4));
        no_plan += db_null(rows, i, 2);
    }
    printf("%zu tenants are taken, %zu left out.\n", db_count(rows) - left_out, left_out);
    if (no_plan > 0)
        printf("%zu have no plan: every call of such a tenant is refused until one is set (tollgate tenant change).\n",
               no_plan);
}

/* Everything that adopting does, in one transaction, which is undone when it is a trial. */
static int take(struct cli *c, const struct adopt_mapping *m, bool trial)
{
    struct migrate_options o = {.sql_dir = c->config->paths.sql_dir};
    struct db_rows *rows = NULL;
    char problem[512] = "";
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = adopt_map(c->db, m)) != STATUS_OK)
        return cli_fail(c, s, "cannot read the mapping");
    if (migrate_map(c->db, &o, problem) != STATUS_OK) {
        db_rollback(c->db);
        cli_say("%s", problem);
        return CLI_REFUSED;
    }
    if (trial) {
        if ((s = adopt_mapped(c->db, &rows)) != STATUS_OK)
            return cli_fail(c, s, "cannot list the tenants");
        report(rows);
        db_rows_free(rows);
        db_rollback(c->db);
        return CLI_OK;
    }
    return cli_commit(c) == STATUS_OK ? CLI_OK : CLI_FAILED;
}

int adopt_with_map(struct cli *c, const char *path, bool dry)
{
    struct adopt_mapping m = {0};
    char *text = NULL;
    int result = read_mapping(path, &text, &m);

    c->any_version = true;
    if (result == CLI_OK)
        result = take(c, &m, true);
    if (result == CLI_OK && dry)
        printf("Nothing was changed.\n");
    else if (result == CLI_OK && !cli_confirm(c, "Adopt this database?", "adopt"))
        result = CLI_REFUSED;
    else if (result == CLI_OK)
        result = take(c, &m, false);
    free(text);
    return result;
}

int cmd_leave(struct cli *c, int argc, char *argv[])
{
    bool dry = false;
    const struct cli_option options[] = {{"dry-run", NULL, &dry}, {0}};
    struct migrate_options o = {.sql_dir = c->config->paths.sql_dir};
    char problem[512] = "";

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    c->any_version = true;
    if (!dry && !cli_confirm(c, "All that Tollgate recorded in this database will be lost.", "leave"))
        return CLI_REFUSED;
    if (cli_begin(c) != STATUS_OK)
        return CLI_FAILED;
    if (migrate_leave(c->db, &o, problem) != STATUS_OK) {
        db_rollback(c->db);
        cli_say("%s", problem);
        return CLI_REFUSED;
    }
    if (dry) {
        db_rollback(c->db);
        printf("Tollgate can leave this database. Nothing was changed.\n");
        return CLI_OK;
    }
    if (cli_commit(c) != STATUS_OK)
        return CLI_FAILED;
    printf("Tollgate has left this database. Its roles stay in the cluster.\n");
    return CLI_OK;
}
