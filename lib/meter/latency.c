/* latency.c: percentiles out of the gate's latency histogram */
#include "lib/meter/latency.h"

uint64_t latency_calls(const uint64_t calls[LIMIT_LATENCY_BUCKETS])
{
    uint64_t sum = 0;

    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++)
        sum += calls[i];
    return sum;
}

struct latency latency_quantile(const uint64_t calls[LIMIT_LATENCY_BUCKETS], double q)
{
    double rank = (double)latency_calls(calls) * (q < 0 ? 0 : q > 1 ? 1 : q), below = 0;
    struct latency found = {0};

    for (int i = 0; i < LIMIT_LATENCY_BUCKETS; i++) {
        double lower = i == 0 ? 0 : limit_latency_bounds_us[i - 1], here = (double)calls[i];

        if (here > 0 && below + here >= rank) {
            found.known = true;
            found.over = i == LIMIT_LATENCY_BUCKETS - 1;
            found.us = found.over ? lower : lower + (limit_latency_bounds_us[i] - lower) * (rank - below) / here;
            break;
        }
        below += here;
    }
    return found;
}
