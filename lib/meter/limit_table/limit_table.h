/*
 * limit_table: what the gate knows, in shared memory: keys, tenants, limits, counts.
 *
 * Two files in run_dir, mapped by every program of the node. `limits.VERSION` has the header, the catalogue, an entry for each
 * writer and the tenants with their counts; it grows in place (ftruncate under a mapping reserved ahead), so a count never
 * moves. `limits.VERSION.ID` finds keys (by BLAKE2b-256) and tenants (by id); it holds no count and grows by a new generation
 * renamed into place, which the header's generation tells readers.
 *
 * A table is filled under a hidden name and shown when it is complete (limit_table_ready), so that whoever reads goes on with the
 * one before until then. Tables of two versions stand beside each other: programs that are not replaced yet go on with theirs. A
 * record in the spool tells by its flags in which table it was counted (limit_table_flags); the collector adds it to its own when
 * that is another one.
 *
 * A tenant has a place of 4 KiB, with cells for 16 limits; further places are added to it, up to a cell for each limit of the
 * catalogue. A metric is held for a tenant when all of its limits have cells: those that its plan limits are, the others once
 * they are used. What is taken of a metric that is not held is not counted here, and its records say so.
 *
 * Only the collector publishes (keys, tenants, limits, windows, gauges, counts of other nodes); gates and web take.
 * Readers never wait: an entry has two copies and an atomic pointer to the one in force; a reader that was overtaken
 * reads again. Counts are atomic words. A process killed anywhere leaves nothing locked or torn.
 *
 * Exactness: a writer marks in its entry which tenant it is about to charge, takes, appends to the spool, clears the
 * mark. The collector never adds records with EVENT_COUNTED. It repairs a count that a kill left too high only when no
 * live writer has the tenant marked and the spool is read to its end (limit_table_repair).
 *
 * Windows are a ring: each of a tenant's days, weeks and periods has its start, end and counts; the collector fills the ones
 * ahead and reuses those long past, so the turn of a day needs nobody. An hour's bounds follow from its day's, and the word with its
 * count names the hour: whoever takes first in a new one begins at 0. Such a word is ambiguous after 64 hours, so the collector
 * empties old ones (limit_table_forget_hours).
 *
 * A refusal is counted in the cell of the limit that refused, for the last two hours in which there was one; a bit for each tenant tells
 * the collector where to look (limit_table_refusals).
 *
 * Keys, tenants' ids, limits and the catalogue carry checksums: damage there is STATUS_DAMAGED, which any reader tells all
 * others, so that the collector makes a new table. Counts and windows change too often for one; the collector compares
 * counts with PostgreSQL (limit_table_repair). Every index read from the file is checked against its bounds, and a file cut short under a reader (SIGBUS) ends in
 * STATUS_DAMAGED, not in a crash. Nothing in here allocates after open.
 */
#ifndef METER_LIMIT_TABLE_H
#define METER_LIMIT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/meter/limit.h"

#ifndef LIMIT_TABLE_VERSION /* a test builds programs of another one */
#define LIMIT_TABLE_VERSION 4
#endif
#define LIMIT_TABLE_LIMITS 128        /* limits in the catalogue */
#define LIMIT_TABLE_METRICS 64        /* metrics in the catalogue */
#ifndef LIMIT_TABLE_PLACES            /* a test builds programs with fewer */
#define LIMIT_TABLE_PLACES (1u << 20) /* for tenants, and added to those with more than 16 limits */
#define LIMIT_TABLE_KEYS (1u << 24)   /* revoked ones too */
#endif
#define LIMIT_DAYS 8      /* days in a tenant's ring: yesterday, today, six ahead */
#define LIMIT_WEEKS 3     /* the last week, this one, the next */
#define LIMIT_PERIODS 4   /* the last period, this one, two ahead */
#define LIMIT_WRITERS 128 /* processes that take at the same time */
#define LIMIT_HASH_BYTES 32
#define LIMIT_KEY_ID_SIZE 9
#define LIMIT_NAME_SIZE 101   /* a metric or a limit key, with its NUL */
#define LIMIT_TENANT_SIZE 256 /* a tenant's id, with its NUL */
#define LIMIT_TIER_SIZE 128
#define LIMIT_CREDITS 15    /* limits of a tenant that may have credits at a time */
#define LIMIT_GRANTS 4      /* credits of one limit that are not used up */
#define LIMIT_KEY_LIMITS 32 /* limits of single keys that a tenant may have */

struct limit_table;

enum limit_metric_kind { LIMIT_KIND_COUNTER, LIMIT_KIND_GAUGE, LIMIT_KIND_OBSERVED /* see limit_is_observed */ };
enum limit_scope {
    LIMIT_SCOPE_CALL = 1,
    LIMIT_SCOPE_TRACK = 2,
    LIMIT_SCOPE_READ = 4,
    LIMIT_SCOPE_ADMIN = 8,
    LIMIT_SCOPE_METRICS = 16,
};

/* ---- what the collector publishes; plain values, copied in and out ---- */

struct limit_catalogue {
    uint32_t n_metrics, n_limits;
    struct {
        char name[LIMIT_NAME_SIZE];
        uint8_t kind;        /* enum limit_metric_kind */
        uint8_t derived;     /* counted from the host's tables or measured: values posted by clients are refused */
        uint8_t aggregation; /* enum limit_aggregation */
    } metrics[LIMIT_TABLE_METRICS];
    struct {
        char key[LIMIT_NAME_SIZE]; /* "api_calls_per_day" */
        uint8_t metric;            /* index into metrics */
        uint8_t window;            /* enum limit_window */
    } limits[LIMIT_TABLE_LIMITS];
};

struct limit_span {
    int64_t start_us, end_us; /* end: the first instant behind it */
    int32_t end_offset_s;     /* the zone's offset at its end, for messages */
    int32_t reserved;
};

/*
 * What a tenant was granted beyond one limit, as it stood at since_us, the start of the window before the one that is now (a gauge: 0).
 * A window's use beyond the plan is taken from the grants that end first; what is left adds to the limit.
 */
struct limit_credit {
    uint8_t slot; /* in the catalogue */
    uint8_t n;
    int64_t since_us;
    int64_t plan; /* of the window that starts at since_us; those behind it have the limit as it is */
    struct {
        int64_t from_us,
            until_us; /* it takes part in windows that end behind from_us and begin before until_us, and counts until then */
        int64_t left;
    } grants[LIMIT_GRANTS]; /* ascending by until_us */
};

/* A limit of a minute that binds one key of the tenant's, beside the tenant's own. */
struct limit_of_key {
    char key[LIMIT_KEY_ID_SIZE];
    uint8_t slot; /* in the catalogue */
    struct limit limit;
};

struct limit_tenant {
    char id[LIMIT_TENANT_SIZE];
    char tier[LIMIT_TIER_SIZE];
    uint8_t state;                            /* enum limit_state */
    uint64_t held;                            /* metrics, a bit each; put: these too, beside those that are limited */
    struct limit limits[LIMIT_TABLE_LIMITS];  /* by the catalogue's order; a slot not used is unlimited */
    struct limit_span days[LIMIT_DAYS];       /* ascending from yesterday; empty ones have end_us 0 */
    struct limit_span weeks[LIMIT_WEEKS];     /* ascending from the last one */
    struct limit_span periods[LIMIT_PERIODS]; /* ascending from the last one */
    uint32_t n_credits;
    struct limit_credit credits[LIMIT_CREDITS];
    uint32_t n_key_limits;
    struct limit_of_key key_limits[LIMIT_KEY_LIMITS];
};

struct limit_key {
    unsigned char hash[LIMIT_HASH_BYTES];
    char id[LIMIT_KEY_ID_SIZE];
    uint8_t scopes;      /* enum limit_scope, or'ed */
    uint8_t is_operator; /* an operator's key has no tenant */
    uint8_t revoked;
    int64_t expires_us; /* LIMIT_NEVER */
    uint32_t tenant;    /* index of its tenant; unused of an operator */
};

/* ---- opening ---- */

/* Gate, web, command line. STATUS_UNAVAILABLE: there is none (yet); STATUS_VERSION; STATUS_DAMAGED; STATUS_IO. */
MUST_CHECK enum status limit_table_open(const char *run_dir, struct limit_table **out);
/*
 * The collector: opens the table when it is intact and of this `node`, else makes an empty one that nobody sees (*fresh: it has to
 * be filled; then call limit_table_ready).
 */
MUST_CHECK enum status limit_table_create(const char *run_dir, const unsigned char node[16], struct limit_table **out,
                                          bool *fresh);
void limit_table_close(struct limit_table *t); /* NULL is allowed */
/* Makes an empty one that nobody sees, whatever is there. */
MUST_CHECK enum status limit_table_make(const char *run_dir, const unsigned char node[16], struct limit_table **out);
/*
 * Before a new table is shown: nobody takes from the one in its place any more, and what was taken is in the spool. Readers wait for
 * the new one, for some milliseconds; so only the rest of the spool should be left to be read.
 */
MUST_CHECK enum status limit_table_supersede(const struct limit_table *t);
/*
 * Removes the tables of other versions that nobody has open, and tells those who have one open that it holds nothing any more, so that
 * they open the one of their own version again, if there is one. How many tables were told.
 */
int limit_table_retire(const char *run_dir);
/* How many tables of other versions somebody has open. */
int limit_table_others(const char *run_dir);
/*
 * The file in run_dir is no longer the one mapped (looked at four times a second), it is superseded, or somebody met damage
 * in it: close and open again; the collector: create.
 */
bool limit_table_stale(const struct limit_table *t);
/* It is complete and in force; else an unknown key is no proof that there is none: the next table may have it. */
bool limit_table_is_ready(const struct limit_table *t);
/* It is complete: shows it in place of the one before, which is superseded. */
MUST_CHECK enum status limit_table_ready(struct limit_table *t);
/* The collector: when the spool was read for this table; what was appended before and counted elsewhere is in it. */
void limit_table_filled(struct limit_table *t, int64_t now_us);
int64_t limit_table_filled_at(struct limit_table *t);
/* When the collector last brought in what had changed in the database, wall clock; 0: never. */
void limit_table_followed(struct limit_table *t, int64_t now_us);
int64_t limit_table_followed_at(struct limit_table *t);

/* ---- looking up: gate, web ---- */

/* STATUS_NOT_FOUND, STATUS_DAMAGED. The hash is compared in constant time. A revoked or expired key is found: the caller looks. */
MUST_CHECK enum status limit_table_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES],
                                       struct limit_key *out);
MUST_CHECK enum status limit_table_tenant_index(struct limit_table *t, const char *id, size_t length, uint32_t *index);
MUST_CHECK enum status limit_table_tenant(struct limit_table *t, uint32_t index, struct limit_tenant *out);
/* The hour, day, week or period that holds at_us; false: there is none, or no window that turns. */
bool limit_table_window(const struct limit_tenant *tenant, uint8_t window, int64_t at_us, struct limit_span *out);
/*
 * The catalogue in force; a copy, written only when another is in force than *version says (0: none of this table). NULL: in any
 * case.
 */
MUST_CHECK enum status limit_table_catalogue(struct limit_table *t, struct limit_catalogue *out, uint64_t *version);
/* Index of a metric, or -1. */
int limit_table_metric(const struct limit_catalogue *c, const char *name, size_t length);
/* May a configured rule name it? Not a counter that Tollgate counts itself: it would be counted twice. */
bool limit_table_for_rules(const struct limit_catalogue *c, int metric);

/* ---- taking: gate, web ---- */

struct limit_ask {
    uint8_t metric; /* index in the catalogue */
    int64_t amount; /* millionths, 0 asks without taking */
};

struct limit_answer {
    enum limit_reason reason; /* LIMIT_ADMITTED, or why not */
    enum limit_state state;
    char tenant[LIMIT_TENANT_SIZE];
    char tier[LIMIT_TIER_SIZE];
    uint32_t n; /* limits that the asked metrics have, unlimited ones included */
    int32_t
        decisive; /* index below of the limit that refused, or of the one with the least left; -1: none is limited */
    struct {
        uint8_t slot; /* in the catalogue */
        uint8_t metric;
        uint8_t window;
        uint8_t aggregation;
        bool held;      /* counted in the table */
        uint8_t of_key; /* it binds the asking key alone: its place + 1; else 0 */
        int32_t end_offset_s;
        int64_t start_us, end_us;
        struct limit_verdict verdict;
    } limits[LIMIT_TABLE_LIMITS];
};

/* Registers this process as a writer; its entry is freed by limit_table_close or, after a kill, by the next one that needs it. STATUS_LIMIT: LIMIT_WRITERS are alive. */
MUST_CHECK enum status limit_table_join(struct limit_table *t);
/*
 * Decides over every limit of the asked metrics at once and, with `take`, takes all or nothing. With `take` the writer's mark
 * stays set until limit_table_done, to be called when the event is in the spool; limit_table_undo gives back and clears.
 * The answer is filled also when refused. STATUS_OK says that a decision was made, see answer->reason.
 * STATUS_UNAVAILABLE: no window of the ring holds now_us (the collector has been away for days).
 */
MUST_CHECK enum status limit_table_decide(struct limit_table *t, uint32_t tenant, const struct limit_ask *asks,
                                          size_t n, int64_t now_us, bool take, struct limit_answer *answer);
/* The same for a call with a key, whose own limits bind, too. `key`: its id. */
MUST_CHECK enum status limit_table_decide_key(struct limit_table *t, uint32_t tenant, const char *key,
                                              const struct limit_ask *asks, size_t n, int64_t now_us, bool take,
                                              struct limit_answer *answer);
void limit_table_done(struct limit_table *t);
/* The flags of a record of what the answer took of the metric: EVENT_COUNTED with the table's mark, or 0. */
uint8_t limit_table_flags(const struct limit_table *t, const struct limit_answer *answer, uint8_t metric);
/* Was a record with these flags counted in this table? */
bool limit_table_counted(const struct limit_table *t, uint8_t flags);
MUST_CHECK enum status limit_table_undo(struct limit_table *t, uint32_t tenant, const struct limit_ask *asks, size_t n,
                                        const struct limit_answer *answer);
/*
 * A gauge's level that was posted and is in the spool, or, `delta`, a change of it: counts at once, if it was not recorded before the level
 * that stands. Writers wait for each other, some microseconds; nobody waits for a dead one. No-op where the metric is not held.
 */
MUST_CHECK enum status limit_table_post_level(struct limit_table *t, uint32_t tenant, uint8_t metric,
                                              int64_t recorded_us, int64_t value, bool delta);
/*
 * Counts what was admitted while the spool could not be written; only grows. STATUS_LIMIT: the tenant has as many other metrics
 * counted so as there is room for.
 */
MUST_CHECK enum status limit_table_degraded_add(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t amount);

/* ---- publishing: the collector alone ---- */

/*
 * STATUS_CONFLICT: a metric or limit that is there would get another place, or a metric that is counted another limit, which would
 * lack what was counted before: another table is to be made.
 */
MUST_CHECK enum status limit_table_put_catalogue(struct limit_table *t, const struct limit_catalogue *c);
/*
 * Adds or replaces by id; *index is its place, which it keeps for good. Counts of windows that stay are kept, new ones start at 0.
 * STATUS_LIMIT: there is no room for it, or for all of its limits; then it holds to those that have room.
 */
MUST_CHECK enum status limit_table_put_tenant(struct limit_table *t, const struct limit_tenant *tenant,
                                              uint32_t *index);
/* The places that a tenant takes at most, with so many limits in the catalogue. */
uint32_t limit_table_places(uint32_t limits);
/*
 * Gives the metric's limits cells, all at once, with counts of 0: from now on it is counted.
 * limit_table_put_tenant does it for metrics that are limited.
 */
MUST_CHECK enum status limit_table_hold(struct limit_table *t, uint32_t tenant, uint8_t metric);
/* What the tenant's credits add to a limit at now_us; 0: it has none. STATUS_DAMAGED. */
MUST_CHECK enum status limit_table_credit(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t now_us,
                                          int64_t *amount);
MUST_CHECK enum status limit_table_drop_tenant(struct limit_table *t, uint32_t index);
/* STATUS_LIMIT: there is no room for a new one. */
MUST_CHECK enum status limit_table_put_key(struct limit_table *t, const struct limit_key *key);
MUST_CHECK enum status limit_table_drop_key(struct limit_table *t, const unsigned char hash[LIMIT_HASH_BYTES]);
/* A gauge's level, millionths. */
MUST_CHECK enum status limit_table_set_gauge(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t level);
struct limit_level {
    int64_t level;       /* millionths */
    int64_t recorded_us; /* of the newest event in it */
    int64_t set_us;      /* of the last absolute level in it; 0: there is none */
};
/*
 * The level that the database has. Stays away while the table holds something newer than `until_us` and than the level: a post that is on
 * its way to the database, which will be set with what comes of it.
 */
MUST_CHECK enum status limit_table_set_level(struct limit_table *t, uint32_t tenant, uint8_t metric,
                                             const struct limit_level *level, int64_t until_us);
#define LIMIT_ONLY(window) (1u << (window))
#define LIMIT_WHOLE_DAYS \
    (LIMIT_ONLY(LIMIT_WINDOW_DAY) | LIMIT_ONLY(LIMIT_WINDOW_WEEK) | LIMIT_ONLY(LIMIT_WINDOW_PERIOD))
#define LIMIT_ALL_WINDOWS (LIMIT_WHOLE_DAYS | LIMIT_ONLY(LIMIT_WINDOW_HOUR))
/*
 * Adds to the metric's counts whose window is one of `windows` and holds recorded_us: what other nodes committed, records
 * without EVENT_COUNTED, corrections (negative). Counts never fall below 0. Of hours: only this one and the two before.
 * STATUS_NOT_FOUND: the metric is not held.
 */
MUST_CHECK enum status limit_table_add(struct limit_table *t, uint32_t tenant, uint8_t metric, unsigned windows,
                                       int64_t recorded_us, int64_t amount);
/* Of a metric that is observed: sets its count of the window that starts at start_us. STATUS_NOT_FOUND: it is not held. */
MUST_CHECK enum status limit_table_observe_count(struct limit_table *t, uint32_t tenant, uint8_t metric, uint8_t window,
                                                 int64_t start_us, int64_t used);
/* Empties the counts of hours that are past, some time within 64 hours. */
MUST_CHECK enum status limit_table_forget_hours(struct limit_table *t, uint32_t tenant, int64_t now_us);
/* The count of one limit's window that holds at_us: what the collector compares with the database. */
MUST_CHECK enum status limit_table_count(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t at_us,
                                         int64_t *used);
/* STATUS_CONFLICT while a live writer has taken for the tenant and not yet appended. Dead writers' marks are cleared. */
MUST_CHECK enum status limit_table_idle(struct limit_table *t, uint32_t tenant);
/* How often anything was given back: a count that has fallen and risen again since shows by it. */
MUST_CHECK enum status limit_table_undone(struct limit_table *t, uint64_t *sum);
/*
 * Sets that count to `right` if it still is `seen` and the tenant is idle. STATUS_CONFLICT: something moved, try again
 * later. Right only in this order: undone → count → idle → undone as it was → spool read to its end and committed → repair with
 * that count as `seen`: then whatever was taken before the count was read is in the database, and whatever came later has
 * moved the count. tests/fault/repair_model.c looks at every interleaving.
 */
MUST_CHECK enum status limit_table_repair(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t at_us,
                                          int64_t seen, int64_t right);
MUST_CHECK enum status limit_table_degraded(struct limit_table *t, uint32_t tenant, uint8_t metric, int64_t *total);

/* ---- leases: this node's part of a limit's end; see limit.h ---- */

struct limit_want {
    uint32_t tenant;
    uint8_t slot;
};
/* What writers asked for since the last call; at most `most`, the rest later. */
MUST_CHECK enum status limit_table_wanted(struct limit_table *t, struct limit_want *out, size_t most, size_t *n);
/* Adds to the lease on the window that starts at start_us; one on another window is forgotten. */
MUST_CHECK enum status limit_table_lease_add(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us,
                                             int64_t amount);
/* What is left of the lease on that window. */
MUST_CHECK enum status limit_table_lease_left(struct limit_table *t, uint32_t tenant, uint8_t slot, int64_t start_us,
                                              int64_t *left);
/* Takes all of it away from the writers. */
MUST_CHECK enum status limit_table_lease_withdraw(struct limit_table *t, uint32_t tenant, uint8_t slot,
                                                  int64_t start_us, int64_t *left);

/* ---- refusals ---- */

struct limit_refusal {
    uint32_t tenant;
    uint8_t slot;
    int64_t hour_us;  /* the first instant of the hour, in the tenant's zone */
    uint64_t refused; /* in all since the table was made */
};
#define LIMIT_REFUSALS_ROOM (2 * LIMIT_TABLE_LIMITS) /* of one tenant */
/*
 * What was refused, of tenants from place *next on for which something was refused since the last call; with `all` of each. `most` is at
 * least LIMIT_REFUSALS_ROOM. *next becomes 0 when all places were looked at.
 */
MUST_CHECK enum status limit_table_refusals(struct limit_table *t, bool all, uint32_t *next, struct limit_refusal *out,
                                            size_t most, size_t *n);
/* Which table: its number is random, and no other has it. */
uint64_t limit_table_id(const struct limit_table *t);

uint32_t limit_table_tenants(
    const struct limit_table *t); /* places in use, for loops over tenants; a place may be free */

/* ---- what /metrics shows ---- */

/* Upper bounds of the latency histogram in microseconds; the last bucket has none. */
#define LIMIT_LATENCY_BUCKETS 16
extern const int32_t limit_latency_bounds_us[LIMIT_LATENCY_BUCKETS - 1];
enum limit_result {
    LIMIT_RESULT_ADMITTED,
    LIMIT_RESULT_PASSED /* own route or operator: not metered */,
    LIMIT_RESULT_BAD_REQUEST,
    LIMIT_RESULT_UNAUTHORIZED,
    LIMIT_RESULT_FORBIDDEN,
    LIMIT_RESULT_NOT_FOUND,
    LIMIT_RESULT_LIMITED,
    LIMIT_RESULT_DEGRADED,
    LIMIT_RESULT_UNAVAILABLE,
    LIMIT_RESULTS
};
struct limit_stats {
    uint64_t results[LIMIT_RESULTS];
    uint64_t latency[LIMIT_LATENCY_BUCKETS]; /* calls in each bucket, not cumulated */
    uint64_t latency_sum_us;
    uint64_t refused[LIMIT_TABLE_LIMITS]; /* calls and events, by the limit that refused them */
    uint64_t table;                       /* which table: another one, made anew, has counted from 0 */
};
/* Adds one call to this writer's counters. */
void limit_table_observe(struct limit_table *t, enum limit_result r, int64_t latency_us);
/* Sums over all writers since the table was made. */
MUST_CHECK enum status limit_table_stats(struct limit_table *t, struct limit_stats *out);

struct limit_table_sizes {
    uint64_t tenants, tenant_places, keys, key_places, tenant_bytes, key_bytes, file_bytes;
};
MUST_CHECK enum status limit_table_sizes(struct limit_table *t, struct limit_table_sizes *out);

#endif
