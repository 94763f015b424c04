/* counts.c: what is known of the limit table's counts, and what batches and other nodes bring to them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/counts_parts.h"
#include "collector/lease.h"
#include "lib/base/log.h"

#define DEGRADED_TENANTS 4096 /* looked at in a call of counts_degraded */
#define DEGRADED_MOST 64
#define NEW_ONE_BY_ONE 32 /* more tenants that are new have their counts read in one go */
#define PRUNE_US (3600 * CLOCK_US_PER_SECOND)
#define KNOWN_US (4 * COUNTS_DAY_US) /* days are known for so long */

enum status counts_create(const struct config *config, const struct spool_node *node, struct replica *replica,
                          struct ingest *in, const struct history_view *view, struct counts **out)
{
    struct counts *c = calloc(1, sizeof(*c));
    enum status s = c ? feed_on(ingest_db(in), view, &c->feed) : STATUS_NO_MEMORY;

    if (s == STATUS_OK)
        s = leases_create(&c->leases);
    if (s != STATUS_OK) {
        if (c)
            feed_close(c->feed);
        free(c);
        return s;
    }
    c->config = config;
    c->node = node;
    c->replica = replica;
    c->ingest = in;
    c->view = view;
    spool_node_text(node, c->node_text);
    *out = c;
    return STATUS_OK;
}

void counts_went_back(struct counts *c)
{
    c->went_back = true;
    replica_doubt(c->replica);
}

/* The analyser does not see that uthash takes an element out of its lists before it is freed. */
void counts_forget(struct counts *c)
{
    struct counts_known *k, *k2;
    struct counts_filled *f, *f2;

    HASH_ITER(hh, c->known, k, k2)
    {
        HASH_DEL(c->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see above */
        free(k);
    }
    HASH_ITER(hh, c->filled, f, f2)
    {
        HASH_DEL(c->filled, f); /* NOLINT(clang-analyzer-unix.Malloc): see above */
        free(f);
    }
    leases_forget(c->leases);
    c->n_drifts = 0;
    c->places = c->repair_next = c->degraded_next = 0;
}

void counts_destroy(struct counts *c)
{
    if (!c)
        return;
    counts_forget(c);
    leases_destroy(c->leases);
    feed_close(c->feed);
    free(c);
}

const char *counts_error(const struct counts *c)
{
    return feed_error(c->feed);
}

bool counts_holds(const struct counts *c, uint64_t segment, uint64_t position, const struct event *e)
{
    struct counts_filled *f;

    HASH_FIND(hh, c->filled, &segment, sizeof(segment), f);
    if (f && position < f->position)
        return true;
    return limit_table_counted(c->replica->table, e->flags) || e->appended_us < c->filled_us;
}

enum status counts_end_snapshot(struct counts *c, enum status s)
{
    enum status ended = feed_end(c->feed);

    return s == STATUS_OK ? ended : s;
}

/* ---- known totals ---- */

struct counts_known *counts_known(struct counts *c, uint32_t tenant, int metric, uint8_t window, int64_t start_us,
                                  bool make)
{
    struct counts_known_key key;
    struct counts_known *k;

    memset(&key, 0, sizeof(key));
    key.tenant = tenant;
    key.metric = (uint16_t)metric;
    key.window = window;
    key.start_us = start_us;
    HASH_FIND(hh, c->known, &key, sizeof(key), k);
    if (!k && make && (k = calloc(1, sizeof(*k)))) {
        k->key = key;
        HASH_ADD(hh, c->known, key, sizeof(k->key), k);
    }
    return k;
}

bool counts_place(struct counts *c, const char *tenant, const char *metric, uint32_t *index, int *m)
{
    *m = limit_table_metric(replica_my_catalogue(c->replica), metric, strlen(metric));
    return *m >= 0 && limit_table_tenant_index(replica_mine(c->replica), tenant, strlen(tenant), index) == STATUS_OK;
}

/* The first use of a metric gives it cells. */
void counts_add(struct counts *c, uint32_t tenant, int metric, unsigned windows, int64_t at_us, int64_t amount)
{
    struct limit_table *t = replica_mine(c->replica);
    enum status s = amount == 0 ? STATUS_OK : limit_table_add(t, tenant, (uint8_t)metric, windows, at_us, amount);

    if (s == STATUS_NOT_FOUND && limit_table_hold(t, tenant, (uint8_t)metric) == STATUS_OK)
        s = limit_table_add(t, tenant, (uint8_t)metric, windows, at_us, amount);
    if (s == STATUS_DAMAGED)
        c->replica->rebuild = true;
}

static bool is_observed(struct counts *c, int metric)
{
    return replica_my_catalogue(c->replica)->metrics[metric].kind == LIMIT_KIND_OBSERVED;
}

static void observe(struct counts *c, uint32_t tenant, int metric, const struct counts_new *n)
{
    struct limit_table *t = replica_mine(c->replica);
    uint8_t m = (uint8_t)metric;
    enum status s = limit_table_observe_count(t, tenant, m, n->window, n->start_us, n->used);

    if (s == STATUS_NOT_FOUND && limit_table_hold(t, tenant, m) == STATUS_OK)
        s = limit_table_observe_count(t, tenant, m, n->window, n->start_us, n->used);
    if (s == STATUS_DAMAGED)
        c->replica->rebuild = true;
}

void counts_bring_in(struct counts *c, uint32_t tenant, int metric, const struct counts_new *n)
{
    struct counts_known *k;
    bool day = n->window == LIMIT_WINDOW_DAY;
    int64_t before, foreign = 0;

    if (is_observed(c, metric)) {
        observe(c, tenant, metric, n);
        return;
    }
    k = counts_known(c, tenant, metric, n->window, n->start_us, false);
    before = k ? k->used : 0;
    if (k || !day || n->start_us >= c->oldest_day_us) /* the table itself leaves out hours that are too old */
        foreign = n->used - n->added - before;
    counts_add(c, tenant, metric, day ? LIMIT_WHOLE_DAYS : LIMIT_ONLY(n->window), n->start_us, foreign + n->uncounted);
    if (!k)
        k = counts_known(c, tenant, metric, n->window, n->start_us, true);
    if (k)
        k->used = n->used;
}

/* What the batch's levels come to: a level that was posted twice with one id counted twice until now. */
static void apply_levels(struct counts *c, const struct ingest_result *result)
{
    uint32_t tenant;
    int metric;

    for (size_t i = 0; i < result->n_levels && !c->replica->rebuild; i++) {
        const struct ingest_level *l = &result->levels[i];

        if (counts_place(c, l->tenant, l->metric, &tenant, &metric) &&
            limit_table_set_level(replica_mine(c->replica), tenant, (uint8_t)metric, &l->level, l->until_us) ==
                STATUS_DAMAGED)
            c->replica->rebuild = true;
    }
}

void counts_apply(struct counts *c, const struct ingest_result *result)
{
    const struct limit_table *table = replica_lock(c->replica);
    uint32_t tenant;
    int metric;

    for (size_t i = 0; table && !c->replica->rebuild && i < result->n_totals; i++) {
        const struct ingest_total *r = &result->totals[i];

        if (counts_place(c, r->tenant, r->metric, &tenant, &metric))
            counts_bring_in(c, tenant, metric,
                            &(struct counts_new){r->window, r->start_us, r->used, r->added, r->uncounted});
    }
    if (table)
        apply_levels(c, result);
    replica_unlock(c->replica);
}

/* ---- the database's counts ---- */

/*
 * The days come first, and each is added to its week and period, too, unless it is too old to be brought in. What the days have not
 * brought is added at the start of these.
 */
static void put(struct counts_fill *f, const struct feed_count *c, uint32_t tenant, int metric)
{
    bool day = c->window == LIMIT_WINDOW_DAY;
    int64_t rest = c->used;

    if (day || c->window == LIMIT_WINDOW_HOUR || is_observed(f->c, metric)) {
        counts_bring_in(f->c, tenant, metric, &(struct counts_new){c->window, c->start_us, c->used, 0, 0});
        if (day && c->start_us >= f->c->oldest_day_us && f->n_days < sizeof(f->days) / sizeof(f->days[0])) {
            f->days[f->n_days].start_us = c->start_us;
            f->days[f->n_days++].used = c->used;
        }
        return;
    }
    for (size_t i = 0; i < f->n_days; i++)
        if (f->days[i].start_us >= c->start_us && f->days[i].start_us < c->end_us)
            rest -= f->days[i].used;
    counts_add(f->c, tenant, metric, LIMIT_ONLY(c->window), c->start_us, rest);
}

enum status counts_put(void *arg, const struct feed_count *c)
{
    struct counts_fill *f = arg;
    uint32_t tenant;
    int metric;

    if (strcmp(f->tenant, c->tenant) != 0 || strcmp(f->metric, c->metric) != 0) {
        snprintf(f->tenant, sizeof(f->tenant), "%s", c->tenant);
        snprintf(f->metric, sizeof(f->metric), "%s", c->metric);
        f->n_days = 0;
    }
    replica_lock(f->c->replica);
    if (replica_mine(f->c->replica) && counts_place(f->c, c->tenant, c->metric, &tenant, &metric) && tenant >= f->from)
        put(f, c, tenant, metric);
    replica_unlock(f->c->replica);
    return STATUS_OK;
}

static enum status count_since(void *arg, const struct feed_count *p)
{
    struct counts *c = arg;
    uint32_t tenant;
    int metric;

    if (replica_lock(c->replica) && counts_place(c, p->tenant, p->metric, &tenant, &metric))
        counts_bring_in(c, tenant, metric, &(struct counts_new){p->window, p->start_us, p->used, 0, 0});
    replica_unlock(c->replica);
    return STATUS_OK;
}

/* ---- following ---- */

uint32_t counts_places(struct counts *c)
{
    const struct limit_table *t;
    uint32_t n;

    replica_lock(c->replica);
    t = replica_mine(c->replica);
    n = t ? limit_table_tenants(t) : 0;
    replica_unlock(c->replica);
    return n;
}

static enum status put_counts_of(struct counts *c, uint32_t place)
{
    struct counts_fill f;
    struct limit_tenant tenant;
    struct limit_table *t = replica_lock(c->replica);
    bool there = t && limit_table_tenant(t, place, &tenant) == STATUS_OK;

    replica_unlock(c->replica);
    memset(&f, 0, sizeof(f));
    f.c = c;
    f.from = place;
    return there ? feed_counts(c->feed, tenant.id, counts_put, &f) : STATUS_OK;
}

/* A tenant that is new in the table has places behind all others', and counts of 0: what the database has is put in once. */
static enum status put_new(struct counts *c, uint32_t n)
{
    struct counts_fill f;
    enum status s = STATUS_OK;

    memset(&f, 0, sizeof(f));
    f.c = c;
    f.from = c->places;
    if (n - c->places > NEW_ONE_BY_ONE && (s = feed_counts(c->feed, NULL, counts_put, &f)) == STATUS_OK)
        c->places = n;
    for (; s == STATUS_OK && c->places < n; c->places++)
        s = put_counts_of(c, c->places);
    if (s != STATUS_OK)
        replica_doubt(c->replica); /* some of it may have been put in, and would be put in again */
    return s;
}

static struct lease_place lease_place(struct counts *c, struct batch *b)
{
    return (struct lease_place){c->replica, c->feed, b, c->node_text};
}

static enum status settle_lease(void *arg, const struct feed_lease *which)
{
    struct counts *c = arg;
    struct lease_place at = lease_place(c, NULL);

    return leases_settle(c->leases, &at, which);
}

static enum status note_lease(void *arg, const struct feed_change *change)
{
    struct counts *c = arg;

    return feed_leases_unsettled(c->feed, c->node_text, change->subject, settle_lease, c);
}

/* The leases that other nodes wait for. */
static enum status follow_leases(struct counts *c)
{
    enum status s;

    if (!c->config->limits.lease_percent)
        return STATUS_OK;
    if (!c->leases_unread)
        return feed_changes(c->feed, FEED_LEASES, c->cursor, note_lease, c);
    s = feed_leases_unsettled(c->feed, c->node_text, NULL, settle_lease, c);
    c->leases_unread = s != STATUS_OK;
    return s;
}

static enum status follow(struct counts *c)
{
    char cursor[FEED_CURSOR_SIZE];
    uint32_t n = counts_places(c); /* before the snapshot: what is put in later is read later */
    enum status s = feed_begin(c->feed, cursor);

    if (s != STATUS_OK)
        return s;
    s = follow_leases(c);
    if (s == STATUS_OK)
        s = feed_counts_since(c->feed, c->cursor, count_since, c);
    if (s == STATUS_OK && n > c->places)
        s = put_new(c, n);
    s = counts_end_snapshot(c, s);
    if (s == STATUS_OK)
        memcpy(c->cursor, cursor, sizeof(cursor));
    return s;
}

/*
 * Days and hours that nothing is brought in for any more. The clock is read once: a day that is forgotten must be too old to be brought in,
 * or it would be again, and that also when the clock was ahead for a moment.
 */
static void prune(struct counts *c, int64_t now)
{
    struct counts_known *k, *k2;
    int64_t wall_us = clock_wall_us();

    if (now - c->pruned_us < PRUNE_US)
        return;
    c->pruned_us = now;
    if (c->oldest_day_us < wall_us - COUNTS_OLDEST_US)
        c->oldest_day_us = wall_us - COUNTS_OLDEST_US;
    HASH_ITER(hh, c->known, k, k2)
    {
        if (k->key.start_us < wall_us - (k->key.window == LIMIT_WINDOW_HOUR ? COUNTS_DAY_US : KNOWN_US)) {
            HASH_DEL(c->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see counts_forget */
            free(k);
        }
    }
}

enum status counts_follow(struct counts *c)
{
    bool any;
    enum status s = feed_news(c->feed, FEED_COUNTS, c->cursor, &any);

    prune(c, clock_mono_us());
    if (s == STATUS_OK && (any || c->leases_unread || counts_places(c) > c->places))
        s = follow(c);
    return s;
}

enum status counts_lease(struct counts *c, struct batch *b)
{
    struct lease_place at = lease_place(c, b);

    return c->config->limits.lease_percent ? leases_step(c->leases, &at) : STATUS_OK;
}

/* ---- degraded counts ---- */

struct degraded {
    struct ingest_degraded list[DEGRADED_MOST];
    char tenants[DEGRADED_MOST][LIMIT_TENANT_SIZE], metrics[DEGRADED_MOST][LIMIT_NAME_SIZE];
    size_t n;
};

/* What the gates counted of one tenant; with the lock. */
static void list_degraded(struct replica *r, uint32_t index, struct degraded *d)
{
    struct limit_table *t = replica_mine(r);
    const struct limit_catalogue *catalogue = replica_my_catalogue(r);
    struct limit_tenant tenant;
    bool named = false;

    for (uint8_t m = 0; m < catalogue->n_metrics && d->n < DEGRADED_MOST; m++) {
        int64_t total;

        if (limit_table_degraded(t, index, m, &total) != STATUS_OK || total <= 0)
            continue;
        if (!named && limit_table_tenant(t, index, &tenant) != STATUS_OK)
            break;
        named = true;
        snprintf(d->tenants[d->n], sizeof(d->tenants[d->n]), "%s", tenant.id);
        snprintf(d->metrics[d->n], sizeof(d->metrics[d->n]), "%s", catalogue->metrics[m].name);
        d->list[d->n] = (struct ingest_degraded){d->tenants[d->n], d->metrics[d->n], total};
        d->n++;
    }
}

enum status counts_degraded(struct counts *c, uint64_t *recorded)
{
    struct degraded d = {.n = 0};
    struct ingest_result result;
    const struct limit_table *t;
    uint64_t table;
    uint32_t n_places;
    enum status s;

    replica_lock(c->replica);
    t = replica_mine(c->replica);
    n_places = t ? limit_table_tenants(t) : 0;
    table = t ? limit_table_id(t) : 0;
    for (uint32_t i = 0; i < DEGRADED_TENANTS && i < n_places && d.n < DEGRADED_MOST; i++)
        list_degraded(c->replica, c->degraded_next++ % n_places, &d);
    replica_unlock(c->replica);
    if (d.n == 0)
        return STATUS_OK;
    s = ingest_degraded(c->ingest, table, d.list, d.n, &result);
    if (s == STATUS_OK)
        counts_apply(c, &result);
    else if (result.unsure)
        replica_doubt(c->replica); /* not known whether it stands: made anew from what the database then says */
    *recorded += s == STATUS_OK ? result.stored : 0;
    ingest_result_free(&result);
    return s;
}
