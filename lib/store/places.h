/*
 * places: where each tenant's files are stored, for measuring, and what was measured there.
 *
 * Each function is a transaction of its own. Called by the collector.
 */
#ifndef STORE_PLACES_H
#define STORE_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/store/db.h"

struct place {
    char *tenant, *path; /* path: below storage.dir */
};
/* The tenants after `after` by id, at most `max`; *list is freed with places_free. */
MUST_CHECK enum status places_list(struct db *d, const char *after, int max, struct place **list, size_t *n);
/* One tenant's place; STATUS_NOT_FOUND. */
MUST_CHECK enum status places_of(struct db *d, const char *tenant, struct place **list, size_t *n);
void places_free(struct place *list, size_t n);
/* What was measured; counted by the next ingest_changes. A level that stands already changes nothing. */
MUST_CHECK enum status places_put(struct db *d, const char *tenant, int64_t bytes);

#endif
