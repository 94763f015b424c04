/*
 * health: what `tollgate doctor` asks the database: is it Tollgate's, are partitions ahead, was anything damaged or rejected.
 *
 * Each question belongs to the caller's transaction (db_begin), so that one that fails keeps no other from being asked.
 */
#ifndef STORE_HEALTH_H
#define STORE_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/store/db.h"

#define HEALTH_TIME_SIZE 40

/* The questions are numbered from 0; the first tells whether the schema is Tollgate's: without it the others can't be asked. */
/* What the question is about, for the line's beginning; NULL behind the last. */
const char *health_part(size_t question);
/* One row: whether all is well, and a sentence. The caller frees it. */
MUST_CHECK enum status health_ask(struct db *d, size_t question, int64_t partitions_ahead, struct db_rows **rows);
/* PostgreSQL's clock, and the latest event from the future (more than ten minutes); "": there is none. */
MUST_CHECK enum status health_clock(struct db *d, int64_t *now_us, char future[HEALTH_TIME_SIZE]);

#endif
