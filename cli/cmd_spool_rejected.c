/* cmd_spool_rejected.c: tollgate spool rejected: events that could not be stored: listed, explained, brought in again */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "lib/base/decimal.h"
#include "lib/intake/examine.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/db.h"
#include "lib/store/ingest.h"
#include "lib/store/rejected.h"

#define LIST_MOST_TEXT "1000"
#define REPLAY_MOST 500 /* in a transaction */
#define WORDS_MOST 64
#define ARENA_BYTES (REPLAY_MOST * (size_t)(EVENT_MAX_BYTES + EXAMINE_KEEP_BYTES))

/* What a reason means, and what to do about it. */
static const struct {
    const char *reason, *meaning, *advice;
} reasons[] = {
    {"tenant_unknown", "no tenant has this id", "if the tenant was removed by mistake, make it again, then replay"},
    {"metric_unknown", "the catalogue has no such metric", "tollgate metric create, then replay"},
    {"time_range", "its time is before 2000 or more than 400 days ahead",
     "set the clock of who sent it; it is stored when its time has come into the range"},
    {"id_expired", "it carries an id and was appended more than 35 days ago, when ids are no longer known",
     "whether it was stored before can't be known any more; send it again without an id if you know that it was not"},
    {"encoding", "a name in it is not UTF-8 or has a NUL",
     "it can't be stored as it is; send it again, spelled rightly"},
    {"value_range", "its value does not fit", "it can't be stored as it is; send it again in parts"},
    {"metadata", "its metadata is no JSON object that PostgreSQL takes",
     "it can't be stored as it is; send it again with other metadata"},
    {"refused", "PostgreSQL refused a value in it, or a constraint of the host's did",
     "see the collector's log of that time for what PostgreSQL said; take the cause away, then replay"},
};

struct words {
    const char *all[WORDS_MOST + 1];
    char ids[WORDS_MOST * 24];
};

/* "{1,2}" of the words behind the first; false: one is no number (said). */
static bool read_ids(struct words *w)
{
    size_t used = 0;
    long long id;

    for (size_t i = 1; i < WORDS_MOST && w->all[i]; i++) {
        if (!cli_number("ID", w->all[i], 1, INT64_MAX, &id))
            return false;
        used += (size_t)snprintf(w->ids + used, sizeof(w->ids) - used, "%s%lld", used ? "," : "{", id);
    }
    if (used)
        snprintf(w->ids + used, sizeof(w->ids) - used, "}");
    return true;
}

static int list(struct cli *c, const struct rejected_choice *choice, long long most)
{
    static const struct table_column columns[] = {{"id", "id", TABLE_NUMBER},
                                                  {"rejected", "rejected", TABLE_TEXT},
                                                  {"tenant_id", "tenant", TABLE_TEXT},
                                                  {"metric", "metric", TABLE_TEXT},
                                                  {"reason", "reason", TABLE_TEXT},
                                                  {"recorded", "recorded", TABLE_TEXT},
                                                  {"node", "node", TABLE_TEXT},
                                                  {"segment", "segment", TABLE_TEXT},
                                                  {"position", "position", TABLE_NUMBER},
                                                  {"bytes", "bytes", TABLE_NUMBER},
                                                  {0}};
    struct db_rows *rows = NULL;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = rejected_list(c->db, choice, most, &rows)) != STATUS_OK)
        return cli_fail(c, s, "the rejected events can't be listed");
    return cli_show(c, rows, columns, false);
}

/* The event of a row of rejected_records; its texts point into `record`. */
static enum status decode(const struct db_rows *rows, size_t i, const unsigned char node[16],
                          unsigned char record[EVENT_MAX_BYTES], struct event *e)
{
    const char *text = db_text(rows, i, 3);
    size_t n = 0, length;

    if (sodium_hex2bin(record, EVENT_MAX_BYTES, text, strlen(text), NULL, &n, NULL) != 0)
        return STATUS_DAMAGED;
    return event_decode(record, n, spool_seed(node, (uint64_t)db_int(rows, i, 1)), e, &length);
}

/* A UUID's text. */
static bool read_node(const char *text, unsigned char node[16])
{
    size_t n;

    return sodium_hex2bin(node, 16, text, strlen(text), "-", &n, NULL) == 0 && n == 16;
}

/* ---- explain ---- */

static void put_text(struct table *t, struct text v)
{
    char *copy = strndup(v.at, v.length);

    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
    table_cell(t, copy);
    t->failed = t->failed || !copy;
    free(copy);
}

static const struct table_column explained[] = {
    {"id", "id", TABLE_NUMBER},
    {"reason", "reason", TABLE_TEXT},
    {"meaning", "which means", TABLE_TEXT},
    {"advice", "what to do", TABLE_TEXT},
    {"node", "node", TABLE_TEXT},
    {"segment", "segment", TABLE_TEXT},
    {"position", "position", TABLE_NUMBER},
    {"tenant_id", "tenant", TABLE_TEXT},
    {"metric", "metric", TABLE_TEXT},
    {"value", "value", TABLE_NUMBER},
    {"recorded", "recorded", TABLE_TEXT},
    {"appended", "appended", TABLE_TEXT},
    {"source", "source", TABLE_TEXT},
    {"event_id", "id of the event", TABLE_TEXT},
    {"metadata", "metadata", TABLE_TEXT},
    {0},
};

static void explain_row(struct table *t, const char *node, const struct db_rows *rows, const struct event *e)
{
    size_t r = 0, n = sizeof(reasons) / sizeof(reasons[0]);
    char text[DECIMAL_SIZE];

    while (r < n && strcmp(reasons[r].reason, db_text(rows, 0, 4)) != 0)
        r++;
    table_cell(t, db_text(rows, 0, 0));
    table_cell(t, db_text(rows, 0, 4));
    table_cell(t, r < n ? reasons[r].meaning : "a reason of another version");
    table_cell(t, r < n ? reasons[r].advice : NULL);
    table_cell(t, node);
    snprintf(text, sizeof(text), "%016" PRIx64, (uint64_t)db_int(rows, 0, 1));
    table_cell(t, text);
    table_cell(t, db_text(rows, 0, 2));
    put_text(t, e->tenant);
    put_text(t, e->metric);
    table_cell(t, decimal_text(e->value, text));
    table_time(t, e->recorded_us);
    table_time(t, e->appended_us);
    put_text(t, e->source);
    put_text(t, e->id);
    put_text(t, e->metadata);
}

static int explain(struct cli *c, const struct rejected_choice *choice)
{
    static unsigned char record[EVENT_MAX_BYTES];
    struct db_rows *nodes = NULL, *rows = NULL;
    unsigned char node[16];
    struct table t;
    struct event e;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    if ((s = rejected_nodes(c->db, choice, &nodes)) == STATUS_OK && db_count(nodes) == 0)
        s = STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        s = rejected_records(c->db, choice, db_text(nodes, 0, 0), 0, 1, &rows);
    if (s == STATUS_OK && (!read_node(db_text(nodes, 0, 0), node) || decode(rows, 0, node, record, &e) != STATUS_OK))
        s = STATUS_DAMAGED;
    if (s == STATUS_OK) {
        table_init(&t, explained);
        explain_row(&t, db_text(nodes, 0, 0), rows, &e);
    }
    db_rows_free(nodes);
    db_rows_free(rows);
    if (s != STATUS_OK)
        return cli_fail(c, s, "this rejected event");
    db_rollback(c->db);
    return table_print_one(&t, c->json);
}

/* ---- replay ---- */

struct replay {
    struct cli *cli;
    const struct rejected_choice *choice;
    bool dry_run;
    struct ingest *ingest;
    struct examiner *examiner;
    struct ingest_event *events;
    int64_t *ids;
    char *arena;
    size_t n;
    int64_t after;
    uint64_t stored, duplicates, rejected, unreadable;
};

/* The next of one node's, examined as a collector does. */
static enum status read_some(struct replay *r, const char *text, const unsigned char node[16], int most)
{
    struct db_rows *rows;
    size_t used = 0, kept;
    enum status s = rejected_records(r->cli->db, r->choice, text, r->after, most, &rows);

    r->n = 0;
    for (size_t i = 0; s == STATUS_OK && i < db_count(rows); i++) {
        struct ingest_event *e = &r->events[r->n];

        *e = (struct ingest_event){
            .segment = (uint64_t)db_int(rows, i, 1), .position = (uint64_t)db_int(rows, i, 2), .uncounted = true};
        r->after = r->ids[r->n] = db_int(rows, i, 0);
        if (decode(rows, i, node, (unsigned char *)r->arena + used, &e->event) != STATUS_OK) {
            r->unreadable++;
            continue;
        }
        used += EVENT_MAX_BYTES;
        e->reject = examine_event(r->examiner, e, r->arena + used, &kept);
        used += kept;
        r->n++;
    }
    if (s == STATUS_OK)
        db_rows_free(rows);
    return s;
}

static enum status store_some(struct replay *r, size_t from, size_t n)
{
    struct ingest_batch batch = {
        .events = r->events + from, .n_events = n, .replayed = r->ids + from, .dry_run = r->dry_run};
    struct ingest_result result;
    enum status s = ingest_store(r->ingest, &batch, &result);

    if (s == STATUS_OK) {
        r->stored += result.stored;
        r->duplicates += result.duplicates;
        r->rejected += result.rejected;
    }
    ingest_result_free(&result);
    if (s == STATUS_INVALID && n == 1) {
        r->rejected++; /* PostgreSQL refuses it still: it stays */
        return STATUS_OK;
    }
    if (s == STATUS_INVALID || s == STATUS_TIMEOUT) {
        if (n == 1)
            return s;
        s = store_some(r, from, n / 2);
        return s == STATUS_OK ? store_some(r, from + n / 2, n - n / 2) : s;
    }
    return s;
}

static enum status one_node(struct replay *r, const char *text)
{
    const struct config *f = r->cli->config;
    struct ingest_options o = ingest_options_of(f, f->database.owner);
    enum status s;

    if (!read_node(text, o.node))
        return STATUS_DAMAGED;
    if ((s = ingest_open(&o, &r->ingest)) != STATUS_OK)
        return s;
    r->after = 0;
    do {
        if ((s = read_some(r, text, o.node, REPLAY_MOST)) == STATUS_OK && r->n > 0)
            s = store_some(r, 0, r->n);
    } while (s == STATUS_OK && r->n > 0);
    if (s != STATUS_OK)
        cli_say("%s", ingest_error(r->ingest)[0] ? ingest_error(r->ingest) : status_text(s));
    ingest_close(r->ingest);
    return s;
}

static int report(const struct replay *r, bool ok)
{
    if (r->cli->json)
        printf("{\"dry_run\":%s,\"stored\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"rejected\":%" PRIu64
               ",\"unreadable\":%" PRIu64 "}\n",
               r->dry_run ? "true" : "false", r->stored, r->duplicates, r->rejected, r->unreadable);
    else
        printf("%s: %" PRIu64 " stored, %" PRIu64 " duplicates, %" PRIu64 " rejected still, %" PRIu64 " unreadable\n",
               r->dry_run ? "would be" : "replayed", r->stored, r->duplicates, r->rejected, r->unreadable);
    return ok ? CLI_OK : CLI_FAILED;
}

static int replay(struct cli *c, const struct rejected_choice *choice, bool dry_run)
{
    struct replay r = {.cli = c, .choice = choice, .dry_run = dry_run};
    struct db_rows *nodes = NULL;
    enum status s = cli_begin(c);

    if (s != STATUS_OK)
        return CLI_FAILED;
    r.events = calloc(REPLAY_MOST, sizeof(*r.events));
    r.ids = calloc(REPLAY_MOST, sizeof(*r.ids));
    r.arena = malloc(ARENA_BYTES);
    if (!r.events || !r.ids || !r.arena)
        s = STATUS_NO_MEMORY;
    if (s == STATUS_OK)
        s = examiner_create(&r.examiner);
    if (s == STATUS_OK)
        s = rejected_nodes(c->db, choice, &nodes);
    for (size_t i = 0; s == STATUS_OK && i < db_count(nodes); i++)
        s = one_node(&r, db_text(nodes, i, 0));
    db_rollback(c->db);
    db_rows_free(nodes);
    examiner_destroy(r.examiner);
    free(r.events);
    free(r.ids);
    free(r.arena);
    return report(&r, s == STATUS_OK);
}

/* ---- */

int cmd_spool_rejected(struct cli *c, int argc, char *argv[])
{
    struct rejected_choice choice = {0};
    struct words w = {{NULL}, ""};
    bool all = false, dry_run = false;
    const char *most_text = LIST_MOST_TEXT;
    long long most;
    int64_t since;
    const struct cli_option options[] = {{"tenant", &choice.tenant, NULL},
                                         {"since", &choice.since, NULL},
                                         {"reason", &choice.reason, NULL},
                                         {"most", &most_text, NULL},
                                         {"all", NULL, &all},
                                         {"dry-run", NULL, &dry_run},
                                         {0}};
    const char *what;

    if (cli_parse(argc, argv, options, w.all, 1, WORDS_MOST) || !cli_time("since", choice.since, &since) ||
        !read_ids(&w) || !cli_number("most", most_text, 1, 1000000, &most))
        return CLI_USAGE;
    what = w.all[0];
    choice.ids = w.ids[0] ? w.ids : NULL;
    if (strcmp(what, "list") == 0 && !choice.ids && !all && !dry_run)
        return list(c, &choice, most);
    if (strcmp(what, "explain") == 0 && w.all[1] && !w.all[2] && !all && !dry_run)
        return explain(c, &choice);
    if (strcmp(what, "replay") == 0 && (all || choice.ids || choice.reason || choice.tenant || choice.since))
        return replay(c, &choice, dry_run);
    cli_say(strcmp(what, "replay") == 0 ? "replay needs to know which: an ID, --reason, --tenant, --since or --all"
                                        : "tollgate spool rejected list, explain ID, or replay");
    return CLI_USAGE;
}
