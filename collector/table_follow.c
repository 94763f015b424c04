/* table_follow.c: what changed in the database, shares of limits, and what time moves */
#include <stdlib.h>
#include <string.h>

#include "collector/lease.h"
#include "collector/table_parts.h"
#include "lib/meter/limit_table/limit_table.h"

#define RENEW_TENANTS 250 /* read in a call of table_renew */

static enum status follow_tenant(struct table *t, const char *id)
{
    uint32_t index;
    bool had = limit_table_tenant_index(t->limits, id, strlen(id), &index) == STATUS_OK;
    enum status s = publish_tenants(t->publish, &t->catalogue, id, table_put_tenant, t);
    struct table_fill f;

    if (s == STATUS_NOT_FOUND)
        return had ? limit_table_drop_tenant(t->limits, index) : STATUS_OK;
    if (s != STATUS_OK || had)
        return s;
    memset(&f, 0, sizeof(f));
    f.t = t;
    s = publish_counts(t->publish, id, table_put_count, &f);
    /* Its keys may have been there first, without a tenant to belong to. */
    return s == STATUS_OK ? publish_keys_of(t->publish, id, table_put_key, t) : s;
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
    return table_put_key(w->t, key, tenant);
}

enum status table_follow_change(void *arg, const struct publish_change *c)
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

static enum status follow_count(void *arg, const struct publish_count *c)
{
    struct table *t = arg;
    uint32_t tenant;
    int metric;

    if (table_place(t, c->tenant, c->metric, &tenant, &metric))
        table_bring_in(t, tenant, metric, c->start_us, c->used, 0, 0);
    return STATUS_OK;
}

static enum status follow_catalogue(struct table *t)
{
    struct limit_catalogue changed;
    bool moved;
    enum status s = table_read_catalogue(t, &t->catalogue, &changed, &moved);

    if (s != STATUS_OK)
        return s;
    if (moved) {
        t->rebuild = true;
        return STATUS_OK;
    }
    t->catalogue = changed;
    if ((s = limit_table_put_catalogue(t->limits, &changed)) == STATUS_OK)
        s = publish_tenants(t->publish, &t->catalogue, NULL, table_put_tenant, t);
    return s;
}

static enum status follow(struct table *t)
{
    char cursor[PUBLISH_CURSOR_SIZE];
    enum status s = publish_begin(t->publish, cursor);

    if (s != STATUS_OK)
        return s;
    t->catalogue_changed = false;
    s = publish_changes(t->publish, t->cursor, table_follow_change, t);
    if (s == STATUS_OK && t->catalogue_changed)
        s = follow_catalogue(t);
    if (s == STATUS_OK && t->leases_unread && (s = follow_leases(t, NULL)) == STATUS_OK)
        t->leases_unread = false;
    if (s == STATUS_OK)
        s = publish_counts_since(t->publish, t->cursor, follow_count, t);
    s = table_end_snapshot(t, s);
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
    struct table_known *k, *k2;

    *more = false;
    if (s != STATUS_OK)
        return s;
    s = publish_tenants_after(t->publish, &t->catalogue, t->renewed, RENEW_TENANTS, table_put_tenant, t, more);
    s = table_end_snapshot(t, s);
    if (s != STATUS_OK || *more)
        return s;
    t->renewed[0] = '\0';
    HASH_ITER(hh, t->known, k, k2)
    {
        if (k->key.day_us < clock_wall_us() - 4 * TABLE_DAY_US) {
            HASH_DEL(t->known, k); /* NOLINT(clang-analyzer-unix.Malloc): see table_forget */
            free(k);
        }
    }
    if (t->oldest_day_us < clock_wall_us() - TABLE_OLDEST_US)
        t->oldest_day_us = clock_wall_us() - TABLE_OLDEST_US;
    return s;
}
