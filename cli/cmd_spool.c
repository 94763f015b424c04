/* cmd_spool.c: tollgate spool list, show, verify: what a node's journal holds */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/clock.h"
#include "lib/meter/spool.h"

#define SHOW_MOST_TEXT "1000"

struct span {
    uint64_t events, damaged_places, damaged_bytes, torn_bytes;
};

static const char *dir_of(const struct cli *c, const char *word)
{
    return word ? word : c->config->paths.spool_dir;
}

/* The node that a spool belongs to; zeros where its file is gone, then only segments with a sound header can be read. */
static enum status open_spool(const char *dir, struct spool_node *node, bool *known, struct spool_segment **list,
                              size_t *n)
{
    enum status s = spool_node_load(dir, false, node);

    *known = s == STATUS_OK;
    if ((s = spool_list(dir, list, n)) != STATUS_OK)
        cli_say("%s: %s; name the folder that holds the .seg files", dir, status_text(s));
    return s;
}

static void number_cell(struct table *t, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, v);
    table_cell(t, text);
}

static void segment_cell(struct table *t, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%016" PRIx64, number);
    table_cell(t, text);
}

static void time_cell(struct table *t, int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];

    clock_rfc3339(text, us, 0, 1);
    table_cell(t, text);
}

static void text_cell(struct table *t, struct text v)
{
    char *copy = strndup(v.at, v.length);

    table_cell(t, copy ? copy : "");
    t->failed = t->failed || !copy;
    free(copy);
}

/* ---- list ---- */

static const struct table_column list_columns[] = {
    {"segment", "segment", TABLE_TEXT}, {"writer", "writer", TABLE_TEXT},
    {"pid", "pid", TABLE_NUMBER},       {"made", "made", TABLE_TEXT},
    {"bytes", "bytes", TABLE_NUMBER},   {"written", "being written", TABLE_BOOLEAN},
    {"node", "node", TABLE_TEXT},       {0},
};

static void list_row(struct table *t, const struct spool_segment *s)
{
    static const char *const kinds[] = {"?", "gate", "web", "collector"};
    struct spool_node node = {{0}, {0}};
    char uuid[SPOOL_NODE_TEXT];

    segment_cell(t, s->number);
    memcpy(node.uuid, s->node, sizeof node.uuid);
    spool_node_text(&node, uuid);
    if (s->header_intact) {
        table_cell(t, kinds[s->kind <= SPOOL_COLLECTOR ? s->kind : 0]);
        number_cell(t, s->pid);
        time_cell(t, s->made_us);
    } else {
        table_cell(t, s->unreadable ? "can't be read" : "header damaged");
        table_cell(t, NULL);
        table_cell(t, NULL);
    }
    number_cell(t, s->bytes);
    table_cell(t, s->live ? "yes" : "no");
    table_cell(t, s->header_intact ? uuid : NULL);
}

int cmd_spool_list(struct cli *c, int argc, char *argv[])
{
    struct spool_segment *list;
    struct spool_node node;
    struct table t;
    const char *word;
    bool known;
    size_t n;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &word, 0, 1))
        return CLI_USAGE;
    if (open_spool(dir_of(c, word), &node, &known, &list, &n) != STATUS_OK)
        return CLI_FAILED;
    table_init(&t, list_columns);
    for (size_t i = 0; i < n; i++)
        list_row(&t, &list[i]);
    free(list);
    return table_print(&t, c->json);
}

/* ---- show ---- */

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
    const char *tenant, *metric, *id, *segment;
    int64_t from_us, to_us;
    long long most;
    long long shown;
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
    uint64_t u = e->value < 0 ? (uint64_t)0 - (uint64_t)e->value : (uint64_t)e->value;
    char value[48];

    snprintf(value, sizeof value, "%s%" PRIu64 ".%06" PRIu64, e->value < 0 ? "-" : "", u / EVENT_MILLION,
             u % EVENT_MILLION);
    segment_cell(t, segment);
    number_cell(t, position);
    number_cell(t, e->sequence);
    time_cell(t, e->recorded_us);
    time_cell(t, e->appended_us);
    text_cell(t, e->tenant);
    text_cell(t, e->metric);
    table_cell(t, value);
    text_cell(t, e->source);
    text_cell(t, e->id);
    table_cell(t, e->flags & EVENT_COUNTED ? "yes" : "no");
    text_cell(t, e->metadata.length ? e->metadata : (struct text){"{}", 2});
}

/* Reads a segment to its end, shows what passes the filter (when there is a table), counts the rest. */
static enum status walk(const char *dir, const struct spool_segment *g, const unsigned char *node, struct table *t,
                        struct filter *f, struct span *span)
{
    struct spool_damage damage;
    struct spool_reader *r;
    struct event e;
    uint64_t at = SPOOL_HEADER_BYTES, next = at;
    bool final;
    enum status s = spool_reader_open(dir, g->number, 0, node, &r);

    if (s == STATUS_NOT_FOUND)
        return STATUS_OK; /* stored and removed meanwhile */
    if (s != STATUS_OK)
        return s;
    while ((s = spool_read(r, &e, &next, &damage, &final)) == STATUS_OK || s == STATUS_DAMAGED) {
        if (s == STATUS_DAMAGED) {
            span->damaged_places += !damage.torn_tail;
            span->damaged_bytes += damage.torn_tail ? 0 : damage.to - damage.from;
            span->torn_bytes += damage.torn_tail ? damage.to - damage.from : 0;
        } else {
            span->events++;
            if (t && passes(f, &e)) {
                if (f->shown++ >= f->most)
                    break;
                show_row(t, g->number, at, &e);
            }
        }
        at = next;
    }
    spool_reader_close(r);
    return s == STATUS_IO ? s : STATUS_OK;
}

static bool read_time(const char *name, const char *text, int64_t *us)
{
    if (!text || clock_parse_rfc3339(text, strlen(text), us) == STATUS_OK)
        return true;
    cli_say("--%s must be RFC 3339, such as 2026-11-24T09:00:00Z, not \"%s\"", name, text);
    return false;
}

int cmd_spool_show(struct cli *c, int argc, char *argv[])
{
    struct filter f = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    const char *word, *from = NULL, *to = NULL, *most = SHOW_MOST_TEXT;
    const struct cli_option options[] = {
        {"tenant", &f.tenant, NULL}, {"metric", &f.metric, NULL}, {"id", &f.id, NULL},   {"segment", &f.segment, NULL},
        {"from", &from, NULL},       {"to", &to, NULL},           {"most", &most, NULL}, {0}};
    struct spool_segment *list;
    struct spool_node node;
    struct span span = {0};
    struct table t;
    bool known;
    size_t n;

    if (cli_parse(argc, argv, options, &word, 0, 1) || !read_time("from", from, &f.from_us) ||
        !read_time("to", to, &f.to_us) || !cli_number("most", most, 1, 1000000, &f.most))
        return CLI_USAGE;
    if (open_spool(dir_of(c, word), &node, &known, &list, &n) != STATUS_OK)
        return CLI_FAILED;
    table_init(&t, show_columns);
    for (size_t i = 0; i < n && f.shown <= f.most; i++) {
        if (f.segment && strtoull(f.segment, NULL, 16) != list[i].number)
            continue;
        enum status s = walk(dir_of(c, word), &list[i], known ? node.uuid : NULL, &t, &f, &span);
        if (s != STATUS_OK)
            cli_say("segment %016" PRIx64 " can't be read: %s", list[i].number, status_text(s));
    }
    free(list);
    if (f.shown > f.most)
        cli_say("there are more than %lld; filter, or say --most NUMBER", f.most);
    return table_print(&t, c->json);
}

/* ---- verify ---- */

static const struct table_column verify_columns[] = {
    {"segment", "segment", TABLE_TEXT},
    {"events", "events", TABLE_NUMBER},
    {"damaged_places", "damaged places", TABLE_NUMBER},
    {"damaged_bytes", "damaged bytes", TABLE_NUMBER},
    {"torn_bytes", "unfinished at the end", TABLE_NUMBER},
    {"state", "state", TABLE_TEXT},
    {0},
};

int cmd_spool_verify(struct cli *c, int argc, char *argv[])
{
    struct filter none = {0}; /* nothing is shown, so nothing is filtered */
    struct spool_segment *list;
    struct spool_node node;
    struct table t;
    const char *word;
    bool known, sound = true;
    size_t n;
    int result;

    if (cli_parse(argc, argv, (const struct cli_option[]){{0}}, &word, 0, 1))
        return CLI_USAGE;
    if (open_spool(dir_of(c, word), &node, &known, &list, &n) != STATUS_OK)
        return CLI_FAILED;
    table_init(&t, verify_columns);
    for (size_t i = 0; i < n; i++) {
        struct span span = {0};
        enum status s = walk(dir_of(c, word), &list[i], known ? node.uuid : NULL, NULL, &none, &span);
        bool ok = s == STATUS_OK && span.damaged_places == 0 && list[i].header_intact;

        sound = sound && ok;
        segment_cell(&t, list[i].number);
        number_cell(&t, span.events);
        number_cell(&t, span.damaged_places);
        number_cell(&t, span.damaged_bytes);
        number_cell(&t, span.torn_bytes);
        table_cell(&t, s != STATUS_OK ? status_text(s) : ok ? "sound" : "damaged");
    }
    free(list);
    result = table_print(&t, c->json);
    return result == CLI_OK && !sound ? CLI_FAILED : result;
}
