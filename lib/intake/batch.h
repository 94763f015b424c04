/*
 * batch: what is read from a spool's segments for one transaction, and its way into PostgreSQL.
 *
 * Reads all segments of a node in turn, so that none waits for a busy one; copies events into its own memory, which is
 * bounded, and keeps them until the caller says that they are stored. The collector and `tollgate spool ingest` call it.
 */
#ifndef INTAKE_BATCH_H
#define INTAKE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/ingest.h"

struct batch;

struct batch_options {
    const char *spool_dir; /* must outlive the batch */
    unsigned char node[16];
    size_t rows;          /* events in a batch; ten times as many while it is behind */
    bool unmarked;        /* segments whose header is damaged are this node's */
    bool remove_ended;    /* puts segments away that are stored to their end, and warns of those of other nodes */
    int64_t keep_minutes; /* they are kept for so long (spool_kept_trim); 0: removed at once */
};
MUST_CHECK enum status batch_create(const struct batch_options *options, struct batch **out);
void batch_destroy(struct batch *b);

/* Looks which segments there are; positions of new ones come from the database. */
MUST_CHECK enum status batch_look(struct batch *b, struct ingest *in);
/* Does the limit table hold this event of segment and offset already? */
typedef bool batch_holds_fn(const void *table, uint64_t segment, uint64_t position, const struct event *e);
/* Fills an empty batch. Without `holds` (NULL) the event's own flag tells whether it is counted. STATUS_END: there is nothing. */
MUST_CHECK enum status batch_read(struct batch *b, batch_holds_fn *holds, const void *table);
/* Something was read that is not stored yet. */
bool batch_pending(const struct batch *b);
/* The last batch was a full one: there is more. */
bool batch_behind(const struct batch *b);
const struct ingest_batch *batch_contents(const struct batch *b);
/*
 * Stores what is pending. STATUS_OK: all of it is stored, *result says what became of it and is to be freed; call batch_stored.
 * Otherwise *result is empty and the next call of batch_look, batch_read and batch_store tries again: STATUS_UNAVAILABLE and
 * others with the same batch, STATUS_CONFLICT from the positions that the database holds, STATUS_TIMEOUT with half as many
 * events, STATUS_INVALID (PostgreSQL refuses a value) too, until the event that is refused is alone and is rejected.
 * A COMMIT that got no answer gives STATUS_UNAVAILABLE, and the next call finds out what became of it.
 */
MUST_CHECK enum status batch_store(struct batch *b, struct ingest *in, struct ingest_result *result);
/* Goes on behind it. */
void batch_stored(struct batch *b);

/* ---- the database went back ---- */

/* Forgets all positions and what is pending; the next batch_look takes kept segments out again that are not stored any more. */
void batch_forget(struct batch *b);
struct batch_again {
    uint64_t segments, bytes;           /* read again */
    uint64_t segments_gone, bytes_gone; /* removed before, so that they can't be */
};
/* True once after each batch_forget, when batch_look has found out what it comes to, or when it found such segments at the start. */
bool batch_again(struct batch *b, struct batch_again *out);

/* ---- backlog.c: what is not stored yet ---- */

struct batch_lag {
    uint64_t bytes, events; /* not stored yet; events by the average size */
    int64_t oldest_us;      /* when the oldest that was read but is not stored was appended; 0: none */
    uint64_t spool_bytes;
    size_t segments;
};
void batch_lag(const struct batch *b, struct batch_lag *out);

/*
 * Calls fn for every event that is not committed, in each segment's order, or from where read_from says: the limit table is filled
 * with them.
 */
typedef void batch_event_fn(void *arg, const struct event *e, uint64_t segment);
MUST_CHECK enum status batch_each_unread(struct batch *b, batch_event_fn *fn, void *arg,
                                         uint64_t (*read_from)(void *arg, uint64_t segment),
                                         void (*read_to)(void *arg, uint64_t segment, uint64_t position));
/* All of a segment is stored, as far as it went when it was listed; other nodes' segments count as stored. */
bool batch_is_stored(const struct batch *b, const struct spool_segment *listed);
/* Where the spool's segments end at a moment. */
struct batch_mark;
MUST_CHECK enum status batch_mark(const struct batch *b, struct batch_mark **out);
void batch_mark_free(struct batch_mark *m); /* NULL is allowed */
/* Everything that was appended before the mark is stored. */
bool batch_passed(const struct batch *b, const struct batch_mark *m);
/* Everything in the spool is stored, as of now. */
bool batch_drained(const struct batch *b);

#endif
