/* stats.c: what /metrics shows of the gates and of the table itself */
#include <string.h>
#include <sys/stat.h>

#include "lib/meter/limit_table/layout.h"

const int32_t limit_latency_bounds_us[LIMIT_LATENCY_BUCKETS - 1] = {1,   2,    5,    10,   20,    50,    100,   200,
                                                                    500, 1000, 2000, 5000, 10000, 50000, 100000};

static void count_call(struct table_writer *w, enum limit_result r, int64_t latency_us)
{
    int bucket = 0;
    while (bucket < LIMIT_LATENCY_BUCKETS - 1 && latency_us > limit_latency_bounds_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&w->results[r], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->latency[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->latency_sum_us, (uint64_t)(latency_us > 0 ? latency_us : 0), memory_order_relaxed);
}

void limit_table_observe(struct limit_table *t, enum limit_result r, int64_t latency_us)
{
    if (t->writer < 0)
        return;
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return;
    }
    count_call(&t->writers[t->writer], r, latency_us);
    guard_leave(t);
}

enum status limit_table_stats(struct limit_table *t, struct limit_stats *out)
{
    struct limit_stats sum;
    memset(&sum, 0, sizeof(sum));
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    for (int i = 0; i < LIMIT_WRITERS; i++) {
        for (int r = 0; r < LIMIT_RESULTS; r++)
            sum.results[r] += atomic_load_explicit(&t->writers[i].results[r], memory_order_relaxed);
        for (int b = 0; b < LIMIT_LATENCY_BUCKETS; b++)
            sum.latency[b] += atomic_load_explicit(&t->writers[i].latency[b], memory_order_relaxed);
        sum.latency_sum_us += atomic_load_explicit(&t->writers[i].latency_sum_us, memory_order_relaxed);
    }
    for (int i = 0; i < LIMIT_TABLE_LIMITS; i++)
        sum.refused[i] = atomic_load_explicit(&t->header->refused[i], memory_order_relaxed);
    sum.table = t->header->identity.id;
    guard_leave(t);
    *out = sum;
    return STATUS_OK;
}

enum status limit_table_sizes(struct limit_table *t, struct limit_table_sizes *out)
{
    struct stat st;
    if (fstat(t->fd, &st) != 0)
        return STATUS_IO;
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_index_refresh(t);
    if (s == STATUS_OK) {
        const struct index_header *h = table_index(t);
        *out = (struct limit_table_sizes){
            .tenants = atomic_load(&h->n_tenants),
            .tenant_places = atomic_load(&t->header->capacity),
            .keys = atomic_load(&h->n_keys),
            .key_places = t->key_places,
            .tenant_bytes = sizeof(struct table_tenant),
            .key_bytes = sizeof(struct index_key),
            .file_bytes = (uint64_t)st.st_blocks * 512,
        };
    }
    guard_leave(t);
    return s;
}
