/*
 * batch: what is read from the spool's segments for one transaction.
 *
 * Reads all segments of the node in turn, so that none waits for a busy one; copies events into its own memory, which is
 * bounded, and keeps them until the caller says that they are stored. The collector's loop calls it.
 */
#ifndef COLLECTOR_BATCH_H
#define COLLECTOR_BATCH_H

#include "collector/table.h"
#include "lib/base/config.h"
#include "lib/meter/spool/spool.h"
#include "lib/store/ingest.h"

struct batch;

MUST_CHECK enum status batch_create(const struct config *config, const struct spool_node *node, struct batch **out);
void batch_destroy(struct batch *b);

/* Looks which segments there are; positions of new ones come from the database. Removes those that are stored and ended. */
MUST_CHECK enum status batch_look(struct batch *b, struct ingest *in);
/* Fills an empty batch. `table` says which events the limit table holds; may be NULL. STATUS_END: there is nothing. */
MUST_CHECK enum status batch_read(struct batch *b, const struct table *table);
/* Something was read that is not stored yet. */
bool batch_pending(const struct batch *b);
/* The last batch was a full one: there is more. */
bool batch_behind(const struct batch *b);
const struct ingest_batch *batch_contents(const struct batch *b);
/* It is committed: goes on behind it. */
void batch_stored(struct batch *b);
/* Nothing of it is known to be stored: reads it again, from the positions that the database holds (batch_look). */
void batch_rewind(struct batch *b);
/*
 * It did not go in as a whole: half as many at a time. A single event that still does not go in is rejected for `reason`, or
 * tried again when `reason` is NULL.
 */
void batch_split(struct batch *b, const char *reason);

struct batch_lag {
    uint64_t bytes, events; /* not stored yet; events by the average size */
    int64_t oldest_us;      /* when the oldest that was read but is not stored was appended; 0: none */
    uint64_t spool_bytes;
    size_t segments;
};
void batch_lag(const struct batch *b, struct batch_lag *out);

/* Calls fn for every event that is not committed, in each segment's order: the limit table is filled with them. */
typedef void batch_event_fn(void *arg, const struct event *e, uint64_t segment);
MUST_CHECK enum status batch_each_unread(struct batch *b, batch_event_fn *fn, void *arg,
                                         void (*read_to)(void *arg, uint64_t segment, uint64_t position));
/* Where the spool's segments end at a moment. */
struct batch_mark;
MUST_CHECK enum status batch_mark(const struct batch *b, struct batch_mark **out);
void batch_mark_free(struct batch_mark *m); /* NULL is allowed */
/* Everything that was appended before the mark is stored. */
bool batch_passed(struct batch *b, const struct batch_mark *m);
/* Everything in the spool is stored, as of now. */
bool batch_drained(struct batch *b);

#endif
