/*
 * counts_parts: what counts.c, snapshot.c and repair.c share; nobody else includes it.
 */
#ifndef COLLECTOR_COUNTS_PARTS_H
#define COLLECTOR_COUNTS_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "collector/counts.h"
#include "lib/base/clock.h"
#include "lib/store/feed.h"

#define COUNTS_DAY_US (INT64_C(86400) * CLOCK_US_PER_SECOND)
#define COUNTS_OLDEST_US (COUNTS_DAY_US * 25 / 12) /* yesterday began at most 50 hours ago: a day has up to 25 */
#define COUNTS_DRIFTS 64

/* How much of a counter's day or hour, as the database has it, the limit table holds. */
struct counts_known {
    struct counts_known_key {
        uint32_t tenant;
        uint16_t metric, window; /* LIMIT_WINDOW_DAY or LIMIT_WINDOW_HOUR */
        int64_t start_us;
    } key;
    int64_t used;
    UT_hash_handle hh;
};
/* Up to where the table was filled from a segment. */
struct counts_filled {
    uint64_t segment, position;
    UT_hash_handle hh;
};
struct counts_drift {
    uint32_t tenant;
    uint8_t slot;
    int64_t start_us, seen;
};

struct counts {
    const struct config *config;
    const struct spool_node *node;
    char node_text[SPOOL_NODE_TEXT];
    struct replica *replica;
    struct ingest *ingest;
    const struct history_view *view;
    struct feed *feed;
    struct leases *leases;
    char cursor[FEED_CURSOR_SIZE]; /* counts and leases were read up to here */
    struct counts_known *known;
    struct counts_filled *filled;
    int64_t filled_us;     /* of an earlier collector's table: it holds what was appended before; else 0 */
    int64_t oldest_day_us; /* days that began before are not brought in unless they are known */
    int64_t pruned_us;     /* when old days were last forgotten, monotonic */
    uint32_t places;       /* of tenants whose counts were read */
    uint32_t repair_next, degraded_next;
    struct counts_drift drifts[COUNTS_DRIFTS];
    size_t n_drifts;
    bool leases_unread;
    bool tried;     /* an earlier collector's table was looked at */
    bool went_back; /* its degraded counts may not be recorded any more */
};

/* Counts of the database on their way into the table: of all tenants, or of one that is new. */
struct counts_fill {
    struct counts *c;
    uint32_t from; /* tenants with a place below are left out */
    char tenant[LIMIT_TENANT_SIZE], metric[LIMIT_NAME_SIZE];
    struct { /* days of the metric that came before its periods */
        int64_t start_us, used;
    } days[16];
    size_t n_days;
};

/* ---- counts.c ---- */
/* Nothing is known of what the table holds. */
void counts_forget(struct counts *c);
/* Tenants' places in the table, those that `replicate` has put in since included. */
uint32_t counts_places(struct counts *c);
/* Ends the reads; the first failure stays. */
MUST_CHECK enum status counts_end_snapshot(struct counts *c, enum status s);

/* ---- with the replica's lock ---- */
/* NULL: not known, or not to be made for want of memory. */
struct counts_known *counts_known(struct counts *c, uint32_t tenant, int metric, uint8_t window, int64_t start_us,
                                  bool make);
/* Where a tenant and a metric stand; false: one of them is not in the table. */
bool counts_place(struct counts *c, const char *tenant, const char *metric, uint32_t *index, int *m);
/* `amount` more of the counts whose windows, of `windows` (LIMIT_ALL_WINDOWS), hold `at_us`. */
void counts_add(struct counts *c, uint32_t tenant, int metric, unsigned windows, int64_t at_us, int64_t amount);
/* A window's count as the database has it: `added` of it came from this node's own batch, of which the table lacks `uncounted`. */
struct counts_new {
    uint8_t
        window; /* LIMIT_WINDOW_DAY, which weeks and periods follow, or LIMIT_WINDOW_HOUR; of a metric that is observed any */
    int64_t start_us, used, added, uncounted;
};
/* Other nodes' part is what is left: used - added - what was known. What is observed is the database's alone. */
void counts_bring_in(struct counts *c, uint32_t tenant, int metric, const struct counts_new *n);

/* ---- a callback of feed_counts, which takes the lock itself ---- */
/* `arg`: a struct counts_fill, zeroed but for `c` and `from`. */
MUST_CHECK enum status counts_put(void *arg, const struct feed_count *c);

#endif
