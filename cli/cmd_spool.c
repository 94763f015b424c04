/* cmd_spool.c: tollgate spool list, verify: a node's segments, who writes them, what is in them and how much is stored */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/spool_view.h"
#include "lib/store/db.h"
#include "lib/store/journal.h"

static void count_or_none(struct table *t, bool known, uint64_t n)
{
    known ? table_count(t, n) : table_cell(t, NULL);
}

static void time_or_none(struct table *t, bool known, int64_t us)
{
    known ? table_time(t, us) : table_cell(t, NULL);
}

/* The options that choose segments, and the folder. */
static bool read_choice(int argc, char *argv[], struct spool_choice *choice, const char **word)
{
    const struct cli_option options[] = {{"segment", &choice->segment, NULL},
                                         {"writer", &choice->writer, NULL},
                                         {"alive", NULL, &choice->alive},
                                         {"dead", NULL, &choice->dead},
                                         {0}};

    memset(choice, 0, sizeof(*choice));
    return cli_parse(argc, argv, options, word, 0, 1) == STATUS_OK && spool_choice_valid(choice);
}

/* ---- list ---- */

static const struct table_column list_columns[] = {
    {"segment", "segment", TABLE_TEXT},
    {"writer", "writer", TABLE_TEXT},
    {"pid", "pid", TABLE_NUMBER},
    {"alive", "alive", TABLE_BOOLEAN},
    {"made", "made", TABLE_TEXT},
    {"bytes", "bytes", TABLE_NUMBER},
    {"events", "events", TABLE_NUMBER},
    {"first", "first", TABLE_TEXT},
    {"last", "last", TABLE_TEXT},
    {"committed", "stored up to", TABLE_NUMBER},
    {"waiting", "bytes waiting", TABLE_NUMBER},
    {"node", "node", TABLE_TEXT},
    {0},
};

/* The node whose segment it is; NULL when that is not known. */
static const unsigned char *node_of(const struct spool_view *v, const struct spool_segment *g)
{
    return g->header_intact ? g->node : v->known ? v->node.uuid : NULL;
}

/* Behind the last stored byte of a segment; 0: nothing of it is stored; -1: the database did not say. */
static int64_t committed_to(struct cli *c, const struct spool_view *v, const struct spool_segment *g)
{
    const unsigned char *uuid = node_of(v, g);
    struct spool_node node = {{0}, {0}};
    char text[SPOOL_NODE_TEXT];
    uint64_t position;

    if (!uuid)
        return -1;
    memcpy(node.uuid, uuid, sizeof(node.uuid));
    spool_node_text(&node, text);
    return journal_position(c->db, text, g->number, &position) == STATUS_OK
               ? (int64_t)(position > g->bytes ? g->bytes : position)
               : -1; /* settled: all of it */
}

static void list_row(struct table *t, const struct spool_view *v, const struct spool_segment *g, int64_t committed)
{
    static const struct spool_visitor nobody = {NULL, NULL, NULL};
    const unsigned char *uuid = node_of(v, g);
    struct spool_node node = {{0}, {0}};
    char text[SPOOL_NODE_TEXT];
    struct spool_sum sum;
    bool readable = spool_walk(v, g, &nobody, &sum) == STATUS_OK;
    uint64_t done = committed > 0 ? (uint64_t)committed : SPOOL_HEADER_BYTES;

    spool_segment_cell(t, g->number);
    table_cell(t, g->header_intact ? spool_writer_text(g) : g->unreadable ? "can't be read" : "header damaged");
    count_or_none(t, g->header_intact, g->pid);
    table_cell(t, g->live ? "yes" : "no");
    time_or_none(t, g->header_intact, g->made_us);
    table_count(t, g->bytes);
    count_or_none(t, readable, sum.events);
    time_or_none(t, readable && sum.events, sum.first_us);
    time_or_none(t, readable && sum.events, sum.last_us);
    count_or_none(t, committed >= 0, (uint64_t)committed);
    count_or_none(t, committed >= 0, g->bytes > done ? g->bytes - done : 0);
    if (uuid)
        memcpy(node.uuid, uuid, sizeof(node.uuid));
    spool_node_text(&node, text);
    table_cell(t, uuid ? text : NULL);
}

static int cmd_spool_list(struct cli *c, int argc, char *argv[])
{
    struct spool_choice choice;
    struct spool_view v;
    struct table t;
    const char *word;
    bool books;

    if (!read_choice(argc, argv, &choice, &word))
        return CLI_USAGE;
    if (spool_view_open(c, word, &v) != STATUS_OK)
        return CLI_FAILED;
    books = spool_books_open(c, "how much of each segment is stored is not shown");
    table_init(&t, list_columns);
    for (size_t i = 0; i < v.n; i++)
        if (spool_chosen(&choice, &v.list[i]))
            list_row(&t, &v, &v.list[i], books ? committed_to(c, &v, &v.list[i]) : -1);
    if (books)
        db_rollback(c->db);
    free(v.list);
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

/* One segment's row; false when it is not sound. */
static bool verify_row(struct table *t, const struct spool_view *v, const struct spool_segment *g,
                       struct spool_sum *all)
{
    static const struct spool_visitor nobody = {NULL, NULL, NULL};
    struct spool_sum sum;
    enum status s = spool_walk(v, g, &nobody, &sum);
    bool ok = s == STATUS_OK && sum.damaged_places == 0 && g->header_intact;

    spool_segment_cell(t, g->number);
    table_count(t, sum.events);
    table_count(t, sum.damaged_places);
    table_count(t, sum.damaged_bytes);
    table_count(t, sum.torn_bytes);
    table_cell(t, s != STATUS_OK ? status_text(s) : ok ? "sound" : "damaged");
    all->events += sum.events;
    all->damaged_places += sum.damaged_places;
    all->damaged_bytes += sum.damaged_bytes;
    all->torn_bytes += sum.torn_bytes;
    return ok;
}

static int cmd_spool_verify(struct cli *c, int argc, char *argv[])
{
    struct spool_choice choice;
    struct spool_sum all = {0};
    struct spool_view v;
    struct table t;
    const char *word;
    size_t segments = 0, unsound = 0;
    int result;

    if (!read_choice(argc, argv, &choice, &word))
        return CLI_USAGE;
    if (spool_view_open(c, word, &v) != STATUS_OK)
        return CLI_FAILED;
    table_init(&t, verify_columns);
    for (size_t i = 0; i < v.n; i++)
        if (spool_chosen(&choice, &v.list[i])) {
            unsound += !verify_row(&t, &v, &v.list[i], &all);
            segments++;
        }
    free(v.list);
    result = table_print(&t, c->json);
    if (!c->json)
        printf("%" PRIu64 " records in %zu segments, %" PRIu64 " damaged places of %" PRIu64 " bytes, %" PRIu64
               " bytes unfinished\n",
               all.events, segments, all.damaged_places, all.damaged_bytes, all.torn_bytes);
    return result == CLI_OK && unsound > 0 ? CLI_FAILED : result;
}

static const char spool_help[] = "DIR is paths.spool_dir unless given. TIME is RFC 3339: 2026-11-24T09:00:00Z.\n";
const struct cli_command spool_commands[] = {
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
    {0},
};
