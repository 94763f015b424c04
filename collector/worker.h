/*
 * worker: a thread that does one thing again and again, with its own pauses and its own back-off.
 *
 * main.c starts one each for import, replicate and jobs, which share what collector.h says; sync.c has one. A worker sees only its own failures: one
 * that waits for a lock in PostgreSQL, or for PostgreSQL itself, keeps no other from going on.
 */
#ifndef COLLECTOR_WORKER_H
#define COLLECTOR_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/status.h"

struct worker {
    const char *name;
    /* One iteration; says how long to sleep. STATUS_FENCED ends the program; other failures are retried, later each time. */
    enum status (*once)(void *arg, int64_t *wait_us);
    void *arg;
    int64_t back_off_most_us;
    void (*ended)(void *arg, enum status s); /* called in the thread at its end; NULL is allowed */
    void *ended_arg;
    /* the worker's own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* under the lock */
    bool ran_out;  /* the thread is at its end; under the lock */
    bool running;  /* the thread was started, and not joined */
    int failures;  /* in a row */
};

/* With every signal blocked: they go to the main thread. */
MUST_CHECK enum status worker_start(struct worker *w);
/* Asks it to end after the iteration it is in. */
void worker_stop(struct worker *w);
/* Waits until it has ended, at most so long; false: it still runs. */
bool worker_join(struct worker *w, int64_t most_us);

#endif
