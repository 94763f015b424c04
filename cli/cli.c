/* cli.c: options, the database, questions: what every command uses */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/table.h"
#include "lib/base/clock.h"
#include "lib/base/tenant_id.h"
#include "lib/store/db.h"
#include "lib/store/schema_version.h"

void cli_say(const char *format, ...)
{
    va_list args;

    fputs("tollgate: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

#define OPTIONS_MOST 16
#define FIRST_OPTION 256 /* getopt_long's value of the first of them */

static size_t long_options(const struct cli_option options[], struct option out[OPTIONS_MOST + 1])
{
    size_t n = 0;

    for (; n < OPTIONS_MOST && options[n].name; n++)
        out[n] = (struct option){options[n].name, options[n].flag ? no_argument : required_argument, NULL,
                                 FIRST_OPTION + (int)n};
    out[n] = (struct option){0};
    return n;
}

/* What getopt_long does not take, said. */
static enum status wrong_option(int found, const char *word, const struct cli_option options[])
{
    const char *name = optopt >= FIRST_OPTION ? options[optopt - FIRST_OPTION].name : NULL;

    if (!name)
        cli_say("%s is not an option of this command; --help lists them", word);
    else
        cli_say(found == ':' ? "--%s needs a value" : "--%s takes no value", name);
    return STATUS_INVALID;
}

enum status cli_parse(int argc, char *argv[], const struct cli_option options[], const char *words[], size_t least,
                      size_t most)
{
    struct option longs[OPTIONS_MOST + 1];
    size_t n = 0, n_options = long_options(options, longs);
    int found, at = 1;

    opterr = optind = 0;
    for (; (found = getopt_long(argc, argv, "-:", longs, NULL)) != -1; at = optind) {
        size_t o = (size_t)found - FIRST_OPTION;

        if (found == 1 && n < most)
            words[n++] = optarg;
        else if (found == 1)
            break;
        else if (found < FIRST_OPTION || o >= n_options)
            return wrong_option(found, argv[at], options);
        else if (options[o].flag)
            *options[o].flag = true;
        else
            *options[o].text = optarg;
    }
    for (; words && found == -1 && optind < argc && n < most; optind++) /* behind "--" */
        words[n++] = argv[optind];
    if (found == 1 || optind < argc) {
        cli_say("\"%s\" is one word too many; --help shows what the command takes", found == 1 ? optarg : argv[optind]);
        return STATUS_INVALID;
    }
    if (n < least) {
        cli_say("a word is missing; --help shows what the command takes");
        return STATUS_INVALID;
    }
    for (; n < most; n++)
        words[n] = NULL;
    return STATUS_OK;
}

struct db *cli_db(struct cli *c)
{
    if (!c->db && db_open(c->config->database.owner, "tollgate", &c->db)) {
        cli_say("out of memory");
        return NULL;
    }
    if (!c->any_version)
        schema_version_hold(c->db);
    return c->db;
}

enum status cli_begin(struct cli *c)
{
    struct db *d = cli_db(c);
    enum status s;

    if (!d)
        return STATUS_NO_MEMORY;
    s = db_begin(d, NULL);
    if (s && db_other_version(d))
        cli_say("%s", db_error(d));
    else if (s)
        cli_say("the database is not available: %s; check [database] owner in the configuration, or let `tollgate "
                "setup` make what is missing",
                db_error(d));
    return s;
}

enum status cli_commit(struct cli *c)
{
    enum status s = db_commit(c->db);

    if (s == STATUS_UNAVAILABLE)
        cli_say(
            "the connection broke at the end: it is not known whether the change was made; look before you repeat it");
    else if (s)
        cli_say("the change was not made: %s", db_error(c->db));
    return s;
}

int cli_fail(struct cli *c, enum status s, const char *what)
{
    const char *said = c->db ? db_error(c->db) : "";

    if (c->db && strcmp(db_sqlstate(c->db), "23503") == 0)
        cli_say("%s: something that it names does not exist, or something else still uses it", what);
    else if (said[0] && s != STATUS_EXISTS)
        cli_say("%s: %s", what, said);
    else
        cli_say("%s: %s", what, status_text(s));
    if (c->db)
        db_rollback(c->db);
    return s == STATUS_DENIED ? CLI_REFUSED : CLI_FAILED;
}

bool cli_confirm(struct cli *c, const char *what, const char *word)
{
    char line[512];

    if (c->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        cli_say("%s This can't be undone; say --yes to do it without a question", what);
        return false;
    }
    fprintf(stderr, "%s This can't be undone.\nType \"%s\" to go on: ", what, word);
    if (!fgets(line, sizeof(line), stdin))
        line[0] = 0;
    line[strcspn(line, "\r\n")] = 0;
    if (strcmp(line, word) == 0)
        return true;
    cli_say("that is not \"%s\"; nothing was changed", word);
    return false;
}

bool cli_tenant_id(const char *id)
{
    const char *problem = tenant_id_problem(id);

    if (problem)
        cli_say("this id %s; a tenant's id has 1 to 255 bytes, no control character, no comma and no white space at "
                "its ends",
                problem);
    return !problem;
}

bool cli_number(const char *name, const char *text, long long least, long long most, long long *out)
{
    char *end;
    long long n;

    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < least || n > most) {
        cli_say("%s is \"%s\"; it must be a whole number from %lld to %lld", name, text, least, most);
        return false;
    }
    *out = n;
    return true;
}

bool cli_time(const char *name, const char *text, int64_t *us)
{
    if (!text || clock_parse_rfc3339(text, strlen(text), us) == STATUS_OK)
        return true;
    cli_say("--%s must be RFC 3339, such as 2026-11-24T09:00:00Z, not \"%s\"", name, text);
    return false;
}

int cli_show(struct cli *c, struct db_rows *rows, const struct table_column columns[], bool one)
{
    struct table t;

    table_init(&t, columns);
    for (size_t r = 0; r < db_count(rows); r++)
        for (size_t i = 0; i < t.n_columns; i++)
            table_cell(&t, db_null(rows, r, (int)i) ? NULL : db_text(rows, r, (int)i));
    db_rows_free(rows);
    db_rollback(c->db);
    return one ? table_print_one(&t, c->json) : table_print(&t, c->json);
}

int cli_list(struct cli *c, int argc, char *argv[], enum status (*list)(struct db *d, struct db_rows **rows),
             const struct table_column columns[], const char *what)
{
    struct db_rows *rows = NULL;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, NULL, 0, 0))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = list(c->db, &rows);
    return s ? cli_fail(c, s, what) : cli_show(c, rows, columns, false);
}

int cli_list_of(struct cli *c, int argc, char *argv[],
                enum status (*list)(struct db *d, const char *tenant, struct db_rows **rows),
                const struct table_column columns[], const char *what)
{
    const char *tenant = NULL;
    const struct cli_option options[] = {{"tenant", &tenant, NULL}, {0}};
    struct db_rows *rows = NULL;
    enum status s;

    if (cli_parse(argc, argv, options, NULL, 0, 0))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = list(c->db, tenant, &rows);
    return s ? cli_fail(c, s, what) : cli_show(c, rows, columns, false);
}

int cli_show_named(struct cli *c, int argc, char *argv[],
                   enum status (*show)(struct db *d, const char *name, struct db_rows **rows),
                   const struct table_column columns[])
{
    struct db_rows *rows = NULL;
    const char *name;
    enum status s;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &name, 1, 1))
        return CLI_USAGE;
    if (cli_begin(c))
        return CLI_FAILED;
    s = show(c->db, name, &rows);
    return s ? cli_fail(c, s, name) : cli_show(c, rows, columns, true);
}

int cli_remove(struct cli *c, int argc, char *argv[], const char *before, const char *behind,
               enum status (*remove)(struct db *d, const char *name), const char *done)
{
    char what[512];
    const char *name;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &name, 1, 1))
        return CLI_USAGE;
    snprintf(what, sizeof(what), "%s %.255s %s", before, name, behind);
    if (!cli_confirm(c, what, name))
        return CLI_REFUSED;
    if (cli_begin(c))
        return CLI_FAILED;
    return cli_end(c, remove(c->db, name), name, done, name);
}

int cli_end(struct cli *c, enum status s, const char *what, const char *done, const char *id)
{
    static const struct table_column only_id[] = {{"id", "id", TABLE_TEXT}, {0}};
    struct table t;

    if (s)
        return cli_fail(c, s, what);
    if (cli_commit(c))
        return CLI_FAILED;
    if (!c->json) {
        printf("%s\n", done);
        return CLI_OK;
    }
    table_init(&t, only_id);
    table_cell(&t, id);
    return table_print_one(&t, true);
}
