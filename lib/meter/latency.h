/*
 * latency: percentiles out of the gate's latency histogram. Pure; nothing is kept. Called by tollgate-web.
 *
 * How exact: the bucket that holds the true value is always the right one (limit_latency_bounds_us: 1, 2, 5, 10 … us);
 * within it calls are taken as spread evenly, so the figure can be wrong by the bucket's width at most: by a factor of
 * 2.5, of 5 between 10 and 50 ms. The last bucket has no upper bound; of it only the lower one is known.
 */
#ifndef METER_LATENCY_H
#define METER_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/meter/limit_table/limit_table.h"

struct latency {
    double us;
    bool known; /* there was a call */
    bool over;  /* it lies in the last bucket: more than `us` */
};

/* The time that the share `q` (0..1) of the calls took at most. */
struct latency latency_quantile(const uint64_t calls[LIMIT_LATENCY_BUCKETS], double q);
/* All calls of a histogram. */
uint64_t latency_calls(const uint64_t calls[LIMIT_LATENCY_BUCKETS]);

#endif
