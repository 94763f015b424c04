/*
 * decide_time.c: how long a decision with its append takes within a gate, against the table in RUN_DIR:
 * decide_time RUN_DIR SPOOL_DIR CALLS KEYS; prints median and p99 in nanoseconds of lookup + decision + append, and of the
 * append alone, once the pages that it touches are mapped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "lib/base/clock.h"
#include "lib/meter/apikey.h"
#include "lib/meter/limit_table/limit_table.h"
#include "lib/meter/spool/spool.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static enum status once(struct limit_table *t, struct spool_writer *w, long key, int64_t *all, int64_t *append)
{
    static const char metadata[] =
        "{\"endpoint\":\"/api/patients/123\",\"method\":\"GET\",\"timestamp\":\"2026-11-24T09:00:00.000Z\","
        "\"normalized\":\"/api/patients/:id\",\"key\":\"testkey1\"}";
    const struct limit_ask ask = {0, EVENT_MILLION};
    unsigned char hash[LIMIT_HASH_BYTES];
    struct limit_key k;
    struct limit_answer a;
    char secret[32];
    int n = snprintf(secret, sizeof secret, "fill-%ld", key);
    int64_t began = now_ns(), before = 0, now = clock_wall_us();
    enum status s = apikey_hash(secret, (size_t)n, hash);
    if (s == STATUS_OK)
        s = limit_table_key(t, hash, &k);
    if (s == STATUS_OK)
        s = limit_table_decide(t, k.tenant, &ask, 1, now, true, &a);
    if (s == STATUS_OK) {
        struct event e = {.tenant = {a.tenant, strlen(a.tenant)},
                          .metric = {"api_call", 8},
                          .recorded_us = now,
                          .metadata = {metadata, sizeof metadata - 1},
                          .value = EVENT_MILLION,
                          .flags = EVENT_COUNTED};
        before = now_ns();
        s = spool_append(w, &e, 1, false);
        limit_table_done(t);
    }
    int64_t end = now_ns();
    *all = end - began;
    *append = end - before;
    return s;
}

int main(int argc, char *argv[])
{
    struct limit_table *t = NULL;
    struct spool_writer *w = NULL;
    if (argc != 5 || sodium_init() < 0)
        return 2;
    long calls = atol(argv[3]), keys = atol(argv[4]);
    int64_t *all = calloc((size_t)calls, sizeof *all), *append = calloc((size_t)calls, sizeof *append);
    struct spool_options o = {.dir = argv[2],
                              .kind = SPOOL_GATE,
                              .sync = SPOOL_SYNC_INTERVAL,
                              .segment_bytes = 64 << 20,
                              .segment_age_us = 60 * CLOCK_US_PER_SECOND,
                              .max_bytes = UINT64_C(8) << 30};
    enum status s = all && append ? limit_table_open(argv[1], &t) : STATUS_NO_MEMORY;
    if (s == STATUS_OK)
        s = limit_table_join(t);
    if (s == STATUS_OK)
        s = spool_writer_open(&o, &w);
    for (long i = 0; i < 2 * calls && s == STATUS_OK; i++) /* twice the same: the first time maps the pages */
        s = once(t, w, i % calls * 7919 % keys, &all[i % calls], &append[i % calls]);
    if (s == STATUS_OK) {
        qsort(all, (size_t)calls, sizeof *all, ascending);
        qsort(append, (size_t)calls, sizeof *append, ascending);
        printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", all[calls / 2], all[calls * 99 / 100],
               append[calls / 2], append[calls * 99 / 100]);
    } else {
        fprintf(stderr, "decide_time: %s\n", status_text(s));
    }
    spool_writer_close(w);
    limit_table_close(t);
    free(all);
    free(append);
    return s == STATUS_OK ? 0 : 1;
}
