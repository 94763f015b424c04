/*
 * health: what each worker and each job of the collector did last, said in the log and in collector.json.
 *
 * Workers report to it under its lock; the main thread, which waits for nobody, writes the file twice a second into run_dir. So the file
 * is there and true while PostgreSQL is away or a worker hangs: /metrics, /readyz, the status page and doctor read it on this node. What
 * other nodes' status pages show of this one is in PostgreSQL instead (collector_nodes, node_samples), written by jobs.
 */
#ifndef COLLECTOR_HEALTH_H
#define COLLECTOR_HEALTH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/status.h"
#include "lib/intake/batch.h"

#define HEALTH_PARTS 32

/* Workers come first; jobs have the numbers behind (jobs.c). */
enum health_worker { HEALTH_IMPORT, HEALTH_REPLICATE, HEALTH_JOBS, HEALTH_WORKERS };

/* What `import` did since the start. */
struct health_counts {
    uint64_t batches, rows, duplicates, rejected, degraded, damaged;
    int64_t stored_us; /* the last batch, wall clock; 0: none */
};

/* The worst since it was asked for. */
struct health_worst {
    double lag_seconds;
    uint64_t events, bytes;
};

struct health_part {
    const char *name;
    bool failing;     /* its last try failed */
    bool unavailable; /* for want of PostgreSQL */
    char error[600];  /* of the last failure; "": there was none */
    int64_t error_us; /* when; wall clock, as the others */
    int64_t since_us; /* failing since */
    int64_t done_us;  /* the last success; 0: none */
    int64_t began_us; /* of what it is at; 0: it waits */
    int64_t took_us;  /* a job's last run */
    uint64_t done, failed, overran, behind;
    int64_t logged_us; /* monotonic */
};

struct health {
    pthread_mutex_t lock; /* of all below */
    int64_t started_us;
    struct health_part parts[HEALTH_PARTS];
    size_t n_parts;
    struct health_counts counts;
    struct batch_lag lag;
    struct health_worst worst;
};

void health_init(struct health *h);
void health_term(struct health *h);
/* Names another job; its number is given back. `name` outlives it. */
int health_add(struct health *h, const char *name);

/* It begins; it ends well; it found nothing to do yet, which is neither a success nor a failure. */
void health_began(struct health *h, int part);
void health_worked(struct health *h, int part);
void health_rested(struct health *h, int part);
/* Keeps the failure of `what` ("": of the part itself), and logs it when it is news. */
void health_failed(struct health *h, int part, const char *what, enum status s, const char *why);
/* It took longer than it may. */
void health_overran(struct health *h, int part, int64_t deadline_us);
/* How much it has still to do: events, tenants, jobs. */
void health_behind(struct health *h, int part, uint64_t n);
/* `import`: where it stands. */
void health_import(struct health *h, const struct health_counts *counts, const struct batch_lag *lag);

/* `import`'s counts, and how far behind it is; `out` may be NULL. */
void health_counts(struct health *h, struct health_counts *out, struct batch_lag *lag);
/* The worst since the last health_forget_worst. */
void health_worst(struct health *h, struct health_worst *out);
void health_forget_worst(struct health *h);
/* Seconds that the oldest event waits, by now. */
double health_lag_seconds(const struct batch_lag *lag);

#endif
