/*
 * feed: what the limit table is filled from and kept up to date with, read from PostgreSQL in the table's own structs.
 *
 * The collector calls this. Each read is one transaction of one snapshot; changes are read by snapshot as well: what is
 * new since a cursor is every row that the cursor's snapshot did not see, so none is missed however transactions overlap, and none
 * is read twice while one of them stays open.
 */
#ifndef STORE_FEED_H
#define STORE_FEED_H

#include "lib/base/status.h"
#include "lib/meter/limit_table/limit_table.h"

struct db;
struct history_view;
struct feed;

#define FEED_CURSOR_SIZE 2048 /* a snapshot as text: what it did not see is new */

/* With a connection of its own; `name` is its application_name. `view` is asked at each connect and told of cursors; must outlive. */
MUST_CHECK enum status feed_open(const char *conninfo, const char *name, int connect_timeout_s, int statement_timeout_s,
                                 struct history_view *view, struct feed **out);
/* On a connection of the caller's, which outlives it. */
MUST_CHECK enum status feed_on(struct db *d, const struct history_view *view, struct feed **out);
void feed_close(struct feed *p);
const char *feed_error(const struct feed *p);

enum feed_what {
    FEED_CONFIG, /* the catalogue, tenants and keys */
    FEED_LEASES, /* shares of limits that other nodes wait for */
    FEED_COUNTS  /* counts, and leases */
};
/* Has anything of it changed since the cursor? One statement in a transaction of its own, so that looking costs little. */
MUST_CHECK enum status feed_news(struct feed *p, enum feed_what what, const char *cursor, bool *any);
/* Brackets several reads with one snapshot. */
MUST_CHECK enum status feed_begin(struct feed *p, char cursor[FEED_CURSOR_SIZE]);
MUST_CHECK enum status feed_end(struct feed *p);

#define FEED_LEFT_OUT_SIZE 128
/*
 * The catalogue, new names behind those of `old`, so that places stay. *moved: one of old's is gone, its places are not kept.
 * left_out: "limit max_projects" when that one and perhaps others have no place any more, else "". They can't be created by
 * the command line (metrics_create); rows that were inserted by hand must not cost the table that works.
 */
MUST_CHECK enum status feed_catalogue(struct feed *p, const struct limit_catalogue *old, struct limit_catalogue *out,
                                      bool *moved, char left_out[FEED_LEFT_OUT_SIZE]);

struct feed_gauge {
    int metric;  /* in the catalogue */
    bool posted; /* else counted: nothing but the database says what it is */
    struct limit_level level;
};
typedef enum status feed_tenant_fn(void *arg, const struct limit_tenant *t, const struct feed_gauge *gauges, size_t n);
/* Every tenant, or `only` one; the function's failure ends it. STATUS_NOT_FOUND: there is no such tenant. */
MUST_CHECK enum status feed_tenants(struct feed *p, const struct limit_catalogue *c, const char *only,
                                    feed_tenant_fn *fn, void *arg);
/* At most `most` of those behind `after` by id ("" at first), which becomes the last one's id; *more: there may be others. */
MUST_CHECK enum status feed_tenants_after(struct feed *p, const struct limit_catalogue *c,
                                          char after[LIMIT_TENANT_SIZE], int most, feed_tenant_fn *fn, void *arg,
                                          bool *more);

/* tenant: "" of an operator's key. */
typedef enum status feed_key_fn(void *arg, const struct limit_key *k, const char *tenant);
/* All keys, or those of one tenant. */
MUST_CHECK enum status feed_keys(struct feed *p, const char *tenant, feed_key_fn *fn, void *arg);
typedef enum status feed_gone_fn(void *arg, const unsigned char hash[LIMIT_HASH_BYTES]);
/* Keys that changed since the cursor: `fn` of those that are there, `gone` of hashes that are no key's any more. */
MUST_CHECK enum status feed_keys_since(struct feed *p, const char *cursor, feed_key_fn *fn, feed_gone_fn *gone,
                                       void *arg);

struct feed_count {
    const char *tenant, *metric;
    uint8_t window;           /* enum limit_window: hour, day, week or period */
    int64_t start_us, end_us; /* the window; end: the first instant behind it. Of an hour and a day end_us is 0 */
    int64_t used;             /* millionths */
};
typedef enum status feed_count_fn(void *arg, const struct feed_count *c);
/* The window that a name of PostgreSQL's says: "hour", "day" and so on; LIMIT_WINDOW_NONE of any other. */
uint8_t feed_window(const char *name);
/*
 * Days from the day before yesterday on, weeks and periods that end after that, the last hours; a metric's days before the others.
 * `only` NULL: all.
 */
MUST_CHECK enum status feed_counts(struct feed *p, const char *only, feed_count_fn *fn, void *arg);
/* The days and hours whose count changed since the cursor, of any age; of metrics that are observed every window. */
MUST_CHECK enum status feed_counts_since(struct feed *p, const char *cursor, feed_count_fn *fn, void *arg);

struct feed_change {
    const char *kind, *subject; /* "catalogue", "tenant", "key", "lease" (a tenant's) */
    const unsigned char *hash;  /* of a key; NULL when it is not known */
};
typedef enum status feed_change_fn(void *arg, const struct feed_change *c);
/* Tenants and keys that were removed within the last day. */
MUST_CHECK enum status feed_removed(struct feed *p, feed_change_fn *fn, void *arg);
/* What was changed since the cursor, of the catalogue and tenants (FEED_CONFIG) or of leases; each subject once. */
MUST_CHECK enum status feed_changes(struct feed *p, enum feed_what what, const char *cursor, feed_change_fn *fn,
                                    void *arg);

/* ---- leases: tollgate.lease (sql/functions/leases.sql) tells the protocol ---- */

/* Which limit's window is leased. */
struct feed_lease {
    const char *tenant, *limit_key;
    int64_t start_us;
};
typedef enum status feed_lease_fn(void *arg, const struct feed_lease *l);
/* The leases in which `node` (its UUID as text) has not settled; of one tenant, NULL: of all. Within feed_begin and feed_end. */
MUST_CHECK enum status feed_leases_unsettled(struct feed *p, const char *node, const char *tenant, feed_lease_fn *fn,
                                             void *arg);

struct feed_lease_step {
    int64_t ceiling, unleased; /* millionths */
    int64_t settled;           /* the epoch in which the node has settled, 0: in none */
    int64_t back;              /* what it gives back of its share, millionths */
};
/*
 * One step of `node`, a transaction of its own. *epoch: the one in force; *granted: millionths that are the node's own from
 * now on. After a failure nobody knows whether it was granted: the caller counts on nothing.
 */
MUST_CHECK enum status feed_lease_step(struct feed *p, const char *node, const struct feed_lease *l,
                                       const struct feed_lease_step *step, int64_t *epoch, int64_t *granted);

#endif
