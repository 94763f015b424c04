/* take.c: decide over all limits at once, take all or nothing, give back */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/meter/limit_table/layout.h"

/* One limit of the decision: where its count is. */
struct place {
    _Atomic int64_t *count;
    struct table_lease *lease;
    struct limit limit;
    int64_t amount;
    struct limit_count seen;
};

enum status limit_table_join(struct limit_table *t)
{
    for (int i = 0; i < LIMIT_WRITERS; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = TABLE_LOCK_AT + i, .l_len = 1};
        if (fcntl(t->fd, F_OFD_SETLK, &lock) == 0) {
            t->writer = i;
            return STATUS_OK;
        }
        if (errno != EAGAIN && errno != EACCES)
            return STATUS_IO;
    }
    return STATUS_LIMIT;
}

static void mark(struct limit_table *t, uint64_t value)
{
    if (t->writer >= 0)
        atomic_store(&t->writers[t->writer].mark, value);
}

static enum limit_reason reason_of_state(uint64_t state)
{
    switch (state) {
    case LIMIT_TENANT_ACTIVE:
        return LIMIT_ADMITTED;
    case LIMIT_TENANT_SUSPENDED:
        return LIMIT_SUSPENDED;
    default:
        return LIMIT_NO_SUBSCRIPTION;
    }
}

/* Where the count of `slot` is now. STATUS_UNAVAILABLE: no window of the ring holds now_us. */
static enum status locate(struct limit_table *t, struct table_tenant *tenant, uint8_t slot, int64_t now_us,
                          struct limit_answer *answer, struct place *place)
{
    int n, span = 0;
    uint8_t window = t->catalogue.limits[slot].window;
    struct table_span *spans = table_spans(tenant, window, &n);
    uint32_t i = answer->n;
    memset(&answer->limits[i], 0, sizeof answer->limits[i]);
    answer->limits[i].slot = slot;
    answer->limits[i].metric = t->catalogue.limits[slot].metric;
    answer->limits[i].window = window;
    if (spans) {
        span = table_span_at(spans, n, now_us);
        if (span < 0)
            return STATUS_UNAVAILABLE;
        answer->limits[i].start_us = atomic_load(&spans[span].start_us);
        answer->limits[i].end_us = atomic_load(&spans[span].end_us);
        answer->limits[i].end_offset_s = (int32_t)atomic_load(&spans[span].end_offset_s);
    } else if (window == LIMIT_WINDOW_MINUTE) { /* no window of its own: messages use the offset of the day */
        int day = table_span_at(tenant->days, LIMIT_DAYS, now_us);
        answer->limits[i].end_offset_s = day < 0 ? 0 : (int32_t)atomic_load(&tenant->days[day].end_offset_s);
    }
    place->count = &tenant->counts[slot][span];
    place->lease = &tenant->leases[slot];
    place->limit.window = window;
    answer->n++;
    return STATUS_OK;
}

/* What is left of this node's lease on the window; 0 when the limit is not leased. */
static int64_t lease_left(const struct place *p, int64_t start_us)
{
    return p->limit.lease_percent && atomic_load(&p->lease->start_us) == start_us ? atomic_load(&p->lease->left) : 0;
}

static struct limit_count count_of(const struct limit_answer *answer, uint32_t i, const struct place *p, int64_t value)
{
    bool minute = answer->limits[i].window == LIMIT_WINDOW_MINUTE;
    return (struct limit_count){.used = minute ? 0 : value,
                                .tat_ns = minute ? value : 0,
                                .start_us = answer->limits[i].start_us,
                                .end_us = answer->limits[i].end_us,
                                .leased = lease_left(p, answer->limits[i].start_us)};
}

/* The limit to speak of: the one that refuses, else the one with the least left. */
static void choose_decisive(struct limit_answer *answer)
{
    answer->decisive = -1;
    for (uint32_t i = 0; i < answer->n; i++) {
        const struct limit_verdict *v = &answer->limits[i].verdict;
        if (!v->allowed) {
            answer->decisive = (int32_t)i;
            answer->reason = LIMIT_REACHED;
            return;
        }
        if (!v->unlimited &&
            (answer->decisive < 0 || v->remaining < answer->limits[answer->decisive].verdict.remaining))
            answer->decisive = (int32_t)i;
    }
}

static bool takes_nothing(const struct limit_answer *answer, uint32_t i)
{
    return answer->limits[i].window == LIMIT_WINDOW_NONE ||
           (answer->limits[i].window == LIMIT_WINDOW_MINUTE && answer->limits[i].verdict.unlimited);
}

/*
 * Counts the giving back before the mark is cleared: a count that fell and rose again has its old value, and who repairs it would
 * take it for untouched.
 */
static void tell_undone(struct limit_table *t)
{
    if (t->writer >= 0)
        atomic_fetch_add(&t->writers[t->writer].undone, 1);
}

static void give_back(struct limit_answer *answer, struct place *places, uint32_t taken)
{
    while (taken-- > 0) {
        if (takes_nothing(answer, taken))
            continue;
        int64_t amount = answer->limits[taken].window == LIMIT_WINDOW_MINUTE
                             ? limit_minute_cost(&answer->limits[taken].verdict, places[taken].amount)
                             : places[taken].amount;
        atomic_fetch_sub(places[taken].count, amount);
        if (answer->limits[taken].verdict.leased)
            atomic_fetch_add(&places[taken].lease->left, places[taken].amount);
    }
}

/* The lease first: a process killed between the two leaves some of it unspent, never a call beyond it. */
static bool take_lease(struct table_lease *lease, int64_t amount)
{
    int64_t left = atomic_load(&lease->left);
    do {
        if (left < amount)
            return false;
    } while (!atomic_compare_exchange_weak(&lease->left, &left, left - amount));
    return true;
}

/* Decides anew until the count that was decided on is still there to be swapped. */
static bool take_one(struct limit_answer *answer, uint32_t i, struct place *p, int64_t now_us)
{
    struct limit_verdict *v = &answer->limits[i].verdict;
    int64_t seen = atomic_load(p->count), next;
    for (;;) {
        struct limit_count c = count_of(answer, i, p, seen);
        limit_decide(&p->limit, &c, p->amount, now_us, v);
        if (!v->allowed || takes_nothing(answer, i))
            return v->allowed;
        if (v->leased && !take_lease(p->lease, p->amount))
            continue; /* another process took it meanwhile: decide by what is left */
        if (answer->limits[i].window == LIMIT_WINDOW_MINUTE)
            next = v->tat_ns;
        else if (__builtin_add_overflow(seen, p->amount, &next))
            next = INT64_MAX;
        if (atomic_compare_exchange_strong(p->count, &seen, next))
            return true;
        if (v->leased)
            atomic_fetch_add(&p->lease->left, p->amount);
    }
}

/* The first that refuses makes all before it be given back. */
static bool take_all(struct limit_answer *answer, struct place *places, int64_t now_us)
{
    for (uint32_t i = 0; i < answer->n; i++)
        if (!take_one(answer, i, &places[i], now_us)) {
            give_back(answer, places, i);
            return false;
        }
    return true;
}

/* Tells the collector which leases are needed; it looks a few times a second. */
static void ask_for_leases(struct limit_table *t, uint32_t index, const struct limit_answer *answer)
{
    if (t->writer < 0)
        return;
    for (uint32_t i = 0; i < answer->n; i++) {
        uint64_t want = ((uint64_t)index + 1) << 8 | answer->limits[i].slot;
        if (answer->limits[i].verdict.leased)
            atomic_store(&t->writers[t->writer].wanted[(index + answer->limits[i].slot) % TABLE_WANTED], want);
    }
}

static enum status gather(struct limit_table *t, struct table_tenant *tenant, const struct table_config *config,
                          const struct limit_ask *asks, size_t n, int64_t now_us, struct limit_answer *answer,
                          struct place *places)
{
    for (size_t a = 0; a < n; a++) {
        if (asks[a].metric >= t->catalogue.n_metrics)
            return STATUS_NOT_FOUND;
        for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++) {
            if (t->catalogue.limits[slot].metric != asks[a].metric)
                continue;
            if (answer->n == LIMIT_TABLE_LIMITS) /* the same metric asked for twice */
                return STATUS_INVALID;
            struct place *p = &places[answer->n];
            p->limit = config->limits[slot];
            p->amount = asks[a].amount;
            enum status s = locate(t, tenant, (uint8_t)slot, now_us, answer, p);
            if (s != STATUS_OK)
                return s;
        }
    }
    return STATUS_OK;
}

static enum status decide(struct limit_table *t, uint32_t index, const struct limit_ask *asks, size_t n, int64_t now_us,
                          bool take, struct limit_answer *answer)
{
    struct table_config config;
    struct place places[LIMIT_TABLE_LIMITS] = {0};
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        s = table_config_read(t, index, &config);
    if (s != STATUS_OK)
        return s;
    if (config.state == LIMIT_TENANT_FREE)
        return STATUS_NOT_FOUND;
    memcpy(answer->tenant, tenant->id, sizeof answer->tenant);
    answer->tenant[sizeof answer->tenant - 1] = '\0';
    memcpy(answer->tier, config.tier, sizeof answer->tier);
    answer->state = (enum limit_state)config.state;
    answer->reason = reason_of_state(config.state);
    answer->n = 0;
    answer->decisive = -1;
    s = gather(t, tenant, &config, asks, n, now_us, answer, places);
    if (s == STATUS_NOT_FOUND) {
        answer->reason = LIMIT_METRIC_UNKNOWN;
        return STATUS_OK;
    }
    if (s != STATUS_OK)
        return s;
    for (uint32_t i = 0; i < answer->n; i++) {
        places[i].seen = count_of(answer, i, &places[i], atomic_load(places[i].count));
        limit_decide(&places[i].limit, &places[i].seen, places[i].amount, now_us, &answer->limits[i].verdict);
    }
    if (answer->reason != LIMIT_ADMITTED)
        return STATUS_OK;
    choose_decisive(answer);
    if (take)
        ask_for_leases(t, index, answer);
    if (!take || answer->reason != LIMIT_ADMITTED)
        return STATUS_OK;

    mark(t, (uint64_t)index + 1);
    if (atomic_load(&t->header->superseded)) { /* counts have gone to another table */
        mark(t, 0);
        return STATUS_UNAVAILABLE;
    }
    if (!take_all(answer, places, now_us))
        tell_undone(t);
    choose_decisive(answer);
    if (answer->reason != LIMIT_ADMITTED)
        mark(t, 0);
    return STATUS_OK;
}

enum status limit_table_decide(struct limit_table *t, uint32_t tenant, const struct limit_ask *asks, size_t n,
                               int64_t now_us, bool take, struct limit_answer *answer)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, decide(t, tenant, asks, n, now_us, take, answer));
    guard_leave(t);
    return s;
}

void limit_table_done(struct limit_table *t)
{
    if (!GUARD_ENTER(t)) {
        guard_damaged(t);
        return;
    }
    mark(t, 0);
    guard_leave(t);
}

/* Subtracts, but not below 0: the count may have been repaired meanwhile. */
static void subtract(_Atomic int64_t *count, int64_t amount)
{
    int64_t seen = atomic_load(count);
    while (!atomic_compare_exchange_weak(count, &seen, seen > amount ? seen - amount : 0))
        ;
}

static enum status undo(struct limit_table *t, uint32_t index, const struct limit_ask *asks, size_t n,
                        const struct limit_answer *answer)
{
    struct table_tenant *tenant = table_tenant_at(t, index);
    if (!tenant)
        return STATUS_NOT_FOUND;
    for (uint32_t i = 0; i < answer->n; i++) {
        int64_t amount = 0;
        int spans_n, span = 0;
        for (size_t a = 0; a < n; a++)
            if (asks[a].metric == answer->limits[i].metric)
                amount = asks[a].amount;
        struct table_span *spans = table_spans(tenant, answer->limits[i].window, &spans_n);
        if (spans)
            span = table_span_at(spans, spans_n, answer->limits[i].start_us);
        if (span < 0 || answer->limits[i].slot >= LIMIT_TABLE_LIMITS || takes_nothing(answer, i))
            continue;
        if (answer->limits[i].window == LIMIT_WINDOW_MINUTE)
            amount = limit_minute_cost(&answer->limits[i].verdict, amount);
        subtract(&tenant->counts[answer->limits[i].slot][span], amount);
        struct table_lease *lease = &tenant->leases[answer->limits[i].slot];
        if (answer->limits[i].verdict.leased && atomic_load(&lease->start_us) == answer->limits[i].start_us)
            atomic_fetch_add(&lease->left, amount);
    }
    tell_undone(t);
    mark(t, 0);
    return STATUS_OK;
}

enum status limit_table_undo(struct limit_table *t, uint32_t tenant, const struct limit_ask *asks, size_t n,
                             const struct limit_answer *answer)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = undo(t, tenant, asks, n, answer);
    guard_leave(t);
    return s;
}

enum status limit_table_degraded_add(struct limit_table *t, uint32_t index, uint8_t metric, int64_t amount)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant && metric < LIMIT_TABLE_METRICS ? STATUS_OK : STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        atomic_fetch_add(&tenant->degraded[metric], amount);
    guard_leave(t);
    return s;
}
