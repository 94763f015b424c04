/* cmd_reconcile.c: tollgate reconcile: aggregates and gauges against the rows and the tenants' tables */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/base/clock.h"
#include "lib/store/db.h"
#include "lib/store/reconcile.h"

#define SHOWN 10000 /* differences that are printed; the others are counted */
#define LINE_US (5 * CLOCK_US_PER_SECOND)

static const struct table_column columns[] = {
    {"tenant_id", "tenant", TABLE_TEXT},
    {"aggregate", "aggregate", TABLE_TEXT},
    {"metric", "metric", TABLE_TEXT},
    {"at", "at", TABLE_TEXT},
    {"method", "method", TABLE_TEXT},
    {"endpoint", "endpoint", TABLE_TEXT},
    {"stored", "stored", TABLE_NUMBER},
    {"counted", "counted", TABLE_NUMBER},
    {"stored_events", "events", TABLE_NUMBER},
    {"counted_events", "counted events", TABLE_NUMBER},
    {0},
};

struct progress {
    bool wanted, terminal;
    int64_t began_us, said_us; /* of what is going on */
    const char *what;
};

struct comparison {
    struct cli *cli;
    struct table table;
    struct progress progress;
    char **tenants; /* that have differences, once each */
    size_t n_tenants, capacity, differences;
};

/* Says how far it is: on a terminal in one line, else a line every few seconds. */
static void say_progress(struct comparison *c, const char *what, const char *of, size_t done, size_t total)
{
    struct progress *p = &c->progress;
    int64_t now = clock_mono_us(), took = now - p->began_us;
    char left[48] = "";

    if (!p->wanted)
        return;
    if (p->what != what) {
        *p = (struct progress){p->wanted, p->terminal, now, p->said_us, what};
        took = 0;
    }
    if (!p->terminal && now - p->said_us < LINE_US)
        return;
    p->said_us = now;
    if (done > 0 && took > CLOCK_US_PER_SECOND)
        snprintf(left, sizeof(left), ", about %lld s left",
                 (long long)((double)took / (double)done * (double)(total - done) / 1e6) + 1);
    fprintf(stderr, "%s%s: %zu of %zu %s, %zu differences%s%s", p->terminal ? "\r\033[K" : "", what, done, total, of,
            c->differences, left, p->terminal ? "" : "\n");
}

static void progress(void *arg, enum reconcile_step step, size_t done, size_t total)
{
    static const char *const steps[] = {"comparing the rows", "comparing counts and summaries", "comparing the gauges"};

    say_progress(arg, steps[step],
                 step == RECONCILE_DAYS     ? "days"
                 : step == RECONCILE_GAUGES ? "tenants"
                                            : "parts",
                 done, total);
}

static enum status remember(struct comparison *c, const char *tenant)
{
    if (c->n_tenants > 0 && strcmp(c->tenants[c->n_tenants - 1], tenant) == 0)
        return STATUS_OK;
    if (c->n_tenants == c->capacity) {
        size_t more = c->capacity ? c->capacity * 2 : 64;
        char **grown = realloc(c->tenants, more * sizeof(*grown));

        if (!grown)
            return STATUS_NO_MEMORY;
        c->tenants = grown;
        c->capacity = more;
    }
    if (!(c->tenants[c->n_tenants] = strdup(tenant)))
        return STATUS_NO_MEMORY;
    c->n_tenants++;
    return STATUS_OK;
}

static enum status found(void *arg, const struct db_rows *rows)
{
    struct comparison *c = arg;
    enum status s = STATUS_OK;

    for (size_t i = 0; i < db_count(rows) && s == STATUS_OK; i++) {
        for (int column = 0; column < RECONCILE_COLUMNS && c->differences < SHOWN; column++)
            table_cell(&c->table, db_null(rows, i, column) ? NULL : db_text(rows, i, column));
        c->differences++;
        s = remember(c, db_text(rows, i, RECONCILE_TENANT));
    }
    return s;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each tenant that has differences, once. */
static enum status repair(struct comparison *c)
{
    enum status s = STATUS_OK;

    if (c->n_tenants > 0)
        qsort(c->tenants, c->n_tenants, sizeof(*c->tenants), by_name);
    for (size_t i = 0; i < c->n_tenants && s == STATUS_OK; i++) {
        say_progress(c, "repairing", "tenants", i, c->n_tenants);
        if (i == 0 || strcmp(c->tenants[i - 1], c->tenants[i]) != 0)
            s = reconcile_repair(c->cli->db, c->tenants[i]);
    }
    return s;
}

static void term(struct comparison *c)
{
    for (size_t i = 0; i < c->n_tenants; i++)
        free(c->tenants[i]);
    free(c->tenants);
}

/* The differences, then what was done. */
static int report(struct comparison *c, size_t tenants, bool repaired)
{
    size_t differences = c->differences;
    int status = differences > 0 || c->cli->json ? table_print(&c->table, c->cli->json) : CLI_OK;

    if (status != CLI_OK)
        return status;
    if (differences > SHOWN)
        cli_say("%d of the differences are shown", SHOWN);
    fprintf(c->cli->json ? stderr : stdout, "%zu tenants, %zu differences%s\n", tenants, differences,
            differences == 0 ? ""
            : repaired       ? ", repaired"
                             : ": --repair makes the aggregates say what the rows say");
    return differences == 0 || repaired ? CLI_OK : CLI_FAILED;
}

int cmd_reconcile(struct cli *c, int argc, char *argv[])
{
    struct comparison comparison = {.cli = c, .progress.terminal = isatty(STDERR_FILENO)};
    const struct reconcile_calls calls = {&comparison, progress, found};
    const char *tenant = NULL;
    bool repairing = false;
    size_t tenants = 0;
    enum status s;
    int status;

    if (cli_parse(argc, argv,
                  (const struct cli_option[]){{"repair", NULL, &repairing},
                                              {"progress", NULL, &comparison.progress.wanted},
                                              {"tenant", &tenant, NULL},
                                              {0}},
                  NULL, 0, 0))
        return CLI_USAGE;
    if (!cli_db(c))
        return CLI_FAILED;
    comparison.progress.wanted |= comparison.progress.terminal;
    db_timeouts(c->db, (int)c->config->database.connect_timeout_s, 0);
    table_init(&comparison.table, columns);
    s = reconcile_compare(c->db, tenant, &calls, &tenants);
    if (s == STATUS_OK && repairing)
        s = repair(&comparison);
    if (comparison.progress.terminal)
        fputs("\r\033[K", stderr);
    if (s == STATUS_NOT_FOUND)
        cli_say("there is no tenant %s; `tollgate tenant list` shows them", tenant);
    else if (s != STATUS_OK)
        cli_fail(c, s, "the aggregates can't be compared");
    status = s == STATUS_OK ? report(&comparison, tenants, repairing) : CLI_FAILED;
    term(&comparison);
    return status;
}
