/* lease.c: settles, asks for shares, gives back */
#include "collector/lease.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define WANTED_MOST 64
#define WANTED_US (2 * CLOCK_US_PER_SECOND)  /* asked for so lately: still wanted */
#define IDLE_US (3 * CLOCK_US_PER_SECOND)    /* not wanted for so long: given back */
#define FORGET_US (60 * CLOCK_US_PER_SECOND) /* and then forgotten */

struct lease {
    struct lease_key {
        uint32_t tenant, slot;
    } key;
    int64_t start_us;        /* of its window */
    int64_t epoch;           /* as PostgreSQL said; 0: not asked yet */
    bool settled;            /* in that epoch */
    bool waited_for;         /* by other nodes */
    struct batch_mark *mark; /* what has to be committed until it is settled */
    int64_t share;           /* the last one that was granted */
    int64_t wanted_us;
    UT_hash_handle hh;
};

struct leases {
    struct lease *all;
};

/* A limit as it stands now. */
struct terms {
    char tenant[LIMIT_TENANT_SIZE];
    struct limit_span window;
    int64_t ceiling, unleased, used;
};

enum status leases_create(struct leases **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? STATUS_OK : STATUS_NO_MEMORY;
}

static void drop(struct leases *l, struct lease *e)
{
    HASH_DEL(l->all, e);
    batch_mark_free(e->mark);
    free(e);
}

void leases_forget(struct leases *l)
{
    struct lease *e, *next;

    HASH_ITER(hh, l->all, e, next)
    {
        drop(l, e);
    }
}

void leases_destroy(struct leases *l)
{
    if (!l)
        return;
    leases_forget(l);
    free(l);
}

static struct lease *find(struct leases *l, uint32_t tenant, uint32_t slot)
{
    struct lease_key key;
    struct lease *e;

    memset(&key, 0, sizeof(key));
    key.tenant = tenant;
    key.slot = slot;
    HASH_FIND(hh, l->all, &key, sizeof(key), e);
    if (!e && (e = calloc(1, sizeof(*e)))) {
        e->key = key;
        e->wanted_us = clock_mono_us();
        HASH_ADD(hh, l->all, key, sizeof(e->key), e);
    }
    return e;
}

/* STATUS_NOT_FOUND: the tenant, the limit or the lease on it is gone. */
static enum status read_terms(const struct lease_place *at, const struct lease *e, struct terms *out)
{
    int64_t now = clock_wall_us();
    struct limit_tenant tenant;
    struct limit_verdict v;
    enum status s = limit_table_tenant(at->limits, e->key.tenant, &tenant);

    if (s != STATUS_OK)
        return s;
    if (tenant.state != LIMIT_TENANT_ACTIVE || e->key.slot >= at->catalogue->n_limits)
        return STATUS_NOT_FOUND;
    const struct limit *limit = &tenant.limits[e->key.slot];
    const struct limit_span *window = limit_table_window(&tenant, limit->window, now);
    if (!window || (out->unleased = limit_unleased(limit, now)) == LIMIT_UNLIMITED)
        return STATUS_NOT_FOUND;
    limit_decide(limit, &(struct limit_count){.used = 0}, 0, now, &v);
    out->ceiling = v.ceiling;
    out->window = *window;
    memcpy(out->tenant, tenant.id, sizeof(out->tenant));
    return limit_table_count(at->limits, e->key.tenant, (uint8_t)e->key.slot, now, &out->used);
}

/* Begins anew: in another window or epoch. */
static void restart(struct lease *e, int64_t start_us, int64_t epoch)
{
    batch_mark_free(e->mark);
    e->mark = NULL;
    e->start_us = start_us;
    e->epoch = epoch;
    e->settled = false;
    e->share = 0;
}

/* One transaction; what is granted goes to the gates. */
static enum status ask(const struct lease_place *at, struct lease *e, const struct terms *t, int64_t back)
{
    struct publish_lease which = {t->tenant, at->catalogue->limits[e->key.slot].key, t->window.start_us};
    struct publish_lease_step step = {t->ceiling, t->unleased, e->settled ? e->epoch : 0, back};
    int64_t epoch, granted;
    enum status s = publish_lease_step(at->publish, at->node, &which, &step, &epoch, &granted);

    if (s == STATUS_INVALID || s == STATUS_CONFLICT) { /* the tenant or the limit went meanwhile */
        log_warning("lease of %s for tenant %s: %s", which.limit_key, t->tenant, publish_error(at->publish));
        return STATUS_OK;
    }
    if (s != STATUS_OK)
        return s;
    if (epoch != e->epoch) {
        restart(e, t->window.start_us, epoch);
        return STATUS_OK;
    }
    if (granted <= 0)
        return STATUS_OK;
    e->share = granted;
    return limit_table_lease_add(at->limits, e->key.tenant, (uint8_t)e->key.slot, t->window.start_us, granted);
}

/*
 * Settled is who can't admit without a share any more, and has everything committed that was admitted before. In this order:
 * used up to the leased part, nobody between taking and appending, still used up; then all that the spool holds is to be stored.
 */
static enum status settle(const struct lease_place *at, struct lease *e, const struct terms *t)
{
    struct terms again;
    int64_t left;
    enum status s;

    if (e->mark) {
        if (!batch_passed(at->batch, e->mark))
            return STATUS_OK;
        batch_mark_free(e->mark);
        e->mark = NULL;
        e->settled = true;
        e->waited_for = false;
        return ask(at, e, t, 0);
    }
    if (t->used < t->unleased)
        return STATUS_OK;
    s = limit_table_lease_withdraw(at->limits, e->key.tenant, (uint8_t)e->key.slot, t->window.start_us, &left);
    if (s == STATUS_OK)
        s = limit_table_idle(at->limits, e->key.tenant);
    if (s == STATUS_OK && (s = read_terms(at, e, &again)) == STATUS_OK && again.used >= again.unleased)
        s = batch_mark(at->batch, &e->mark);
    return s == STATUS_CONFLICT ? STATUS_OK : s;
}

static enum status spend(const struct lease_place *at, struct lease *e, const struct terms *t, int64_t now)
{
    uint32_t tenant = e->key.tenant;
    uint8_t slot = (uint8_t)e->key.slot;
    int64_t left;
    enum status s = limit_table_lease_left(at->limits, tenant, slot, t->window.start_us, &left);

    if (s == STATUS_OK && now - e->wanted_us < WANTED_US)
        return t->used < t->ceiling && left * 2 <= e->share ? ask(at, e, t, 0) : STATUS_OK;
    if (s == STATUS_OK && left > 0 && now - e->wanted_us > IDLE_US &&
        (s = limit_table_lease_withdraw(at->limits, tenant, slot, t->window.start_us, &left)) == STATUS_OK) {
        e->share = 0;
        s = ask(at, e, t, left);
    }
    return s;
}

/* *over: nothing is to be done about it any more. */
static enum status step(const struct lease_place *at, struct lease *e, bool *over)
{
    int64_t now = clock_mono_us();
    struct terms t;
    enum status s = read_terms(at, e, &t);

    *over = s == STATUS_NOT_FOUND || (!e->waited_for && now - e->wanted_us > FORGET_US);
    if (s != STATUS_OK || *over)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    if (e->start_us != t.window.start_us)
        restart(e, t.window.start_us, 0);
    if (e->settled && t.used < t.unleased) /* the count was mended, or the limit was raised */
        restart(e, t.window.start_us, 0);
    if (!e->epoch && (e->waited_for || t.used >= t.unleased))
        s = ask(at, e, &t, 0);
    if (s != STATUS_OK || !e->epoch)
        return s;
    return e->settled ? spend(at, e, &t, now) : settle(at, e, &t);
}

enum status leases_settle(struct leases *l, const struct lease_place *at, const struct publish_lease *which)
{
    uint32_t tenant;
    enum status s = limit_table_tenant_index(at->limits, which->tenant, strlen(which->tenant), &tenant);

    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    for (uint32_t slot = 0; slot < at->catalogue->n_limits; slot++) {
        if (strcmp(at->catalogue->limits[slot].key, which->limit_key) != 0)
            continue;
        struct lease *e = find(l, tenant, slot);
        struct terms t;

        if (!e)
            return STATUS_NO_MEMORY;
        e->waited_for = read_terms(at, e, &t) == STATUS_OK && t.window.start_us == which->start_us;
        if (e->waited_for) /* in an epoch that this node may not have heard of */
            restart(e, t.window.start_us, 0);
    }
    return STATUS_OK;
}

enum status leases_step(struct leases *l, const struct lease_place *at)
{
    struct limit_want wanted[WANTED_MOST];
    struct lease *e, *next;
    size_t n;
    enum status s = limit_table_wanted(at->limits, wanted, WANTED_MOST, &n);

    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if ((e = find(l, wanted[i].tenant, wanted[i].slot)))
            e->wanted_us = clock_mono_us();
        else
            s = STATUS_NO_MEMORY;
    }
    HASH_ITER(hh, l->all, e, next)
    {
        bool over = false;

        if (s == STATUS_OK)
            s = step(at, e, &over);
        if (over)
            drop(l, e);
    }
    return s;
}
