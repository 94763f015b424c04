/*
 * retention: what grows for ever unless it is removed again, and how long each of it is kept.
 *
 * A table of items; the caller goes through it and calls retention_slice for one item until nothing is left to remove. A slice is
 * one short transaction of its own, so other work goes on between two of them, and what was removed stays removed when the
 * next one fails. An item that fails concerns no other. Called by the collector.
 */
#ifndef STORE_RETENTION_H
#define STORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/store/db.h"

/* What the configuration says; the rest is fixed. */
struct retention_keep {
    int row_months, hourly_months, rejected_days;
    int64_t session_absolute_s;
};

size_t retention_count(void);
/* What item `item` (below retention_count) removes, for messages: "event ids". */
const char *retention_name(size_t item);
/* Removes some of what is too old. `more`: there may be more of it, call again. */
MUST_CHECK enum status retention_slice(struct db *d, size_t item, const struct retention_keep *keep, bool *more);

#endif
