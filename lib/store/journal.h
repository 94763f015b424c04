/*
 * journal: what the database knows of a node's spool: how far each segment is stored, and which places are damaged.
 *
 * Part of the caller's transaction (db_begin). `node` is its UUID as text. Called by the command line and tollgate-web; the
 * collector writes all of it with the events (ingest.h).
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include <stdint.h>

#include "lib/store/db.h"

/* Behind the last stored byte of a segment; 0: nothing of it is stored. */
MUST_CHECK enum status journal_position(struct db *d, const char *node, uint64_t segment, uint64_t *position);
/* segment, from, to, found, seen (RFC 3339). The caller frees the rows. */
MUST_CHECK enum status journal_damage(struct db *d, const char *node, struct db_rows **rows);
/* All damage of all nodes has been seen; *marked: how many places had not been. */
MUST_CHECK enum status journal_damage_seen(struct db *d, int64_t *marked);

#endif
