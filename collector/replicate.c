/* replicate.c: what changed in the database, and what time moves, into the limit table */
#include "collector/replicate.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "lib/base/clock.h"

#define RENEW_US (600 * CLOCK_US_PER_SECOND)
#define SLICE_US (CLOCK_US_PER_SECOND / 10) /* about so long tenants are read before the keys are looked at again */
#define SLICE_MOST 500                      /* and at most so many, in one statement */

struct waiting {
    char id[LIMIT_TENANT_SIZE];
    UT_hash_handle hh;
};

struct replicate {
    const struct config *config;
    struct replica *replica;
    struct health *health;
    struct feed *feed;
    struct history_view view;
    uint64_t generation; /* the table that all below is about */
    struct limit_catalogue catalogue;
    char cursor[FEED_CURSOR_SIZE];
    bool catalogue_changed, damaged;
    struct waiting *waiting;         /* tenants that changed, in the order in which they did */
    int64_t renew_due_us;            /* monotonic */
    char renewed[LIMIT_TENANT_SIZE]; /* the last tenant of a round that is under way; "": none is */
    struct {
        char id[LIMIT_TENANT_SIZE];
    } arrived[SLICE_MOST]; /* tenants of a slice that the table did not have */
    size_t n_arrived;
    int slice; /* how many of all tenants are read at once: as many as can be in SLICE_US */
};

enum status replicate_create(struct collector *c, struct replicate **out)
{
    const struct config *config = c->config;
    struct replicate *r = calloc(1, sizeof(*r));
    enum status s;

    if (!r)
        return STATUS_NO_MEMORY;
    r->view.history = c->history;
    s = feed_open(config->database.collector, "tollgate-collector replicate", (int)config->database.connect_timeout_s,
                  (int)config->database.statement_timeout_s, &r->view, &r->feed);
    if (s != STATUS_OK) {
        free(r);
        return s;
    }
    r->config = config;
    r->replica = &c->replica;
    r->health = &c->health;
    r->slice = 16;
    *out = r;
    return STATUS_OK;
}

static void forget_waiting(struct replicate *r)
{
    struct waiting *w, *next;

    HASH_ITER(hh, r->waiting, w, next)
    {
        HASH_DEL(r->waiting, w); /* NOLINT(clang-analyzer-unix.Malloc): see counts_forget */
        free(w);
    }
}

void replicate_destroy(struct replicate *r)
{
    if (!r)
        return;
    forget_waiting(r);
    feed_close(r->feed);
    free(r);
}

/* ---- the table ---- */

/* The table that this is about; NULL: another has taken its place. The lock is held in both cases. */
static struct limit_table *enter(struct replicate *r)
{
    struct limit_table *t = replica_lock(r->replica);

    return t && r->replica->generation == r->generation ? t : NULL;
}

/* Ends what `enter` began. STATUS_DAMAGED has the table made anew. */
static enum status leave(struct replicate *r, enum status s)
{
    if (s == STATUS_DAMAGED && r->replica->generation == r->generation)
        r->replica->rebuild = true;
    replica_unlock(r->replica);
    return s;
}

/* Begins with a table that `import` has made; false: there is none. */
static bool begin(struct replicate *r)
{
    const struct limit_table *t = replica_lock(r->replica);
    bool there = t && r->replica->made_in == r->view.generation, renew = there && r->replica->renew;

    if (there && r->replica->generation != r->generation) {
        r->generation = r->replica->generation;
        r->catalogue = r->replica->catalogue;
        memcpy(r->cursor, r->replica->cursor, sizeof(r->cursor));
        forget_waiting(r);
        r->renewed[0] = '\0';
        r->renew_due_us = clock_mono_us() + RENEW_US;
    }
    if (renew) {
        r->replica->renew = false;
        r->renewed[0] = '\0';
        r->renew_due_us = 0;
    }
    replica_unlock(r->replica);
    return there;
}

/* ---- callbacks of feed.h ---- */

static enum status put_key(void *arg, const struct limit_key *key, const char *tenant)
{
    struct replicate *r = arg;

    struct limit_table *t = enter(r);

    return leave(r, t ? replica_put_key(r->replica, t, key, tenant) : STATUS_END);
}

static enum status drop_key(void *arg, const unsigned char hash[LIMIT_HASH_BYTES])
{
    struct replicate *r = arg;
    struct limit_table *t = enter(r);
    enum status s = leave(r, t ? limit_table_drop_key(t, hash) : STATUS_END);

    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

static enum status put_tenant(void *arg, const struct limit_tenant *tenant, const struct feed_gauge *gauges, size_t n)
{
    struct replicate *r = arg;
    struct limit_table *t = enter(r);
    enum status s = STATUS_END;
    uint32_t index;

    if (t && limit_table_tenant_index(t, tenant->id, strlen(tenant->id), &index) == STATUS_NOT_FOUND &&
        r->n_arrived < SLICE_MOST)
        memcpy(r->arrived[r->n_arrived++].id, tenant->id, sizeof(tenant->id));
    if (t)
        s = replica_put_tenant(r->replica, t, tenant, (int)r->config->limits.lease_percent, gauges, n);
    return leave(r, s);
}

static enum status drop_tenant(struct replicate *r, const char *id)
{
    struct limit_table *t = enter(r);
    enum status s = STATUS_END;
    uint32_t index;

    if (t && (s = limit_table_tenant_index(t, id, strlen(id), &index)) == STATUS_OK)
        s = limit_table_drop_tenant(t, index);
    s = leave(r, s);
    return s == STATUS_NOT_FOUND ? STATUS_OK : s;
}

static enum status note_change(void *arg, const struct feed_change *c)
{
    struct replicate *r = arg;
    struct waiting *w;

    if (c->kind[0] == 'c')
        r->catalogue_changed = true;
    if (c->kind[0] != 't')
        return STATUS_OK;
    HASH_FIND_STR(r->waiting, c->subject, w);
    if (w)
        return STATUS_OK;
    if (!(w = calloc(1, sizeof(*w))))
        return STATUS_NO_MEMORY;
    strncpy(w->id, c->subject, sizeof(w->id) - 1);
    HASH_ADD_STR(r->waiting, id, w);
    return STATUS_OK;
}

/* ---- steps; each reads out of one snapshot ---- */

static enum status end_snapshot(struct replicate *r, enum status s)
{
    enum status ended = feed_end(r->feed);

    return s == STATUS_OK || s == STATUS_END ? ended : s;
}

/* Metrics and limits that came; a name that went has the table made anew, and until then it goes on as it is. */
static enum status read_catalogue(struct replicate *r)
{
    char left_out[FEED_LEFT_OUT_SIZE];
    struct limit_catalogue now;
    struct limit_table *t;
    bool moved;
    enum status s = feed_catalogue(r->feed, &r->catalogue, &now, &moved, left_out);

    if (s != STATUS_OK)
        return s;
    if (moved) {
        replica_doubt(r->replica);
        return STATUS_OK;
    }
    t = enter(r);
    s = t ? limit_table_put_catalogue(t, &now) : STATUS_END;
    if (s == STATUS_CONFLICT) { /* a metric that is counted has another limit */
        r->replica->rebuild = true;
        return leave(r, STATUS_OK);
    }
    if (s == STATUS_OK) {
        r->replica->catalogue = r->catalogue = now;
        replica_note_left_out(r->replica, left_out);
        replica_note_rules(r->replica, &now, r->config);
        r->renewed[0] = '\0';
        r->renew_due_us = 0;
    }
    return leave(r, s);
}

/* Keys go into the table, tenants onto the list. */
static enum status read_changes(struct replicate *r)
{
    char cursor[FEED_CURSOR_SIZE];
    enum status s = feed_begin(r->feed, cursor);

    if (s != STATUS_OK)
        return s;
    r->catalogue_changed = false;
    s = feed_keys_since(r->feed, r->cursor, put_key, drop_key, r);
    if (s == STATUS_OK)
        s = feed_changes(r->feed, FEED_CONFIG, r->cursor, note_change, r);
    if (s == STATUS_OK && r->catalogue_changed)
        s = read_catalogue(r);
    if ((s = end_snapshot(r, s)) == STATUS_OK)
        memcpy(r->cursor, cursor, sizeof(cursor));
    return s;
}

/* The keys of tenants that were new: they may have been read before, when they had no tenant to belong to. */
static enum status read_keys_of_arrived(struct replicate *r)
{
    enum status s = STATUS_OK;

    for (size_t i = 0; i < r->n_arrived && s == STATUS_OK; i++)
        s = feed_keys(r->feed, r->arrived[i].id, put_key, r);
    return s;
}

/* One that can't be read waits behind the others. */
static enum status read_one(struct replicate *r, struct waiting *w)
{
    enum status s = feed_tenants(r->feed, &r->catalogue, w->id, put_tenant, r);

    if (s == STATUS_NOT_FOUND)
        s = drop_tenant(r, w->id);
    if (s == STATUS_OK)
        s = read_keys_of_arrived(r);
    r->n_arrived = 0;
    HASH_DEL(r->waiting, w);
    if (s == STATUS_OK)
        free(w);
    else
        HASH_ADD_STR(r->waiting, id, w);
    return s;
}

/* Some of the tenants that changed. */
static enum status read_waiting(struct replicate *r)
{
    char cursor[FEED_CURSOR_SIZE];
    struct waiting *w, *next;
    int64_t until = clock_mono_us() + SLICE_US;
    enum status s = feed_begin(r->feed, cursor);

    if (s != STATUS_OK)
        return s;
    HASH_ITER(hh, r->waiting, w, next)
    {
        if (s != STATUS_OK || clock_mono_us() >= until)
            break;
        s = read_one(r, w);
    }
    return end_snapshot(r, s);
}

/* Fewer when the last took long, more when it was quick. */
static void fit_slice(struct replicate *r, int64_t took_us)
{
    if (took_us > SLICE_US && r->slice > 1)
        r->slice /= 2;
    else if (took_us < SLICE_US / 2 && r->slice < SLICE_MOST / 2)
        r->slice *= 2;
}

/* Some of all tenants, in turn. */
static enum status renew(struct replicate *r)
{
    char cursor[FEED_CURSOR_SIZE];
    int64_t began = clock_mono_us();
    bool more = false;
    enum status s = feed_begin(r->feed, cursor);

    if (s != STATUS_OK)
        return s;
    r->n_arrived = 0;
    s = feed_tenants_after(r->feed, &r->catalogue, r->renewed, r->slice, put_tenant, r, &more);
    if (s == STATUS_OK)
        s = read_keys_of_arrived(r);
    if ((s = end_snapshot(r, s)) == STATUS_OK && !more) {
        r->renewed[0] = '\0';
        r->renew_due_us = clock_mono_us() + RENEW_US;
    }
    fit_slice(r, clock_mono_us() - began);
    return s;
}

static enum status step(struct replicate *r)
{
    bool any;
    enum status s = feed_news(r->feed, FEED_CONFIG, r->cursor, &any);

    if (s == STATUS_OK && any)
        s = read_changes(r);
    if (s == STATUS_OK && r->waiting)
        s = read_waiting(r);
    else if (s == STATUS_OK && clock_mono_us() >= r->renew_due_us)
        s = renew(r);
    return s;
}

static bool is_behind(const struct replicate *r)
{
    return r->waiting || clock_mono_us() >= r->renew_due_us;
}

enum status replicate_once(void *replicate, int64_t *wait_us)
{
    struct replicate *r = replicate;
    struct limit_table *t;
    enum status s;

    *wait_us = r->config->collector.poll_ms * 1000;
    if (history_went_back(&r->view)) /* its cursor says nothing any more: `import` makes another table, with another */
        history_accept(&r->view);
    if (!begin(r))
        return STATUS_OK;
    health_began(r->health, HEALTH_REPLICATE);
    if ((s = step(r)) != STATUS_OK) {
        health_failed(r->health, HEALTH_REPLICATE, "limit table", s, feed_error(r->feed));
        return s;
    }
    t = enter(r);
    if (t && !r->waiting)
        limit_table_followed(t, clock_wall_us());
    s = leave(r, STATUS_OK);
    health_behind(r->health, HEALTH_REPLICATE, HASH_COUNT(r->waiting));
    health_worked(r->health, HEALTH_REPLICATE);
    if (is_behind(r))
        *wait_us = 0;
    return s;
}
