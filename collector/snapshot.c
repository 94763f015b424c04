/* snapshot.c: a new limit table out of PostgreSQL and the unread spool, or an earlier collector's gone on with */
#include <stdlib.h>
#include <string.h>

#include "collector/counts_parts.h"
#include "lib/base/log.h"

/* ---- callbacks of feed.h: out of one snapshot into the table; `arg`: struct counts ---- */

static enum status put_tenant(void *arg, const struct limit_tenant *tenant, const struct feed_gauge *gauges, size_t n)
{
    const struct counts *c = arg;
    enum status s;

    replica_lock(c->replica);
    s = replica_put_tenant(c->replica, replica_mine(c->replica), tenant, (int)c->config->limits.lease_percent, gauges,
                           n);
    replica_unlock(c->replica);
    return s;
}

static enum status put_key(void *arg, const struct limit_key *key, const char *tenant)
{
    const struct counts *c = arg;
    enum status s;

    replica_lock(c->replica);
    s = replica_put_key(c->replica, replica_mine(c->replica), key, tenant);
    replica_unlock(c->replica);
    return s;
}

/* A tenant or a key that was removed within the last day. */
static enum status drop_removed(void *arg, const struct feed_change *change)
{
    const struct counts *c = arg;
    struct limit_table *t;
    enum status s = STATUS_NOT_FOUND;
    uint32_t index;

    replica_lock(c->replica);
    t = replica_mine(c->replica);
    if (change->kind[0] == 't' &&
        (s = limit_table_tenant_index(t, change->subject, strlen(change->subject), &index)) == STATUS_OK)
        s = limit_table_drop_tenant(t, index);
    else if (change->hash)
        s = limit_table_drop_key(t, change->hash);
    replica_unlock(c->replica);
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

/* The database's count is in the table already. */
static enum status remember_count(void *arg, const struct feed_count *p)
{
    struct counts *c = arg;
    struct counts_known *k;
    uint32_t tenant;
    int metric;

    replica_lock(c->replica);
    if (counts_place(c, p->tenant, p->metric, &tenant, &metric) &&
        limit_table_hold(replica_mine(c->replica), tenant, (uint8_t)metric) == STATUS_DAMAGED)
        c->replica->rebuild = true;
    if ((p->window == LIMIT_WINDOW_DAY || p->window == LIMIT_WINDOW_HOUR) &&
        counts_place(c, p->tenant, p->metric, &tenant, &metric) &&
        (k = counts_known(c, tenant, metric, p->window, p->start_us, true)))
        k->used = p->used;
    replica_unlock(c->replica);
    return STATUS_OK;
}

static void fill_event(void *arg, const struct event *e, uint64_t segment)
{
    struct counts *c = arg;
    const struct limit_catalogue *of;
    uint32_t tenant;
    int metric;

    (void)segment;
    replica_lock(c->replica);
    of = replica_my_catalogue(c->replica);
    metric = limit_table_metric(of, e->metric.at, e->metric.length);
    if (metric >= 0 &&
        limit_table_tenant_index(replica_mine(c->replica), e->tenant.at, e->tenant.length, &tenant) == STATUS_OK) {
        if (of->metrics[metric].kind == LIMIT_KIND_COUNTER)
            counts_add(c, tenant, metric, LIMIT_ALL_WINDOWS, e->recorded_us, e->value);
        else if (limit_table_post_level(replica_mine(c->replica), tenant, (uint8_t)metric, e->recorded_us, e->value,
                                        e->flags & EVENT_DELTA) == STATUS_DAMAGED)
            c->replica->rebuild = true;
    }
    replica_unlock(c->replica);
}

static struct counts_filled *filled(struct counts *c, uint64_t segment, bool make)
{
    struct counts_filled *f;

    HASH_FIND(hh, c->filled, &segment, sizeof(segment), f);
    if (!f && make && (f = calloc(1, sizeof(*f)))) {
        f->segment = segment;
        HASH_ADD(hh, c->filled, segment, sizeof(f->segment), f);
    }
    return f;
}

/* Where the last pass ended; 0: there was none. */
static uint64_t fill_read_from(void *arg, uint64_t segment)
{
    const struct counts_filled *f = filled(arg, segment, false);

    return f ? f->position : 0;
}

static void fill_read_to(void *arg, uint64_t segment, uint64_t position)
{
    struct counts_filled *f = filled(arg, segment, true);

    if (f)
        f->position = position;
}

/* `old`: what has a place in the table. STATUS_CONFLICT: a name of it is gone, and its place would be another's. */
static enum status put_catalogue(struct counts *c, const struct limit_catalogue *old)
{
    char left_out[FEED_LEFT_OUT_SIZE];
    struct limit_catalogue now;
    bool moved;
    enum status s = feed_catalogue(c->feed, old, &now, &moved, left_out);

    if (s != STATUS_OK)
        return s;
    replica_lock(c->replica);
    replica_note_left_out(c->replica, left_out);
    c->replica->next_catalogue = now;
    replica_note_rules(c->replica, &now, c->config);
    s = moved ? STATUS_CONFLICT : limit_table_put_catalogue(c->replica->next, &now);
    replica_unlock(c->replica);
    return s;
}

/* ---- a new table ---- */

static enum status fill_from_snapshot(struct counts *c)
{
    struct limit_catalogue none;
    struct counts_fill f;
    enum status s;

    memset(&none, 0, sizeof(none));
    memset(&f, 0, sizeof(f));
    f.c = c;
    if ((s = put_catalogue(c, &none)) == STATUS_OK)
        s = feed_tenants(c->feed, &c->replica->next_catalogue, NULL, put_tenant, c);
    if (s == STATUS_OK)
        s = feed_counts(c->feed, NULL, counts_put, &f);
    if (s == STATUS_OK)
        s = feed_keys(c->feed, NULL, put_key, c);
    return s;
}

static enum status fill_unread(struct counts *c, struct batch *b)
{
    return batch_each_unread(b, fill_event, c, fill_read_from, fill_read_to);
}

static enum status supersede(struct counts *c)
{
    enum status s;

    replica_lock(c->replica);
    s = limit_table_supersede(c->replica->next);
    limit_table_filled(c->replica->next, clock_wall_us());
    replica_unlock(c->replica);
    return s;
}

/* Damage came to light. */
static bool doubted(struct counts *c);

/*
 * What the spool holds unread comes last: gates take from the table before until it is superseded, and wait then. So most of it is
 * read before, and afterwards only what they appended meanwhile.
 */
static enum status fill_from_spool(struct counts *c, struct batch *b)
{
    enum status s = fill_unread(c, b);

    if (s == STATUS_OK)
        s = batch_look(b, c->ingest); /* segments that were begun meanwhile */
    if (s == STATUS_OK)
        s = fill_unread(c, b);
    if (s == STATUS_OK && doubted(c))
        s = STATUS_DAMAGED;
    if (s == STATUS_OK)
        s = supersede(c);
    return s == STATUS_OK ? fill_unread(c, b) : s;
}

/* The snapshot is opened first: PostgreSQL may not give one. */
/* Begins with another table, for this worker itself until take_over. */
static void begin_table(struct replica *r, struct limit_table *next)
{
    replica_lock(r);
    limit_table_close(r->next);
    r->next = next;
    r->rebuild = false;
    replica_unlock(r);
}

static enum status fill(struct counts *c, struct batch *b)
{
    struct limit_table *made;
    enum status s = feed_begin(c->feed, c->cursor);

    if (s != STATUS_OK)
        return s;
    s = counts_end_snapshot(c, s);
    replica_lock(c->replica);
    if (s == STATUS_OK)
        s = limit_table_make(c->config->paths.run_dir, c->node->uuid, &made);
    replica_unlock(c->replica);
    if (s != STATUS_OK)
        return s;
    begin_table(c->replica, made);
    c->filled_us = 0;
    if ((s = feed_begin(c->feed, c->cursor)) != STATUS_OK)
        return s;
    s = counts_end_snapshot(c, fill_from_snapshot(c));
    return s == STATUS_OK ? fill_from_spool(c, b) : s;
}

static bool doubted(struct counts *c)
{
    bool rebuild;

    replica_lock(c->replica);
    rebuild = c->replica->rebuild;
    replica_unlock(c->replica);
    return rebuild;
}

/* ---- an earlier collector's table ---- */

/*
 * Gates went on with it meanwhile, so its counts are kept. Everything that stands is brought in, and what was removed lately
 * goes; what other nodes added meanwhile is repaired. STATUS_CONFLICT: it does not fit.
 */
static enum status adopt_from_snapshot(struct counts *c)
{
    struct limit_catalogue old;
    struct limit_table *t;
    uint32_t tenants;
    enum status s;

    replica_lock(c->replica);
    t = c->replica->next;
    tenants = limit_table_tenants(t);
    c->filled_us = limit_table_filled_at(t);
    s = limit_table_catalogue(t, &old, NULL);
    replica_unlock(c->replica);
    if (s == STATUS_OK)
        s = put_catalogue(c, &old);
    if (s == STATUS_OK)
        s = feed_removed(c->feed, drop_removed, c);
    if (s == STATUS_OK)
        s = feed_keys(c->feed, NULL, put_key, c);
    if (s == STATUS_OK)
        s = feed_tenants(c->feed, &c->replica->next_catalogue, NULL, put_tenant, c);
    if (s == STATUS_OK)
        s = feed_counts(c->feed, NULL, remember_count, c);
    if (s == STATUS_OK && counts_places(c) > tenants) /* again: those of tenants that are new */
        s = feed_keys(c->feed, NULL, put_key, c);
    return s;
}

/* Does the database still tell all that was removed since the table was followed? It forgets after a day. */
static bool known_removals(struct limit_table *t)
{
    int64_t ago = clock_wall_us() - limit_table_followed_at(t);

    return ago >= 0 && ago < COUNTS_DAY_US - COUNTS_DAY_US / 8;
}

/* At the start: goes on with an intact table; *kept says so. */
static enum status try_adopt(struct counts *c, bool *kept)
{
    struct limit_table *t;
    bool fresh, usable;
    enum status s = limit_table_create(c->config->paths.run_dir, c->node->uuid, &t, &fresh);

    *kept = false;
    if (s != STATUS_OK)
        return s;
    usable = !fresh && known_removals(t);
    begin_table(c->replica, t);
    if (!usable || (s = feed_begin(c->feed, c->cursor)) != STATUS_OK)
        return s;
    s = counts_end_snapshot(c, adopt_from_snapshot(c));
    *kept = s == STATUS_OK && !doubted(c);
    if (!*kept)
        counts_forget(c);
    return s == STATUS_UNAVAILABLE ? s : STATUS_OK;
}

/* ---- the database went back ---- */

/* The table that is there, or an earlier collector's; false: there is none. */
static bool has_table(struct counts *c)
{
    struct replica *r = c->replica;
    struct limit_table *t;
    bool there, fresh;

    replica_lock(r);
    if (!r->table && !r->next && limit_table_create(c->config->paths.run_dir, c->node->uuid, &t, &fresh) == STATUS_OK) {
        if (fresh)
            limit_table_close(t);
        else
            r->next = t;
    }
    t = replica_mine(r);
    there = t && limit_table_is_ready(t) && limit_table_catalogue(t, replica_my_catalogue(r), NULL) == STATUS_OK;
    replica_unlock(r);
    return there;
}

/* What gates counted while the spool could not be written stands in the table alone, which is about to be made anew. */
static enum status save_degraded(struct counts *c)
{
    uint64_t recorded = 0;
    enum status s = STATUS_OK;

    if (!has_table(c))
        return s;
    for (c->degraded_next = 0; s == STATUS_OK && c->degraded_next < counts_places(c);)
        s = counts_degraded(c, &recorded);
    if (s == STATUS_OK && recorded > 0)
        log_info("%llu counts of calls without a record are recorded once more", (unsigned long long)recorded);
    return s;
}

/* ---- either ---- */

/* It is filled as of the cursor, and everybody's who has seen the same generation of history.h. */
static enum status take_over(struct replica *r, const char cursor[FEED_CURSOR_SIZE], uint64_t made_in)
{
    struct limit_table *before = replica_lock(r);
    enum status s = limit_table_ready(r->next);

    if (s == STATUS_OK) {
        limit_table_followed(r->next, clock_wall_us());
        limit_table_close(before);
        r->table = r->next;
        r->next = NULL;
        r->catalogue = r->next_catalogue;
        r->generation++;
        r->made_in = made_in;
        r->made_us = clock_mono_us();
        memcpy(r->cursor, cursor, FEED_CURSOR_SIZE);
    }
    replica_unlock(r);
    return s;
}

/* It was not made; the one that is there is still to be replaced. */
static void give_up(struct replica *r)
{
    replica_lock(r);
    limit_table_close(r->next);
    r->next = NULL;
    r->rebuild = (bool)r->table;
    replica_unlock(r);
}

static enum status made(struct counts *c, bool kept, int64_t started)
{
    uint32_t places = counts_places(c);
    enum status s = take_over(c->replica, c->cursor, c->view->generation);

    if (s != STATUS_OK)
        return s;
    c->leases_unread = true;
    c->places = places;
    log_info("the limit table is %s: %u tenants in %lld ms", kept ? "gone on with" : "filled", c->places,
             (long long)((clock_mono_us() - started) / 1000));
    return s;
}

enum status counts_build(struct counts *c, struct batch *b)
{
    int64_t started = clock_mono_us();
    bool kept = false;
    enum status s = STATUS_OK;

    if (c->went_back) {
        if ((s = save_degraded(c)) != STATUS_OK)
            return s;
        c->went_back = false;
        c->tried = true; /* nothing else of it is worth anything: made anew */
    }
    counts_forget(c);
    c->oldest_day_us = clock_wall_us() - COUNTS_OLDEST_US;
    if (!c->tried)
        s = try_adopt(c, &kept);
    if (s == STATUS_OK && !kept) {
        c->tried = true;
        if ((s = fill(c, b)) == STATUS_OK && doubted(c))
            s = STATUS_DAMAGED;
    }
    if (s == STATUS_OK) {
        c->tried = true;
        s = made(c, kept, started);
    }
    if (s != STATUS_OK)
        give_up(c->replica);
    return s;
}
