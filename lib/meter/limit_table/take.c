/* take.c: decide over all limits at once, take all or nothing, give back */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/meter/limit_table/layout.h"

/* One limit of the decision: where its count is. */
struct place {
    _Atomic int64_t *count; /* NULL: the metric is not held, and nothing is counted */
    int hour;               /* of table_window */
    struct table_lease *lease;
    struct limit limit;
    int64_t amount;
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

/* Limit `slot` of `version`, and where its count is now. */
static enum status locate(struct limit_table *t, uint32_t index, uint32_t version, uint8_t slot, int64_t now_us,
                          struct limit_answer *answer, struct place *place)
{
    struct table_cell *cell = NULL;
    struct table_window w;
    uint8_t window = t->catalogue.limits[slot].window;
    uint32_t i = answer->n;
    memset(&answer->limits[i], 0, sizeof(answer->limits[i]));
    answer->limits[i].slot = slot;
    answer->limits[i].metric = t->catalogue.limits[slot].metric;
    answer->limits[i].window = window;
    answer->limits[i].aggregation =
        t->catalogue.metrics[t->catalogue.limits[slot].metric % LIMIT_TABLE_METRICS].aggregation;
    if (!table_window_at(&t->tenants[index], window, now_us, &w))
        return STATUS_UNAVAILABLE;
    answer->limits[i].start_us = w.start_us;
    answer->limits[i].end_us = w.end_us;
    answer->limits[i].end_offset_s = w.end_offset_s;
    enum status s = table_find_cell(t, index, slot, &cell);
    answer->limits[i].held = s == STATUS_OK;
    place->count = cell ? &cell->counts[w.at] : NULL;
    place->hour = w.hour;
    place->lease = cell ? &cell->lease : NULL;
    place->limit = (struct limit){
        .max = LIMIT_UNLIMITED, .until_us = LIMIT_NEVER, .max_after = LIMIT_UNLIMITED, .window = window};
    if (s == STATUS_OK)
        s = table_limit_copy(t, index, slot, cell, version, &place->limit);
    if (s == STATUS_OK && atomic_load(&t->tenants[index].credits))
        s = table_credits_add(t, index, version, slot, cell, answer->limits[i].start_us, now_us, &place->limit);
    answer->n++;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

/* What is left of this node's lease on the window; 0 when the limit is not leased. */
static int64_t lease_left(const struct place *p, int64_t start_us)
{
    return p->lease && p->limit.lease_percent && atomic_load(&p->lease->start_us) == start_us
               ? atomic_load(&p->lease->left)
               : 0;
}

static struct limit_count count_of(const struct limit_answer *answer, uint32_t i, const struct place *p, int64_t word)
{
    int64_t value = table_count_of(word, p->hour);
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
    return answer->limits[i].window == LIMIT_WINDOW_NONE || !answer->limits[i].held ||
           limit_is_observed(answer->limits[i].aggregation) ||
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
        table_count_add(places[taken].count, places[taken].hour, -amount);
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
    int64_t seen = p->count ? atomic_load(p->count) : 0, next;
    for (;;) {
        struct limit_count c = count_of(answer, i, p, seen);
        limit_decide(&p->limit, &c, p->amount, now_us, v);
        if (!v->allowed || takes_nothing(answer, i))
            return v->allowed;
        if (v->leased && !take_lease(p->lease, p->amount))
            continue; /* another process took it meanwhile: decide by what is left */
        if (answer->limits[i].window == LIMIT_WINDOW_MINUTE)
            next = v->tat_ns;
        else if (__builtin_add_overflow(c.used, p->amount, &next))
            next = INT64_MAX;
        if (atomic_compare_exchange_strong(p->count, &seen, table_count_word(next, p->hour)))
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

/* Of the limits that bind the asking key alone, those of one metric. */
static enum status gather_of_key(struct limit_table *t, uint32_t index, uint32_t version, const char *key,
                                 const struct limit_ask *ask, int64_t now_us, struct limit_answer *answer,
                                 struct place *places)
{
    struct table_window w;
    struct limit limit;
    uint32_t next = 0;
    uint8_t slot, at;
    enum status s = table_window_at(&t->tenants[index], LIMIT_WINDOW_MINUTE, now_us, &w) ? STATUS_OK
                                                                                         : STATUS_UNAVAILABLE;
    while (s == STATUS_OK &&
           (s = table_key_limit(t, index, version, key, ask->metric, &next, &slot, &at, &limit)) == STATUS_OK) {
        if (answer->n == LIMIT_TABLE_LIMITS)
            return STATUS_INVALID;
        struct place *p = &places[answer->n];
        memset(&answer->limits[answer->n], 0, sizeof(answer->limits[0]));
        answer->limits[answer->n].slot = slot;
        answer->limits[answer->n].metric = ask->metric;
        answer->limits[answer->n].window = LIMIT_WINDOW_MINUTE;
        answer->limits[answer->n].held = true;
        answer->limits[answer->n].of_key = at + 1;
        answer->limits[answer->n++].end_offset_s = w.end_offset_s;
        *p = (struct place){.amount = ask->amount, .limit = limit, .hour = -1, .count = table_key_count(t, index, at)};
        if (!p->count)
            return STATUS_DAMAGED;
    }
    return s == STATUS_END ? STATUS_OK : s;
}

/* Every limit of the asked metrics, as `version` has it. STATUS_NOT_FOUND: there is no such metric. */
static enum status gather(struct limit_table *t, uint32_t index, uint32_t version, const char *key,
                          const struct limit_ask *asks, size_t n, int64_t now_us, struct limit_answer *answer,
                          struct place *places)
{
    answer->n = 0;
    for (size_t a = 0; a < n; a++) {
        if (asks[a].metric >= t->catalogue.n_metrics)
            return STATUS_NOT_FOUND;
        for (uint8_t next = t->first_limit[asks[a].metric]; next; next = t->next_limit[next - 1]) {
            if (answer->n == LIMIT_TABLE_LIMITS) /* the same metric asked for many times */
                return STATUS_INVALID;
            struct place *p = &places[answer->n];
            *p = (struct place){.amount = asks[a].amount};
            enum status s = locate(t, index, version, next - 1, now_us, answer, p);
            if (s != STATUS_OK)
                return s;
        }
        if (key && atomic_load(&t->tenants[index].keys)) {
            enum status s = gather_of_key(t, index, version, key, &asks[a], now_us, answer, places);
            if (s != STATUS_OK)
                return s;
        }
    }
    return STATUS_OK;
}

/* The tenant's state and limits, of one publication. */
static enum status read_limits(struct limit_table *t, uint32_t index, const char *key, const struct limit_ask *asks,
                               size_t n, int64_t now_us, struct limit_answer *answer, struct place *places)
{
    struct table_config config;
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant ? table_catalogue_refresh(t) : STATUS_NOT_FOUND;
    uint32_t version;
    int tries = 0;
    if (s != STATUS_OK)
        return s;
    do {
        version = atomic_load_explicit(&tenant->version, memory_order_acquire);
        s = table_config_copy(t, index, version, &config);
        if (s == STATUS_OK && config.state != LIMIT_TENANT_FREE)
            s = gather(t, index, version, key, asks, n, now_us, answer, places);
    } while (table_read_again(t, index, version, &tries));
    if (s == STATUS_OK && config.state == LIMIT_TENANT_FREE)
        return STATUS_NOT_FOUND;
    memcpy(answer->tenant, tenant->id, sizeof(answer->tenant));
    answer->tenant[sizeof(answer->tenant) - 1] = '\0';
    memcpy(answer->tier, config.tier, sizeof(answer->tier));
    answer->state = (enum limit_state)config.state;
    answer->reason = s == STATUS_NOT_FOUND ? LIMIT_METRIC_UNKNOWN
                                           : limit_reason_of_state((enum limit_state)config.state);
    answer->decisive = -1;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

/* Marked before it is taken, so that nobody repairs the count meanwhile. */
static enum status take_marked(struct limit_table *t, uint32_t index, int64_t now_us, struct limit_answer *answer,
                               struct place *places)
{
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

static enum status decide(struct limit_table *t, uint32_t index, const char *key, const struct limit_ask *asks,
                          size_t n, int64_t now_us, bool take, struct limit_answer *answer)
{
    struct place places[LIMIT_TABLE_LIMITS];
    enum status s = read_limits(t, index, key, asks, n, now_us, answer, places);
    if (s != STATUS_OK || answer->reason == LIMIT_METRIC_UNKNOWN)
        return s;
    for (uint32_t i = 0; i < answer->n; i++) {
        struct limit_count seen = count_of(answer, i, &places[i], places[i].count ? atomic_load(places[i].count) : 0);
        limit_decide(&places[i].limit, &seen, places[i].amount, now_us, &answer->limits[i].verdict);
    }
    if (answer->reason != LIMIT_ADMITTED)
        return STATUS_OK;
    choose_decisive(answer);
    if (!take)
        return STATUS_OK;
    ask_for_leases(t, index, answer);
    if (answer->reason == LIMIT_ADMITTED)
        s = take_marked(t, index, now_us, answer, places);
    if (s == STATUS_OK && answer->reason == LIMIT_REACHED)
        table_note_refusal(t, index, answer, now_us);
    return s;
}

enum status limit_table_decide_key(struct limit_table *t, uint32_t tenant, const char *key,
                                   const struct limit_ask *asks, size_t n, int64_t now_us, bool take,
                                   struct limit_answer *answer)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    enum status s = table_report(t, decide(t, tenant, key, asks, n, now_us, take, answer));
    guard_leave(t);
    return s;
}

enum status limit_table_decide(struct limit_table *t, uint32_t tenant, const struct limit_ask *asks, size_t n,
                               int64_t now_us, bool take, struct limit_answer *answer)
{
    return limit_table_decide_key(t, tenant, NULL, asks, n, now_us, take, answer);
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

uint8_t limit_table_flags(const struct limit_table *t, const struct limit_answer *answer, uint8_t metric)
{
    for (uint32_t i = 0; i < answer->n; i++)
        if (answer->limits[i].metric == metric && !answer->limits[i].held)
            return 0;
    return (uint8_t)(EVENT_COUNTED | t->mark << EVENT_TABLE_SHIFT);
}

bool limit_table_counted(const struct limit_table *t, uint8_t flags)
{
    return (flags & EVENT_COUNTED) && (flags >> EVENT_TABLE_SHIFT & EVENT_TABLE_MOST) == t->mark;
}

/* Gives back what the answer's limit i took of the asked amount. */
static void undo_one(struct limit_table *t, uint32_t index, const struct limit_answer *answer, uint32_t i,
                     int64_t amount)
{
    struct table_cell *cell;
    struct table_window w;
    uint8_t slot = answer->limits[i].slot, window = answer->limits[i].window;
    if (answer->limits[i].of_key) {
        _Atomic int64_t *count = table_key_count(t, index, answer->limits[i].of_key - 1);
        if (count && !takes_nothing(answer, i))
            table_count_add(count, -1, -limit_minute_cost(&answer->limits[i].verdict, amount));
        return;
    }
    if (!table_window_at(&t->tenants[index], window, answer->limits[i].start_us, &w) || slot >= t->catalogue.n_limits ||
        takes_nothing(answer, i) || table_find_cell(t, index, slot, &cell) != STATUS_OK)
        return;
    if (window == LIMIT_WINDOW_MINUTE)
        amount = limit_minute_cost(&answer->limits[i].verdict, amount);
    table_count_add(&cell->counts[w.at], w.hour, -amount); /* not below 0: it may have been repaired meanwhile */
    if (answer->limits[i].verdict.leased && atomic_load(&cell->lease.start_us) == answer->limits[i].start_us)
        atomic_fetch_add(&cell->lease.left, amount);
}

static enum status undo(struct limit_table *t, uint32_t index, const struct limit_ask *asks, size_t n,
                        const struct limit_answer *answer)
{
    if (!table_tenant_at(t, index))
        return STATUS_NOT_FOUND;
    for (uint32_t i = 0; i < answer->n; i++) {
        int64_t amount = 0;
        for (size_t a = 0; a < n; a++)
            if (asks[a].metric == answer->limits[i].metric)
                amount = asks[a].amount;
        undo_one(t, index, answer, i, amount);
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

/* A metric's place is the first that is its own or nobody's; it keeps it. */
static enum status degraded_add(struct table_tenant *tenant, uint8_t metric, int64_t amount)
{
    for (uint32_t i = 0; i < TABLE_DEGRADED; i++) {
        uint64_t seen = atomic_load(&tenant->degraded[i]), next;
        do {
            if (seen && seen >> TABLE_DEGRADED_SHIFT != metric + 1u)
                break;
            next = (seen & TABLE_DEGRADED_AMOUNT) + (uint64_t)amount;
            if (next > TABLE_DEGRADED_AMOUNT)
                next = TABLE_DEGRADED_AMOUNT;
            next |= (uint64_t)(metric + 1u) << TABLE_DEGRADED_SHIFT;
            if (atomic_compare_exchange_weak(&tenant->degraded[i], &seen, next))
                return STATUS_OK;
        } while (true);
    }
    return STATUS_LIMIT;
}

enum status limit_table_degraded_add(struct limit_table *t, uint32_t index, uint8_t metric, int64_t amount)
{
    if (!GUARD_ENTER(t))
        return guard_damaged(t);
    struct table_tenant *tenant = table_tenant_at(t, index);
    enum status s = tenant && metric < LIMIT_TABLE_METRICS ? STATUS_OK : STATUS_NOT_FOUND;
    if (s == STATUS_OK)
        s = degraded_add(tenant, metric, amount);
    guard_leave(t);
    return s;
}
