/*
 * sync: the spool's interval, kept by a thread of its own: a batch that PostgreSQL takes long over delays no fdatasync.
 *
 * The collector's main makes one before it takes the node, and destroys it at the end. The thread shares nothing with the
 * rest but the time of its last sync; signals go to the main thread.
 */
#ifndef COLLECTOR_SYNC_H
#define COLLECTOR_SYNC_H

#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/status.h"

struct sync;

/* Starts syncing `config`'s spool every spool.sync_ms; with another spool.sync than interval it does nothing. */
MUST_CHECK enum status sync_create(const struct config *config, struct sync **out);
/* Ends the thread; one sync may still be waited for. NULL is allowed. */
void sync_destroy(struct sync *s);
/* Microseconds since the beginning of the last sync that was done, or since the start; -1: nothing is to be synced. */
int64_t sync_age_us(const struct sync *s);

#endif
