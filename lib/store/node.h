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

#define NODE_TOKEN_TEXT 35 /* \x and 16 bytes in hexadecimal, with the NUL */

/* A token of 16 bytes as the text of a bytea, written to `out`; NULL for NULL. */
const char *node_token_text(const unsigned char *token, char out[NODE_TOKEN_TEXT]);

/*
 * Takes the node for this start: `next` becomes the token in force if the one held is the node's or `pending` (either may
 * have been written before a crash), if there is none, or if `take_over`. STATUS_CONFLICT: the node was started elsewhere
 * since; `where` then says on which host and when.
 */
MUST_CHECK enum status node_take(struct db *d, const struct spool_node *node, const unsigned char *pending,
                                 const unsigned char next[16], const char *host, bool take_over, char where[256]);
MUST_CHECK enum status node_report(struct db *d, const struct spool_node *node, uint64_t lag_events, double lag_seconds,
                                   uint64_t spool_bytes);

#endif
