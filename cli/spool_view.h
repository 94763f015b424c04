/*
 * spool_view: a spool's folder as `tollgate spool` and `tollgate doctor` look at it: its segments, read through, and what
 * PostgreSQL knows of them.
 *
 * It only reads, and may while writers and a collector are at work. spool_view_open allocates the list, which the
 * caller frees; events live until the callback returns.
 */
#ifndef CLI_SPOOL_VIEW_H
#define CLI_SPOOL_VIEW_H

#include "cli/cli.h"
#include "lib/meter/spool/spool.h"

struct spool_view {
    const char *dir;
    struct spool_node node; /* whose folder it is */
    bool known;             /* false: its node file is gone; segments with a sound header can still be read */
    struct spool_segment *list;
    size_t n;
};

/* `word`: the folder, or NULL for paths.spool_dir. Says what is wrong when it can't be read. */
MUST_CHECK enum status spool_view_open(struct cli *c, const char *word, struct spool_view *v);

/* Which segments a command is about; what is NULL or false does not matter. */
struct spool_choice {
    const char *segment; /* hexadecimal */
    const char *writer;  /* gate, web, collector */
    bool alive, dead;
};
/* False: it said which value is wrong. */
bool spool_choice_valid(const struct spool_choice *choice);
bool spool_chosen(const struct spool_choice *choice, const struct spool_segment *g);
const char *spool_writer_text(const struct spool_segment *g);

/* Is a collector at work there? Its lock is the proof, whatever a file says. */
bool spool_is_served(const char *dir);

/* A segment's number, as a cell of a table. */
void spool_segment_cell(struct table *t, uint64_t number);

struct spool_sum {
    uint64_t events, damaged_places, damaged_bytes, torn_bytes;
    int64_t first_us, last_us; /* of appending; by the clock, whatever their order */
};
/* Each is called when it is not NULL. on_event may return false to end the walk. */
struct spool_visitor {
    bool (*on_event)(void *arg, const struct spool_segment *g, uint64_t position, const struct event *e);
    void (*on_damage)(void *arg, const struct spool_segment *g, const struct spool_damage *d);
    void *arg;
};
/* Reads a segment to its end. One that was stored and removed meanwhile is empty. */
MUST_CHECK enum status spool_walk(const struct spool_view *v, const struct spool_segment *g,
                                  const struct spool_visitor *visitor, struct spool_sum *sum);

/* ---- what PostgreSQL knows ---- */

/* Starts a transaction to ask it; false: it is away, and one sentence on standard error said what is missing then. */
bool spool_books_open(struct cli *c, const char *without);

#endif
