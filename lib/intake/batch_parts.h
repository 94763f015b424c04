/*
 * batch_parts: what batch.c, segments.c and backlog.c share, and nobody else includes.
 */
#ifndef INTAKE_BATCH_PARTS_H
#define INTAKE_BATCH_PARTS_H

#include "lib/intake/batch.h"
#include "lib/intake/examine.h"

struct segment {
    uint64_t number, bytes;
    uint64_t position; /* committed */
    uint64_t next;     /* behind what the batch holds */
    struct spool_reader *reader;
    bool known; /* position is the database's */
    bool final; /* read to its end, and there will be no more */
    bool listed, broken;
    bool foreign; /* another node's, or settled: never read */
};

struct batch {
    struct batch_options options;
    struct segment *segments;
    size_t n_segments, turn;
    struct ingest_event *events;
    size_t n_events, most, cautious; /* cautious: at most so many, after PostgreSQL refused a value; 0: no */
    bool alone;                      /* the event of alone_segment and alone_at is what PostgreSQL refuses */
    uint64_t alone_segment, alone_at;
    char *arena;
    size_t arena_used;
    struct ingest_span *spans; /* room for each segment */
    struct ingest_damage *damage;
    size_t n_damage;
    struct examiner *examiner;
    struct ingest_batch contents;
    bool behind;
    bool unsure;                 /* its COMMIT got no answer */
    struct ingest_result result; /* of that COMMIT */
    uint64_t read_events, read_bytes;
    uint64_t *settled; /* put away, and not yet said in the database */
    size_t n_settled;
    bool recall, went_back; /* kept segments have to be looked at; because the database went back */
    struct segment *was;    /* as they were known before that */
    size_t n_was;
    struct batch_again again;
};

/* ---- batch.c ---- */
void batch_empty(struct batch *b);

/* ---- segments.c ---- */
struct segment *segment_find(const struct batch *b, uint64_t number);
MUST_CHECK enum status segment_open(struct batch *b, struct segment *s);
void segment_close(struct segment *s);
/* Reading it failed: said once. */
void segment_broken(struct segment *s, enum status why);

#endif
