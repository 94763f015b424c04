/*
 * examine: is an event fit for the database, and what the rollups need of its metadata.
 *
 * The collector and `tollgate spool ingest` examine each event before it is part of a batch: a row that PostgreSQL would
 * refuse fails a whole COPY. The caller owns the memory that the texts are copied to.
 */
#ifndef INTAKE_EXAMINE_H
#define INTAKE_EXAMINE_H

#include <stddef.h>

#include "lib/base/status.h"
#include "lib/meter/event.h"
#include "lib/store/ingest.h"

#define EXAMINE_KEEP_BYTES ((size_t)3 * EVENT_SOURCE_MAX)

struct examiner;

MUST_CHECK enum status examiner_create(struct examiner **out);
void examiner_destroy(struct examiner *x);
/*
 * Why `e` can't be stored, a static text for usage_rejected, or NULL. Fills method, endpoint and key with texts that it
 * copies to `keep`, which has EXAMINE_KEEP_BYTES; *kept of them are used.
 */
const char *examine_event(struct examiner *x, struct ingest_event *e, char *keep, size_t *kept);

#endif
