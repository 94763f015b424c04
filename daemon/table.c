/* table.c: keeps the limit table as PostgreSQL and the spool say it should be */
#include "daemon/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "daemon/batch.h"
#include "daemon/lease.h"
#include "lib/base/clock.h"
#include "lib/base/io.h"
#include "lib/base/log.h"
#include "lib/meter/limit_table.h"
#include "lib/store/publish.h"

#define DAY_US (INT64_C(86400) * CLOCK_US_PER_SECOND)
#define MEND_TENANTS 32 /* looked at in a call of table_mend */
#define MEND_DRIFTS 64
#define RENEW_TENANTS 250     /* read in a call of table_renew */
#define DEGRADED_TENANTS 4096 /* looked at in a call of table_degraded */
#define DEGRADED_MOST 64

/* How much of a counter's day, as the database has it, the limit table holds. */
struct known {
    struct known_key {
        uint32_t tenant, metric;
        int64_t day_us;
    } key;
    int64_t used;
    UT_hash_handle hh;
};
/* Up to where the table was filled from a segment. */
struct filled {
    uint64_t segment, position;
    UT_hash_handle hh;
};
struct drift {
    uint32_t tenant;
    uint8_t slot;
    int64_t start_us, seen;
};

struct table {
    const struct config *config;
    const struct spool_node *node;
    char node_text[SPOOL_NODE_TEXT];
    struct publish *publish;
    struct limit_table *limits;
    struct leases *leases;
    struct limit_catalogue catalogue;
    char cursor[PUBLISH_CURSOR_SIZE];
    struct known *known;
    struct filled *filled;
    int64_t since_us; /* events appended later were counted in this table by their writers */
    int64_t oldest_day_us;
    uint32_t mend_next, degraded_next;
    char renewed[LIMIT_TENANT_SIZE]; /* the last tenant that table_renew read */
    struct drift drifts[MEND_DRIFTS];
    size_t n_drifts;
    bool rebuild, catalogue_changed, leases_unread;
    bool tried; /* an earlier collector's table was looked at */
};

enum status table_create(const struct config *config, const struct spool_node *node, struct table **out)
{
    struct table *t = calloc(1, sizeof(*t));
    enum status s;

    if (!t)
        return STATUS_NO_MEMORY;
    t->config = config;
    t->node = node;
    spool_node_text(node, t->node_text);
    s = publish_open(config->database.collector, (int)config->database.connect_timeout_s,
                     (int)config->database.statement_timeout_s, &t->publish);
    if (s == STATUS_OK)
        s = leases_create(&t->leases);
    if (s != STATUS_OK) {
        publish_close(t->publish);
        free(t);
        return s;
    }
    *out = t;
    return STATUS_OK;
}

/* The analyser does not see that uthash takes an element out of its lists before it is freed. */
static void forget(struct table *t)
{
    struct known *k, *k2;
    struct filled *f, *f2;

    HASH_ITER(hh, t->known, k, k2)
    {
        HASH_DEL(t->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see forget */
        free(k);
    }
    HASH_ITER(hh, t->filled, f, f2)
    {
        HASH_DEL(t->filled, f); /* NOLINT(clang-analyzer-unix.Malloc): see forget */
        free(f);
    }
    leases_forget(t->leases);
    t->n_drifts = 0;
    t->mend_next = t->degraded_next = 0;
}

void table_destroy(struct table *t)
{
    if (!t)
        return;
    forget(t);
    leases_destroy(t->leases);
    if (t->limits)
        limit_table_close(t->limits);
    publish_close(t->publish);
    free(t);
}

const char *table_error(const struct table *t)
{
    return publish_error(t->publish);
}

bool table_good(const struct table *t)
{
    return t->limits && !t->rebuild && !limit_table_stale(t->limits) && limit_table_is_ready(t->limits);
}

bool table_holds(const struct table *t, uint64_t segment, uint64_t position, const struct event *e)
{
    struct filled *f;

    HASH_FIND(hh, t->filled, &segment, sizeof(segment), f);
    if (f && position < f->position)
        return true;
    return (e->flags & EVENT_COUNTED) && e->appended_us >= t->since_us;
}

void table_doubt(struct table *t)
{
    t->rebuild = true;
}

/* Ends the reads; the first failure stays. */
static enum status end_snapshot(struct table *t, enum status s)
{
    enum status ended = publish_end(t->publish);

    return s == STATUS_OK ? ended : s;
}

/* ---- known totals ---- */

static struct known *find_known(struct table *t, uint32_t tenant, uint32_t metric, int64_t day_us, bool make)
{
    struct known_key key;
    struct known *k;

    memset(&key, 0, sizeof(key));
    key.tenant = tenant;
    key.metric = metric;
    key.day_us = day_us;
    HASH_FIND(hh, t->known, &key, sizeof(key), k);
    if (!k && make && (k = calloc(1, sizeof(*k)))) {
        k->key = key;
        HASH_ADD(hh, t->known, key, sizeof(k->key), k);
    }
    return k;
}

static bool find_place(struct table *t, const char *tenant, const char *metric, uint32_t *index, int *m)
{
    *m = limit_table_metric(&t->catalogue, metric, strlen(metric));
    return *m >= 0 && limit_table_tenant_index(t->limits, tenant, strlen(tenant), index) == STATUS_OK;
}

static void add(struct table *t, uint32_t tenant, int metric, int64_t at_us, int64_t amount)
{
    if (amount != 0 && limit_table_add(t->limits, tenant, (uint8_t)metric, at_us, amount) == STATUS_DAMAGED)
        t->rebuild = true;
}

/*
 * The database's count of a day is now `used`; `added` of it came from this node's own batch, of which the table lacks
 * `uncounted`. The rest of what is new came from other nodes.
 */
static void bring_in(struct table *t, uint32_t tenant, int metric, int64_t day_us, int64_t used, int64_t added,
                     int64_t uncounted)
{
    struct known *k = find_known(t, tenant, (uint32_t)metric, day_us, false);
    int64_t before = k ? k->used : 0, foreign = 0;

    if (k || day_us >= t->oldest_day_us)
        foreign = used - added - before;
    add(t, tenant, metric, day_us, foreign + uncounted);
    if (!k)
        k = find_known(t, tenant, (uint32_t)metric, day_us, true);
    if (k)
        k->used = used;
}

void table_apply(struct table *t, const struct ingest_result *result)
{
    uint32_t tenant;
    int metric;

    if (!t->limits)
        return;
    for (size_t i = 0; i < result->n_totals; i++) {
        const struct ingest_total *r = &result->totals[i];

        if (find_place(t, r->tenant, r->metric, &tenant, &metric))
            bring_in(t, tenant, metric, r->day_us, r->used, r->added, r->uncounted);
    }
}

/* ---- filling ---- */

/* A fill of all tenants, or of one that is new. */
struct fill {
    struct table *t;
    char tenant[LIMIT_TENANT_SIZE], metric[LIMIT_NAME_SIZE];
    struct { /* days of the metric that came before its periods */
        int64_t start_us, used;
    } days[16];
    size_t n_days;
};

/* The days come first; of a period what they do not cover is added at its start. */
static enum status fill_count(void *arg, const struct publish_count *c)
{
    struct fill *f = arg;
    uint32_t tenant;
    int metric;
    int64_t rest = c->used;

    if (strcmp(f->tenant, c->tenant) != 0 || strcmp(f->metric, c->metric) != 0) {
        snprintf(f->tenant, sizeof(f->tenant), "%s", c->tenant);
        snprintf(f->metric, sizeof(f->metric), "%s", c->metric);
        f->n_days = 0;
    }
    if (!find_place(f->t, c->tenant, c->metric, &tenant, &metric))
        return STATUS_OK;
    if (c->day) {
        bring_in(f->t, tenant, metric, c->start_us, c->used, 0, 0);
        if (f->n_days < sizeof(f->days) / sizeof(f->days[0])) {
            f->days[f->n_days].start_us = c->start_us;
            f->days[f->n_days++].used = c->used;
        }
        return STATUS_OK;
    }
    for (size_t i = 0; i < f->n_days; i++)
        if (f->days[i].start_us >= c->start_us && f->days[i].start_us < c->end_us)
            rest -= f->days[i].used;
    add(f->t, tenant, metric, c->start_us, rest);
    return STATUS_OK;
}

static enum status fill_tenant(void *arg, const struct limit_tenant *tenant, const struct publish_gauge *gauges,
                               size_t n)
{
    struct table *t = arg;
    struct limit_tenant leased = *tenant;
    uint32_t index;

    for (uint32_t i = 0; i < LIMIT_SLOTS; i++)
        leased.limits[i].lease_percent = (uint8_t)t->config->limits.lease_percent;
    enum status s = limit_table_put_tenant(t->limits, &leased, &index);

    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        s = limit_table_set_gauge(t->limits, index, (uint8_t)gauges[i].metric, gauges[i].level);
    return s;
}

static enum status fill_key(void *arg, const struct limit_key *key, const char *tenant)
{
    struct table *t = arg;
    struct limit_key k = *key;

    if (!k.is_operator && limit_table_tenant_index(t->limits, tenant, strlen(tenant), &k.tenant) != STATUS_OK)
        return STATUS_OK; /* its tenant went, or comes with a change of its own, and its keys with it */
    return limit_table_put_key(t->limits, &k);
}

static void fill_event(void *arg, const struct event *e, uint64_t segment)
{
    struct table *t = arg;
    uint32_t tenant;
    int metric = limit_table_metric(&t->catalogue, e->metric.at, e->metric.length);

    (void)segment;
    if (metric >= 0 && t->catalogue.metrics[metric].kind == LIMIT_COUNTER &&
        limit_table_tenant_index(t->limits, e->tenant.at, e->tenant.length, &tenant) == STATUS_OK)
        add(t, tenant, metric, e->recorded_us, e->value);
}

static void fill_read_to(void *arg, uint64_t segment, uint64_t position)
{
    struct table *t = arg;
    struct filled *f = calloc(1, sizeof(*f));

    if (!f)
        return;
    f->segment = segment;
    f->position = position;
    HASH_ADD(hh, t->filled, segment, sizeof(f->segment), f);
}

/* From one snapshot: the catalogue, tenants, their counts, the unread spool, then the keys, which open the door. */
static enum status fill(struct table *t, struct batch *b)
{
    struct limit_catalogue none;
    struct fill f;
    bool moved;
    enum status s = publish_begin(t->publish, t->cursor);

    if (s != STATUS_OK)
        return s;
    memset(&none, 0, sizeof(none));
    memset(&f, 0, sizeof(f));
    f.t = t;
    if ((s = publish_catalogue(t->publish, &none, &t->catalogue, &moved)) == STATUS_OK)
        s = limit_table_put_catalogue(t->limits, &t->catalogue);
    if (s == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, fill_tenant, t);
    if (s == STATUS_OK)
        s = publish_counts(t->publish, NULL, fill_count, &f);
    if (s == STATUS_OK)
        s = batch_each_unread(b, fill_event, t, fill_read_to);
    t->since_us = clock_wall_us();
    if (s == STATUS_OK)
        s = publish_keys(t->publish, NULL, fill_key, t);
    return end_snapshot(t, s);
}

/* ---- following ---- */

static enum status follow_tenant(struct table *t, const char *id)
{
    uint32_t index;
    bool had = limit_table_tenant_index(t->limits, id, strlen(id), &index) == STATUS_OK;
    enum status s = publish_tenants(t->publish, &t->catalogue, id, fill_tenant, t);
    struct fill f;

    if (s == STATUS_NOT_FOUND)
        return had ? limit_table_drop_tenant(t->limits, index) : STATUS_OK;
    if (s != STATUS_OK || had)
        return s;
    memset(&f, 0, sizeof(f));
    f.t = t;
    s = publish_counts(t->publish, id, fill_count, &f);
    /* Its keys may have been there first, without a tenant to belong to. */
    return s == STATUS_OK ? publish_keys_of(t->publish, id, fill_key, t) : s;
}

static struct lease_place lease_place(struct table *t, struct batch *b)
{
    return (struct lease_place){t->limits, &t->catalogue, t->publish, b, t->node_text};
}

static enum status follow_lease(void *arg, const struct publish_lease *which)
{
    struct table *t = arg;
    struct lease_place at = lease_place(t, NULL);

    return leases_settle(t->leases, &at, which);
}

/* The leases that other nodes wait for: of a tenant, or NULL: of all. */
static enum status follow_leases(struct table *t, const char *tenant)
{
    if (!t->config->limits.lease_percent)
        return STATUS_OK;
    return publish_leases_unsettled(t->publish, t->node_text, tenant, follow_lease, t);
}

struct key_wanted {
    struct table *t;
    const unsigned char *hash; /* NULL: any */
    bool found;
};

static enum status follow_key_found(void *arg, const struct limit_key *key, const char *tenant)
{
    struct key_wanted *w = arg;

    w->found = !w->hash || memcmp(w->hash, key->hash, sizeof(key->hash)) == 0;
    return fill_key(w->t, key, tenant);
}

static enum status follow_change(void *arg, const struct publish_change *c)
{
    struct table *t = arg;
    struct key_wanted w = {t, c->hash, false};
    enum status s;

    switch (c->kind[0]) {
    case 'c':
        t->catalogue_changed = true;
        return STATUS_OK;
    case 't':
        return follow_tenant(t, c->subject);
    case 'l':
        return follow_leases(t, c->subject);
    default:
        s = publish_keys(t->publish, c->subject, follow_key_found, &w);
        if (s == STATUS_OK && !w.found && c->hash) {
            s = limit_table_drop_key(t->limits, c->hash);
            s = s == STATUS_NOT_FOUND ? STATUS_OK : s;
        }
        return s;
    }
}

/* The database's count is in the table already. */
static enum status remember_count(void *arg, const struct publish_count *c)
{
    struct table *t = arg;
    uint32_t tenant;
    struct known *k;
    int metric;

    if (c->day && find_place(t, c->tenant, c->metric, &tenant, &metric) &&
        (k = find_known(t, tenant, (uint32_t)metric, c->start_us, true)))
        k->used = c->used;
    return STATUS_OK;
}

/*
 * An earlier collector's table: gates went on with it meanwhile, so its counts are kept. Everything that stands is brought in, and
 * what was removed lately goes; what other nodes added meanwhile is mended. STATUS_CONFLICT: it does not fit.
 */
static enum status adopt(struct table *t)
{
    struct limit_catalogue old;
    bool moved = true;
    enum status s = limit_table_catalogue(t->limits, &old, NULL);

    if (s != STATUS_OK || (s = publish_begin(t->publish, t->cursor)) != STATUS_OK)
        return s;
    if ((s = publish_catalogue(t->publish, &old, &t->catalogue, &moved)) == STATUS_OK && moved)
        s = STATUS_CONFLICT;
    if (s == STATUS_OK)
        s = limit_table_put_catalogue(t->limits, &t->catalogue);
    if (s == STATUS_OK)
        s = publish_removed(t->publish, follow_change, t);
    if (s == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, fill_tenant, t);
    if (s == STATUS_OK)
        s = publish_counts(t->publish, NULL, remember_count, t);
    if (s == STATUS_OK)
        s = publish_keys(t->publish, NULL, fill_key, t);
    t->since_us = 0;
    return end_snapshot(t, s);
}

static void let_go(struct table *t)
{
    if (t->limits)
        limit_table_close(t->limits);
    t->limits = NULL;
}

/* An empty table in place of what is there: its known totals are lost, or its fill was broken off. */
static enum status make_empty(struct table *t)
{
    char path[4096];
    bool fresh;
    enum status s;

    let_go(t);
    if ((s = io_path(path, sizeof(path), t->config->paths.run_dir, "limits")) != STATUS_OK)
        return s;
    if (unlink(path) != 0 && errno != ENOENT)
        return STATUS_IO;
    return limit_table_create(t->config->paths.run_dir, t->node->uuid, &t->limits, &fresh);
}

/* Does the database still tell all that was removed since the table was followed? It forgets after a day. */
static bool known_removals(struct table *t)
{
    int64_t ago = clock_wall_us() - limit_table_followed_at(t->limits);

    return ago >= 0 && ago < DAY_US - DAY_US / 8;
}

/* At the start: goes on with an intact table; *kept says so. */
static enum status try_adopt(struct table *t, bool *kept)
{
    bool fresh;
    enum status s = limit_table_create(t->config->paths.run_dir, t->node->uuid, &t->limits, &fresh);

    *kept = false;
    if (s != STATUS_OK || fresh || !limit_table_is_ready(t->limits) || !known_removals(t))
        return s;
    s = adopt(t);
    *kept = s == STATUS_OK && !t->rebuild;
    if (!*kept)
        forget(t);
    return s == STATUS_UNAVAILABLE ? s : STATUS_OK;
}

enum status table_build(struct table *t, struct batch *b, struct ingest *in)
{
    int64_t started = clock_mono_us();
    bool kept = false;
    enum status s = STATUS_OK;

    forget(t);
    t->oldest_day_us = clock_wall_us() - 2 * DAY_US;
    if (!t->tried) {
        t->rebuild = false;
        s = try_adopt(t, &kept);
    }
    if (s == STATUS_OK && !kept) {
        t->rebuild = false;
        t->tried = true;
        s = make_empty(t);
        if (s == STATUS_OK)
            s = ingest_degraded_forget(in);
        if (s == STATUS_OK)
            s = fill(t, b);
    }
    if (s != STATUS_OK || t->rebuild) {
        let_go(t);
        return s == STATUS_OK ? STATUS_DAMAGED : s;
    }
    t->tried = true;
    t->leases_unread = true;
    if (!kept)
        limit_table_ready(t->limits);
    limit_table_followed(t->limits, clock_wall_us());
    log_info("the limit table is %s: %u tenants in %lld ms", kept ? "gone on with" : "filled",
             limit_table_tenants(t->limits), (long long)((clock_mono_us() - started) / 1000));
    return STATUS_OK;
}

static enum status follow_count(void *arg, const struct publish_count *c)
{
    struct table *t = arg;
    uint32_t tenant;
    int metric;

    if (find_place(t, c->tenant, c->metric, &tenant, &metric))
        bring_in(t, tenant, metric, c->start_us, c->used, 0, 0);
    return STATUS_OK;
}

static enum status follow_catalogue(struct table *t)
{
    struct limit_catalogue changed;
    bool moved;
    enum status s = publish_catalogue(t->publish, &t->catalogue, &changed, &moved);

    if (s != STATUS_OK)
        return s;
    if (moved) {
        t->rebuild = true;
        return STATUS_OK;
    }
    t->catalogue = changed;
    if ((s = limit_table_put_catalogue(t->limits, &changed)) == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, fill_tenant, t);
    return s;
}

static enum status follow(struct table *t)
{
    char cursor[PUBLISH_CURSOR_SIZE];
    enum status s = publish_begin(t->publish, cursor);

    if (s != STATUS_OK)
        return s;
    t->catalogue_changed = false;
    s = publish_changes(t->publish, t->cursor, follow_change, t);
    if (s == STATUS_OK && t->catalogue_changed)
        s = follow_catalogue(t);
    if (s == STATUS_OK && t->leases_unread && (s = follow_leases(t, NULL)) == STATUS_OK)
        t->leases_unread = false;
    if (s == STATUS_OK)
        s = publish_counts_since(t->publish, t->cursor, follow_count, t);
    s = end_snapshot(t, s);
    if (s == STATUS_OK)
        memcpy(t->cursor, cursor, sizeof(cursor));
    return s;
}

enum status table_follow(struct table *t)
{
    bool any;
    enum status s = publish_news(t->publish, t->cursor, &any);

    if (s == STATUS_OK && (any || t->leases_unread))
        s = follow(t);
    if (s == STATUS_OK)
        limit_table_followed(t->limits, clock_wall_us());
    if (s == STATUS_DAMAGED)
        t->rebuild = true;
    return s;
}

enum status table_lease(struct table *t, struct batch *b)
{
    struct lease_place at = lease_place(t, b);

    return t->config->limits.lease_percent ? leases_step(t->leases, &at) : STATUS_OK;
}

enum status table_renew(struct table *t, bool *more)
{
    char cursor[PUBLISH_CURSOR_SIZE];
    enum status s = publish_begin(t->publish, cursor);
    struct known *k, *k2;

    *more = false;
    if (s != STATUS_OK)
        return s;
    s = publish_tenants_after(t->publish, &t->catalogue, t->renewed, RENEW_TENANTS, fill_tenant, t, more);
    s = end_snapshot(t, s);
    if (s != STATUS_OK || *more)
        return s;
    t->renewed[0] = '\0';
    HASH_ITER(hh, t->known, k, k2)
    {
        if (k->key.day_us < clock_wall_us() - 4 * DAY_US) {
            HASH_DEL(t->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see forget */
            free(k);
        }
    }
    if (t->oldest_day_us < clock_wall_us() - 2 * DAY_US)
        t->oldest_day_us = clock_wall_us() - 2 * DAY_US;
    return s;
}

/* ---- mending ---- */

/* The database's counts of one tenant. */
struct counts {
    struct table *t;
    size_t n;
    struct {
        int metric;
        bool day;
        int64_t start_us, used;
    } list[LIMIT_METRICS * 8];
};

static enum status take_count(void *arg, const struct publish_count *c)
{
    struct counts *k = arg;
    int metric = limit_table_metric(&k->t->catalogue, c->metric, strlen(c->metric));

    if (metric >= 0 && k->n < sizeof(k->list) / sizeof(k->list[0])) {
        k->list[k->n].metric = metric;
        k->list[k->n].day = c->day;
        k->list[k->n].start_us = c->start_us;
        k->list[k->n++].used = c->used;
    }
    return STATUS_OK;
}

static int64_t right_count(const struct counts *k, int metric, bool day, int64_t start_us)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->list[i].metric == metric && k->list[i].day == day && k->list[i].start_us == start_us)
            return k->list[i].used;
    return 0;
}

/* Notes drifts of one tenant, or mends those that were noted before and still stand as they did. */
static void compare(struct table *t, uint32_t index, const struct limit_tenant *tenant, const int64_t seen[LIMIT_SLOTS],
                    const struct counts *k, int64_t now, const struct drift *before, size_t n_before)
{
    for (uint32_t slot = 0; slot < t->catalogue.n_limits; slot++) {
        uint8_t window = t->catalogue.limits[slot].window;
        int metric = t->catalogue.limits[slot].metric;
        const struct limit_span *span;
        int64_t right;
        bool noted = false;

        if (seen[slot] < 0 || !(span = limit_table_window(tenant, window, now)))
            continue;
        right = right_count(k, metric, window == LIMIT_DAY, span->start_us);
        if (right == seen[slot])
            continue;
        for (size_t i = 0; i < n_before && !noted; i++)
            noted = before[i].tenant == index && before[i].slot == slot && before[i].start_us == span->start_us &&
                    before[i].seen == seen[slot];
        if (noted && limit_table_mend(t->limits, index, (uint8_t)slot, now, seen[slot], right) == STATUS_OK)
            log_info("tenant %s: count of %s mended from %lld to %lld", tenant->id, t->catalogue.limits[slot].key,
                     (long long)(seen[slot] / EVENT_MILLION), (long long)(right / EVENT_MILLION));
        else if (!noted && t->n_drifts < MEND_DRIFTS)
            t->drifts[t->n_drifts++] = (struct drift){index, (uint8_t)slot, span->start_us, seen[slot]};
    }
}

/* The table's counts first, then the proof that all of it is stored, then the database's. */
static enum status mend_tenant(struct table *t, struct batch *b, uint32_t index, const struct drift *before,
                               size_t n_before)
{
    int64_t seen[LIMIT_SLOTS], now = clock_wall_us();
    uint64_t undone, undone_now;
    struct limit_tenant tenant;
    char cursor[PUBLISH_CURSOR_SIZE];
    struct counts k;
    enum status s;

    if (limit_table_tenant(t->limits, index, &tenant) != STATUS_OK || tenant.state == LIMIT_TENANT_FREE)
        return STATUS_OK;
    if ((s = limit_table_undone(t->limits, &undone)) != STATUS_OK)
        return s;
    for (uint8_t slot = 0; slot < LIMIT_SLOTS; slot++)
        if (slot >= t->catalogue.n_limits || limit_table_count(t->limits, index, slot, now, &seen[slot]) != STATUS_OK)
            seen[slot] = -1;
    /* what was taken before the counts were read has to be in the spool: a call in the middle is no drift */
    if ((s = limit_table_idle(t->limits, index)) != STATUS_OK ||
        (s = limit_table_undone(t->limits, &undone_now)) != STATUS_OK)
        return s;
    if (undone_now != undone || !batch_drained(b))
        return STATUS_CONFLICT;
    memset(&k, 0, sizeof(k));
    k.t = t;
    if ((s = publish_begin(t->publish, cursor)) != STATUS_OK)
        return s;
    s = publish_counts(t->publish, tenant.id, take_count, &k);
    s = end_snapshot(t, s);
    if (s != STATUS_OK)
        return s;
    for (size_t i = 0; i < k.n; i++)
        if (k.list[i].day) {
            struct known *n = find_known(t, index, (uint32_t)k.list[i].metric, k.list[i].start_us, false);

            if (!n || n->used != k.list[i].used) /* another node's batch came between: it is brought in first */
                bring_in(t, index, k.list[i].metric, k.list[i].start_us, k.list[i].used, 0, 0);
        }
    compare(t, index, &tenant, seen, &k, now, before, n_before);
    return STATUS_OK;
}

enum status table_mend(struct table *t, struct batch *b)
{
    struct drift before[MEND_DRIFTS];
    size_t n_before = t->n_drifts;
    uint32_t places = limit_table_tenants(t->limits);
    enum status s = STATUS_OK;

    memcpy(before, t->drifts, sizeof(before));
    t->n_drifts = 0;
    for (size_t i = 0; i < n_before && s == STATUS_OK; i++)
        if (i == 0 || before[i].tenant != before[i - 1].tenant)
            s = mend_tenant(t, b, before[i].tenant, before, n_before);
    for (uint32_t i = 0; i < MEND_TENANTS && i < places && n_before == 0 && s == STATUS_OK; i++)
        s = mend_tenant(t, b, t->mend_next++ % places, before, 0);
    return s == STATUS_CONFLICT ? STATUS_OK : s;
}

/* ---- degraded counts ---- */

enum status table_degraded(struct table *t, struct ingest *in, uint64_t *recorded)
{
    static char tenants[DEGRADED_MOST][LIMIT_TENANT_SIZE];
    struct ingest_degraded list[DEGRADED_MOST];
    struct ingest_result result;
    struct limit_tenant tenant;
    uint32_t places = limit_table_tenants(t->limits);
    size_t n = 0;
    enum status s;

    for (uint32_t i = 0; i < DEGRADED_TENANTS && i < places && n < DEGRADED_MOST; i++) {
        uint32_t index = t->degraded_next++ % places;
        bool named = false;

        for (uint8_t m = 0; m < t->catalogue.n_metrics && n < DEGRADED_MOST; m++) {
            int64_t total;

            if (limit_table_degraded(t->limits, index, m, &total) != STATUS_OK || total <= 0)
                continue;
            if (!named && limit_table_tenant(t->limits, index, &tenant) != STATUS_OK)
                break;
            snprintf(tenants[n], sizeof(tenants[n]), "%s", tenant.id);
            named = true;
            list[n] = (struct ingest_degraded){tenants[n], t->catalogue.metrics[m].name, total};
            n++;
        }
    }
    if (n == 0)
        return STATUS_OK;
    s = ingest_degraded(in, list, n, &result);
    if (s == STATUS_OK)
        table_apply(t, &result);
    else if (result.unsure)
        t->rebuild = true; /* not known whether it stands: built anew from what the database then says */
    *recorded += s == STATUS_OK ? result.stored : 0;
    ingest_result_free(&result);
    return s;
}

enum status table_stats(struct table *t, struct limit_stats *out)
{
    return table_good(t) ? limit_table_stats(t->limits, out) : STATUS_UNAVAILABLE;
}
