/* cmd_spool_show.c: tollgate spool show: the events of a node's segments, or the damaged places */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/spool_view.h"
#include "lib/base/decimal.h"
#include "lib/store/db.h"
#include "lib/store/journal.h"

#define SHOW_MOST_TEXT "1000"

static void text_cell(struct table *t, struct text v)
{
    char *copy = strndup(v.at, v.length);

    table_cell(t, copy ? copy : "");
    t->failed = t->failed || !copy;
    free(copy);
}

/* ---- events ---- */

static const struct table_column show_columns[] = {
    {"segment", "segment", TABLE_TEXT},
    {"position", "position", TABLE_NUMBER},
    {"sequence", "sequence", TABLE_NUMBER},
    {"recorded", "recorded", TABLE_TEXT},
    {"appended", "appended", TABLE_TEXT},
    {"tenant_id", "tenant", TABLE_TEXT},
    {"metric", "metric", TABLE_TEXT},
    {"value", "value", TABLE_NUMBER},
    {"source", "source", TABLE_TEXT},
    {"id", "id", TABLE_TEXT},
    {"counted", "counted", TABLE_BOOLEAN},
    {"metadata", "metadata", TABLE_JSON},
    {0},
};

struct filter {
    const char *tenant, *metric, *id;
    int64_t from_us, to_us;
    long long most, shown;
    struct table table;
};

static bool is_text(struct text t, const char *wanted)
{
    return !wanted || (t.length == strlen(wanted) && memcmp(t.at, wanted, t.length) == 0);
}

static bool passes(const struct filter *f, const struct event *e)
{
    return is_text(e->tenant, f->tenant) && is_text(e->metric, f->metric) && is_text(e->id, f->id) &&
           e->recorded_us >= f->from_us && e->recorded_us < f->to_us;
}

static void show_row(struct table *t, uint64_t segment, uint64_t position, const struct event *e)
{
    char value[DECIMAL_SIZE];

    spool_segment_cell(t, segment);
    table_count(t, position);
    table_count(t, e->sequence);
    table_time(t, e->recorded_us);
    table_time(t, e->appended_us);
    text_cell(t, e->tenant);
    text_cell(t, e->metric);
    table_cell(t, decimal_text(e->value, value));
    text_cell(t, e->source);
    text_cell(t, e->id);
    table_cell(t, e->flags & EVENT_COUNTED ? "yes" : "no");
    text_cell(t, e->metadata.length ? e->metadata : (struct text){"{}", 2});
}

static bool show_event(void *arg, const struct spool_segment *g, uint64_t position, const struct event *e)
{
    struct filter *f = arg;

    if (!passes(f, e))
        return true;
    if (f->shown++ >= f->most)
        return false;
    show_row(&f->table, g->number, position, e);
    return true;
}

static int show_events(struct cli *c, const struct spool_view *v, const struct spool_choice *choice, struct filter *f)
{
    const struct spool_visitor visitor = {show_event, NULL, f};
    struct spool_sum sum;

    table_init(&f->table, show_columns);
    for (size_t i = 0; i < v->n && f->shown <= f->most; i++) {
        enum status s = spool_chosen(choice, &v->list[i]) ? spool_walk(v, &v->list[i], &visitor, &sum) : STATUS_OK;

        if (s != STATUS_OK)
            cli_say("segment %016" PRIx64 " can't be read: %s", v->list[i].number, status_text(s));
    }
    if (f->shown > f->most)
        cli_say("there are more than %lld; filter, or say --most NUMBER", f->most);
    return table_print(&f->table, c->json);
}

/* ---- damaged places ---- */

static const struct table_column damage_columns[] = {
    {"segment", "segment", TABLE_TEXT},
    {"position", "position", TABLE_NUMBER},
    {"bytes", "bytes", TABLE_NUMBER},
    {"in_file", "in the file", TABLE_BOOLEAN},
    {"found", "found", TABLE_TEXT},
    {"seen", "seen", TABLE_TEXT},
    {0},
};

/* The places that the collector recorded, and the table that both kinds go to. */
struct damage_list {
    struct table table;
    struct db_rows *recorded; /* NULL: not known */
    bool *matched;            /* of each of them: the file has it still */
};

static void damage_row(struct damage_list *l, uint64_t segment, uint64_t from, uint64_t to, bool in_file, int record)
{
    bool seen = record >= 0 && !db_null(l->recorded, (size_t)record, 4);

    spool_segment_cell(&l->table, segment);
    table_count(&l->table, from);
    table_count(&l->table, to - from);
    table_cell(&l->table, in_file ? "yes" : "no");
    table_cell(&l->table, record < 0 ? NULL : db_text(l->recorded, (size_t)record, 3));
    table_cell(&l->table, seen ? db_text(l->recorded, (size_t)record, 4) : NULL);
}

static void show_damage(void *arg, const struct spool_segment *g, const struct spool_damage *d)
{
    struct damage_list *l = arg;
    int record = -1;

    if (d->torn_tail)
        return; /* unfinished, not damaged */
    for (size_t i = 0; l->recorded && i < db_count(l->recorded) && record < 0; i++)
        if ((uint64_t)db_int(l->recorded, i, 0) == g->number && (uint64_t)db_int(l->recorded, i, 1) == d->from)
            record = (int)i;
    if (record >= 0)
        l->matched[record] = true;
    damage_row(l, g->number, d->from, d->to, true, record);
}

/* The damage recorded of a node: segment, from, to, found, seen. */
static enum status recorded_damage(struct cli *c, const struct spool_view *v, struct db_rows **rows)
{
    char text[SPOOL_NODE_TEXT];

    spool_node_text(&v->node, text);
    return journal_damage(c->db, text, rows);
}

static int show_damaged(struct cli *c, const struct spool_view *v, const struct spool_choice *choice)
{
    struct damage_list l = {.recorded = NULL};
    const struct spool_visitor visitor = {NULL, show_damage, &l};
    struct spool_sum sum;
    bool books = spool_books_open(c, "only what the files show is listed");

    if (books && recorded_damage(c, v, &l.recorded) != STATUS_OK)
        cli_say("what the collector recorded is not shown: %s", db_error(c->db));
    table_init(&l.table, damage_columns);
    if (l.recorded && !(l.matched = calloc(db_count(l.recorded) + 1, sizeof(*l.matched))))
        l.table.failed = true;
    for (size_t i = 0; i < v->n && !l.table.failed; i++) {
        enum status s = spool_chosen(choice, &v->list[i]) ? spool_walk(v, &v->list[i], &visitor, &sum) : STATUS_OK;

        if (s != STATUS_OK)
            cli_say("segment %016" PRIx64 " can't be read: %s", v->list[i].number, status_text(s));
    }
    for (size_t i = 0; l.matched && i < db_count(l.recorded); i++) {
        struct spool_segment gone = {.number = (uint64_t)db_int(l.recorded, i, 0)};

        if (!l.matched[i] && spool_chosen(choice, &gone))
            damage_row(&l, gone.number, (uint64_t)db_int(l.recorded, i, 1), (uint64_t)db_int(l.recorded, i, 2), false,
                       (int)i);
    }
    db_rows_free(l.recorded);
    free(l.matched);
    if (books)
        db_rollback(c->db);
    return table_print(&l.table, c->json);
}

int cmd_spool_show(struct cli *c, int argc, char *argv[])
{
    struct filter f = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct spool_choice choice = {0};
    const char *word, *from = NULL, *to = NULL, *most = SHOW_MOST_TEXT;
    bool damaged = false;
    const struct cli_option options[] = {{"tenant", &f.tenant, NULL},
                                         {"metric", &f.metric, NULL},
                                         {"id", &f.id, NULL},
                                         {"segment", &choice.segment, NULL},
                                         {"writer", &choice.writer, NULL},
                                         {"from", &from, NULL},
                                         {"to", &to, NULL},
                                         {"most", &most, NULL},
                                         {"damaged", NULL, &damaged},
                                         {0}};
    struct spool_view v;
    int result;

    if (cli_parse(argc, argv, options, &word, 0, 1) || !spool_choice_valid(&choice) ||
        !cli_time("from", from, &f.from_us) || !cli_time("to", to, &f.to_us) ||
        !cli_number("most", most, 1, 1000000, &f.most))
        return CLI_USAGE;
    if (damaged && (f.tenant || f.metric || f.id || from || to)) {
        cli_say("--damaged lists places, not events: combine it with --segment and --writer only");
        return CLI_USAGE;
    }
    if (spool_view_open(c, word, &v) != STATUS_OK)
        return CLI_FAILED;
    result = damaged ? show_damaged(c, &v, &choice) : show_events(c, &v, &choice, &f);
    free(v.list);
    return result;
}
