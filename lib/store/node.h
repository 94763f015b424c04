/*
 * node: a node's row in collector_nodes: which start of it is in force (fencing), and how far behind it is.
 *
 * Each function is a transaction of its own. Called by the collector.
 */
#ifndef STORE_NODE_H
#define STORE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/meter/spool/spool.h"
#include "lib/store/db.h"

struct history_view;

#define NODE_TOKEN_TEXT 35 /* \x and 16 bytes in hexadecimal, with the NUL */

/* A token of 16 bytes as the text of a bytea, written to `out`; NULL for NULL. */
const char *node_token_text(const unsigned char *token, char out[NODE_TOKEN_TEXT]);

struct node_start {
    const unsigned char *past; /* the tokens of the node's starts so far, 16 bytes each (spool_starts) */
    size_t n_past;
    const unsigned char *next; /* this start's, 16 bytes; among the past ones already */
    const char *host;
    bool take_over;
};
/*
 * Takes the node for this start: `next` becomes the token in force if the one held is of a start of this node, if there is
 * none, or if it is to be taken over. STATUS_CONFLICT: the node was started elsewhere since; `where` then says on which host
 * and when. *older: the token held is of a start before that of the node file, so the database has gone back.
 */
MUST_CHECK enum status node_take(struct db *d, const struct spool_node *node, const struct node_start *start,
                                 struct history_view *view, bool *older, char where[256]);
/* STATUS_NOT_FOUND: the row is gone, the database has gone back. */
MUST_CHECK enum status node_report(struct db *d, const struct spool_node *node, struct history_view *view,
                                   uint64_t lag_events, double lag_seconds, uint64_t spool_bytes);

/* What a rollback came to, for `tollgate doctor`. */
struct node_rollback {
    const char *cause;
    int64_t commits_known, commits_held, known_at_us;
    uint64_t segments_again, bytes_again; /* read again */
    uint64_t segments_gone, bytes_gone;   /* removed before, so that they can't be */
};
MUST_CHECK enum status node_note_rollback(struct db *d, const char *node, const struct node_rollback *r);

#endif
