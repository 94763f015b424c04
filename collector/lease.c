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
    char tenant[LIMIT_TENANT_SIZE], limit_key[LIMIT_NAME_SIZE];
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
    HASH_DEL(l->all, e); /* NOLINT(clang-analyzer-unix.Malloc): see counts_forget */
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

/* With the lock. */
static enum status read_terms_locked(struct limit_table *t, const struct limit_catalogue *catalogue,
                                     const struct lease *e, struct terms *out)
{
    int64_t now = clock_wall_us(), credit;
    struct limit_tenant tenant;
    struct limit_verdict v;
    enum status s = t ? limit_table_tenant(t, e->key.tenant, &tenant) : STATUS_NOT_FOUND;

    if (s != STATUS_OK)
        return s;
    if (tenant.state != LIMIT_TENANT_ACTIVE || e->key.slot >= catalogue->n_limits)
        return STATUS_NOT_FOUND;
    struct limit limit = tenant.limits[e->key.slot];
    if ((s = limit_table_credit(t, e->key.tenant, (uint8_t)e->key.slot, now, &credit)) != STATUS_OK)
        return s;
    limit_add(&limit, credit);
    if (!limit_table_window(&tenant, limit.window, now, &out->window) ||
        (out->unleased = limit_unleased(&limit, now)) == LIMIT_UNLIMITED)
        return STATUS_NOT_FOUND;
    limit_decide(&limit, &(struct limit_count){.used = 0}, 0, now, &v);
    out->ceiling = v.ceiling;
    memcpy(out->tenant, tenant.id, sizeof(out->tenant));
    memcpy(out->limit_key, catalogue->limits[e->key.slot].key, sizeof(out->limit_key));
    return limit_table_count(t, e->key.tenant, (uint8_t)e->key.slot, now, &out->used);
}

/* STATUS_NOT_FOUND: the tenant, the limit or the lease on it is gone. */
static enum status read_terms(const struct lease_place *at, const struct lease *e, struct terms *out)
{
    enum status s = read_terms_locked(replica_lock(at->replica), &at->replica->catalogue, e, out);

    replica_unlock(at->replica);
    return s;
}

/* ---- this node's share, in the limit table ---- */

static enum status share_add(const struct lease_place *at, const struct lease *e, int64_t start_us, int64_t amount)
{
    struct limit_table *t = replica_lock(at->replica);
    enum status s = t ? limit_table_lease_add(t, e->key.tenant, (uint8_t)e->key.slot, start_us, amount) : STATUS_OK;

    replica_unlock(at->replica);
    return s;
}

static enum status share_left(const struct lease_place *at, const struct lease *e, int64_t start_us, int64_t *left)
{
    struct limit_table *t = replica_lock(at->replica);
    enum status s = t ? limit_table_lease_left(t, e->key.tenant, (uint8_t)e->key.slot, start_us, left)
                      : STATUS_NOT_FOUND;

    replica_unlock(at->replica);
    return s;
}

/* *left: what is taken from the gates. */
static enum status share_withdraw(const struct lease_place *at, const struct lease *e, int64_t start_us, int64_t *left)
{
    struct limit_table *t = replica_lock(at->replica);
    enum status s = t ? limit_table_lease_withdraw(t, e->key.tenant, (uint8_t)e->key.slot, start_us, left)
                      : STATUS_NOT_FOUND;

    replica_unlock(at->replica);
    return s;
}

static enum status tenant_idle(const struct lease_place *at, const struct lease *e)
{
    struct limit_table *t = replica_lock(at->replica);
    enum status s = t ? limit_table_idle(t, e->key.tenant) : STATUS_NOT_FOUND;

    replica_unlock(at->replica);
    return s;
}

/* ---- the protocol ---- */

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
    struct feed_lease which = {t->tenant, t->limit_key, t->window.start_us};
    struct feed_lease_step step = {t->ceiling, t->unleased, e->settled ? e->epoch : 0, back};
    int64_t epoch, granted;
    enum status s = feed_lease_step(at->feed, at->node, &which, &step, &epoch, &granted);

    if (s == STATUS_INVALID || s == STATUS_CONFLICT) { /* the tenant or the limit went meanwhile */
        log_warning("lease of %s for tenant %s: %s", which.limit_key, t->tenant, feed_error(at->feed));
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
    return share_add(at, e, t->window.start_us, granted);
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
    s = share_withdraw(at, e, t->window.start_us, &left);
    if (s == STATUS_OK)
        s = tenant_idle(at, e);
    if (s == STATUS_OK && (s = read_terms(at, e, &again)) == STATUS_OK && again.used >= again.unleased)
        s = batch_mark(at->batch, &e->mark);
    return s == STATUS_CONFLICT ? STATUS_OK : s;
}

static enum status spend(const struct lease_place *at, struct lease *e, const struct terms *t, int64_t now)
{
    int64_t left;
    enum status s = share_left(at, e, t->window.start_us, &left);

    if (s == STATUS_OK && now - e->wanted_us < WANTED_US)
        return t->used < t->ceiling && left * 2 <= e->share ? ask(at, e, t, 0) : STATUS_OK;
    if (s == STATUS_OK && left > 0 && now - e->wanted_us > IDLE_US &&
        (s = share_withdraw(at, e, t->window.start_us, &left)) == STATUS_OK) {
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

static enum status place_of(const struct lease_place *at, const struct feed_lease *which, uint32_t *tenant,
                            uint32_t *slot)
{
    struct limit_table *t = replica_lock(at->replica);
    const struct limit_catalogue *c = &at->replica->catalogue;
    enum status s = t ? limit_table_tenant_index(t, which->tenant, strlen(which->tenant), tenant) : STATUS_NOT_FOUND;

    for (*slot = 0; *slot < c->n_limits && strcmp(c->limits[*slot].key, which->limit_key) != 0;)
        (*slot)++;
    if (s == STATUS_OK && *slot == c->n_limits)
        s = STATUS_NOT_FOUND;
    replica_unlock(at->replica);
    return s;
}

enum status leases_settle(struct leases *l, const struct lease_place *at, const struct feed_lease *which)
{
    uint32_t tenant, slot;
    struct lease *e;
    struct terms t;
    enum status s = place_of(at, which, &tenant, &slot);

    if (s != STATUS_OK)
        return s == STATUS_NOT_FOUND ? STATUS_OK : s;
    if (!(e = find(l, tenant, slot)))
        return STATUS_NO_MEMORY;
    e->waited_for = read_terms(at, e, &t) == STATUS_OK && t.window.start_us == which->start_us;
    if (e->waited_for) /* in an epoch that this node may not have heard of */
        restart(e, t.window.start_us, 0);
    return STATUS_OK;
}

enum status leases_step(struct leases *l, const struct lease_place *at)
{
    struct limit_want wanted[WANTED_MOST];
    struct lease *e, *next;
    size_t n = 0;
    struct limit_table *t = replica_lock(at->replica);
    enum status s = t ? limit_table_wanted(t, wanted, WANTED_MOST, &n) : STATUS_OK;

    replica_unlock(at->replica);

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
