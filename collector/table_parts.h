/*
 * table_parts: what table.c, table_fill.c, table_follow.c and table_mend.c share; nobody else includes it.
 */
#ifndef COLLECTOR_TABLE_PARTS_H
#define COLLECTOR_TABLE_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "collector/table.h"
#include "lib/base/clock.h"
#include "lib/store/publish.h"

#define TABLE_DAY_US (INT64_C(86400) * CLOCK_US_PER_SECOND)
#define TABLE_OLDEST_US (TABLE_DAY_US * 25 / 12) /* yesterday began at most 50 hours ago: a day has up to 25 */
#define TABLE_DRIFTS 64

/* How much of a counter's day, as the database has it, the limit table holds. */
struct table_known {
    struct table_known_key {
        uint32_t tenant, metric;
        int64_t day_us;
    } key;
    int64_t used;
    UT_hash_handle hh;
};
/* Up to where the table was filled from a segment. */
struct table_filled {
    uint64_t segment, position;
    UT_hash_handle hh;
};
struct table_drift {
    uint32_t tenant;
    uint8_t slot;
    int64_t start_us, seen;
};

struct table {
    const struct config *config;
    const struct spool_node *node;
    char node_text[SPOOL_NODE_TEXT];
    struct publish *publish;
    struct limit_table *limits;
    struct leases *leases;
    struct limit_catalogue catalogue;
    char cursor[PUBLISH_CURSOR_SIZE];
    struct table_known *known;
    struct table_filled *filled;
    int64_t since_us; /* events appended later were counted in this table by their writers */
    int64_t oldest_day_us;
    uint32_t mend_next, degraded_next;
    char renewed[LIMIT_TENANT_SIZE]; /* the last tenant that table_renew read */
    struct table_drift drifts[TABLE_DRIFTS];
    size_t n_drifts;
    bool rebuild, catalogue_changed, leases_unread;
    char left_out[PUBLISH_LEFT_OUT_SIZE]; /* what the catalogue had no place for, as it was logged */
    bool tried;                           /* an earlier collector's table was looked at */
};

/* A fill of all tenants, or of one that is new. */
struct table_fill {
    struct table *t;
    char tenant[LIMIT_TENANT_SIZE], metric[LIMIT_NAME_SIZE];
    struct { /* days of the metric that came before its periods */
        int64_t start_us, used;
    } days[16];
    size_t n_days;
};

/* ---- table.c ---- */
/* Nothing is known of what the table holds. */
void table_forget(struct table *t);
/* Ends the reads; the first failure stays. */
MUST_CHECK enum status table_end_snapshot(struct table *t, enum status s);
/* NULL: not known, or not to be made for want of memory. */
struct table_known *table_known(struct table *t, uint32_t tenant, uint32_t metric, int64_t day_us, bool make);
/* Where a tenant and a metric stand; false: one of them is not in the table. */
bool table_place(struct table *t, const char *tenant, const char *metric, uint32_t *index, int *m);
/* publish_catalogue, and what it left out in the log when it is news. */
MUST_CHECK enum status table_read_catalogue(struct table *t, const struct limit_catalogue *old,
                                            struct limit_catalogue *out, bool *moved);
/* `amount` more of the counts whose windows hold `at_us`. */
void table_add_count(struct table *t, uint32_t tenant, int metric, int64_t at_us, int64_t amount);
/*
 * The database's count of a day is now `used`; `added` of it came from this node's own batch, of which the table lacks
 * `uncounted`. The rest of what is new came from other nodes.
 */
void table_bring_in(struct table *t, uint32_t tenant, int metric, int64_t day_us, int64_t used, int64_t added,
                    int64_t uncounted);

/* ---- table_fill.c: callbacks of publish.h ---- */
/* `arg`: a struct table_fill, zeroed but for its table. */
MUST_CHECK enum status table_put_count(void *arg, const struct publish_count *c);
/* `arg`: the table. */
MUST_CHECK enum status table_put_tenant(void *arg, const struct limit_tenant *tenant,
                                        const struct publish_gauge *gauges, size_t n);
MUST_CHECK enum status table_put_key(void *arg, const struct limit_key *key, const char *tenant);

/* ---- table_follow.c: a callback, too ---- */
MUST_CHECK enum status table_follow_change(void *arg, const struct publish_change *c);

#endif
