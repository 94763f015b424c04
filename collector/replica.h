/*
 * replica: the limit table as the collector's workers share it.
 *
 * lib/meter/limit_table takes one writer and, for its guard against a file that is cut short, one thread of a process. The lock in here
 * makes that true for three: whoever calls a function of limit_table.h holds it. It is held for work in memory alone, never across
 * a call to PostgreSQL, so a revoked key waits for nobody. Each call on the table is complete in itself; what needs several to be
 * one holds the lock over them.
 *
 * `import` alone makes a table (snapshot.c), beside the one that is there, which `replicate` and the gates go on with meanwhile. When
 * it takes that one's place it has another generation: `replicate` then begins with the new table's cursor.
 */
#ifndef COLLECTOR_REPLICA_H
#define COLLECTOR_REPLICA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/status.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/store/feed.h"

struct replica {
    pthread_mutex_t lock;      /* of all below */
    struct limit_table *table; /* NULL: there is none */
    struct limit_table *next;  /* that `import` fills to take its place; nobody else writes to it */
    struct limit_catalogue next_catalogue;
    bool rebuild;                      /* what is in it is not known any more */
    uint64_t generation;               /* of `table` */
    uint64_t made_in;                  /* which generation of history.h it was made in */
    int64_t made_us;                   /* monotonic */
    struct limit_catalogue catalogue;  /* of `table`; written by `replicate` */
    char cursor[FEED_CURSOR_SIZE];     /* of the snapshot that the table was made from */
    char left_out[FEED_LEFT_OUT_SIZE]; /* what the catalogue had no place for, as it was logged */
    int64_t no_room_us;                /* when a tenant or a key had no room, as it was logged; monotonic */
    uint32_t rules_left_out;           /* bits of the configured rules that were logged as wrong */
    bool renew;                        /* a day has turned: all tenants are to be read again */
};

void replica_init(struct replica *r);
/* Closes the table, too. */
void replica_term(struct replica *r);

/* The table, NULL when there is none. The lock is held in both cases, until replica_unlock. */
struct limit_table *replica_lock(struct replica *r);
void replica_unlock(struct replica *r);

/* The table is there, intact, filled, and holds what it should. */
bool replica_good(struct replica *r);
/* Not known any more what it should hold: it is made anew at the next chance. */
void replica_doubt(struct replica *r);
/* `import`, with the lock: the table that it works on, and its catalogue. */
struct limit_table *replica_mine(struct replica *r);
struct limit_catalogue *replica_my_catalogue(struct replica *r);

/* With the lock: feed_catalogue's answer goes into the log when it left out something else than before. */
void replica_note_left_out(struct replica *r, const char left_out[FEED_LEFT_OUT_SIZE]);
/*
 * With the lock: a configured rule of a metric that Tollgate counts itself would count it twice. The gates leave it out; here
 * it goes into the log, once.
 */
void replica_note_rules(struct replica *r, const struct limit_catalogue *c, const struct config *config);
/*
 * With the lock: puts a tenant and its gauges into t, with `lease_percent` of each limit granted in leases. One that has no room is left
 * out and logged. STATUS_END: there is no table.
 */
MUST_CHECK enum status replica_put_tenant(struct replica *r, struct limit_table *t, const struct limit_tenant *tenant,
                                          int lease_percent, const struct feed_gauge *gauges, size_t n);
/* With the lock: a key, likewise. One whose tenant is not in the table is left out: it comes with its tenant. */
MUST_CHECK enum status replica_put_key(struct replica *r, struct limit_table *t, const struct limit_key *key,
                                       const char *tenant);

#endif
