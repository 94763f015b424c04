/*
 * publish: what the limit table is filled from, read from PostgreSQL in the table's own structs.
 *
 * The collector calls this. Each read is one transaction of one snapshot; changes are read by snapshot as well: what is
 * new since a cursor is every row that the cursor's snapshot did not see, so none is missed however transactions overlap, and none
 * is read twice while one of them stays open.
 */
#ifndef STORE_PUBLISH_H
#define STORE_PUBLISH_H

#include "lib/base/status.h"
#include "lib/meter/limit_table/limit_table.h"

struct db;
struct history_view;
struct publish;

#define PUBLISH_CURSOR_SIZE 2048 /* a snapshot as text: what it did not see is new */

/* With a connection of its own; `name` is its application_name. `view` is asked at each connect and told of cursors; must outlive. */
MUST_CHECK enum status publish_open(const char *conninfo, const char *name, int connect_timeout_s,
                                    int statement_timeout_s, struct history_view *view, struct publish **out);
/* On a connection of the caller's, which outlives it. */
MUST_CHECK enum status publish_on(struct db *d, const struct history_view *view, struct publish **out);
void publish_close(struct publish *p);
const char *publish_error(const struct publish *p);

enum publish_what {
    PUBLISH_CONFIG, /* the catalogue, tenants and keys */
    PUBLISH_LEASES, /* shares of limits that other nodes wait for */
    PUBLISH_COUNTS  /* counts, and leases */
};
/* Has anything of it changed since the cursor? One statement in a transaction of its own, so that looking costs little. */
MUST_CHECK enum status publish_news(struct publish *p, enum publish_what what, const char *cursor, bool *any);
/* Brackets several reads with one snapshot. */
MUST_CHECK enum status publish_begin(struct publish *p, char cursor[PUBLISH_CURSOR_SIZE]);
MUST_CHECK enum status publish_end(struct publish *p);

#define PUBLISH_LEFT_OUT_SIZE 128
/*
 * The catalogue, new names behind those of `old`, so that places stay. *moved: one of old's is gone, its places are not kept.
 * left_out: "limit max_projects" when that one and perhaps others have no place any more, else "". They can't be created by
 * the command line (metrics_create); rows that were inserted by hand must not cost the table that works.
 */
MUST_CHECK enum status publish_catalogue(struct publish *p, const struct limit_catalogue *old,
                                         struct limit_catalogue *out, bool *moved,
                                         char left_out[PUBLISH_LEFT_OUT_SIZE]);

struct publish_gauge {
    int metric; /* in the catalogue */
    int64_t level;
};
typedef enum status publish_tenant_fn(void *arg, const struct limit_tenant *t, const struct publish_gauge *gauges,
                                      size_t n);
/* Every tenant, or `only` one; the function's failure ends it. STATUS_NOT_FOUND: there is no such tenant. */
MUST_CHECK enum status publish_tenants(struct publish *p, const struct limit_catalogue *c, const char *only,
                                       publish_tenant_fn *fn, void *arg);
/* At most `most` of those behind `after` by id ("" at first), which becomes the last one's id; *more: there may be others. */
MUST_CHECK enum status publish_tenants_after(struct publish *p, const struct limit_catalogue *c,
                                             char after[LIMIT_TENANT_SIZE], int most, publish_tenant_fn *fn, void *arg,
                                             bool *more);

/* tenant: "" of an operator's key. */
typedef enum status publish_key_fn(void *arg, const struct limit_key *k, const char *tenant);
MUST_CHECK enum status publish_keys(struct publish *p, const char *only, publish_key_fn *fn, void *arg);
typedef enum status publish_gone_fn(void *arg, const unsigned char hash[LIMIT_HASH_BYTES]);
/* Keys that changed since the cursor: `fn` of those that are there, `gone` of hashes that are no key's any more. */
MUST_CHECK enum status publish_keys_since(struct publish *p, const char *cursor, publish_key_fn *fn,
                                          publish_gone_fn *gone, void *arg);
/* The keys of one tenant. */
MUST_CHECK enum status publish_keys_of(struct publish *p, const char *tenant, publish_key_fn *fn, void *arg);

struct publish_count {
    const char *tenant, *metric;
    bool day;                 /* else a period */
    int64_t start_us, end_us; /* the window; end: the first instant behind it. Of a day end_us is 0 */
    int64_t used;             /* millionths */
};
typedef enum status publish_count_fn(void *arg, const struct publish_count *c);
/* Days from the day before yesterday on, periods that end after that; a metric's days before its periods. `only` NULL: all. */
MUST_CHECK enum status publish_counts(struct publish *p, const char *only, publish_count_fn *fn, void *arg);
/* The days whose count changed since the cursor, of any age. */
MUST_CHECK enum status publish_counts_since(struct publish *p, const char *cursor, publish_count_fn *fn, void *arg);

struct publish_change {
    const char *kind, *subject; /* "catalogue", "tenant", "key", "lease" (a tenant's) */
    const unsigned char *hash;  /* of a key; NULL when it is not known */
};
typedef enum status publish_change_fn(void *arg, const struct publish_change *c);
/* Tenants and keys that were removed within the last day. */
MUST_CHECK enum status publish_removed(struct publish *p, publish_change_fn *fn, void *arg);
/* What was changed since the cursor, of the catalogue and tenants (PUBLISH_CONFIG) or of leases; each subject once. */
MUST_CHECK enum status publish_changes(struct publish *p, enum publish_what what, const char *cursor,
                                       publish_change_fn *fn, void *arg);

/* ---- leases: tollgate.lease (sql/functions/leases.sql) tells the protocol ---- */

/* Which limit's window is leased. */
struct publish_lease {
    const char *tenant, *limit_key;
    int64_t start_us;
};
typedef enum status publish_lease_fn(void *arg, const struct publish_lease *l);
/* The leases in which `node` (its UUID as text) has not settled; of one tenant, NULL: of all. Within publish_begin and publish_end. */
MUST_CHECK enum status publish_leases_unsettled(struct publish *p, const char *node, const char *tenant,
                                                publish_lease_fn *fn, void *arg);

struct publish_lease_step {
    int64_t ceiling, unleased; /* millionths */
    int64_t settled;           /* the epoch in which the node has settled, 0: in none */
    int64_t back;              /* what it gives back of its share, millionths */
};
/*
 * One step of `node`, a transaction of its own. *epoch: the one in force; *granted: millionths that are the node's own from
 * now on. After a failure nobody knows whether it was granted: the caller counts on nothing.
 */
MUST_CHECK enum status publish_lease_step(struct publish *p, const char *node, const struct publish_lease *l,
                                          const struct publish_lease_step *step, int64_t *epoch, int64_t *granted);

#endif
