/* replica.c: the limit table as the collector's workers share it */
#include "collector/replica.h"

#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define NO_ROOM_US (600 * CLOCK_US_PER_SECOND)

void replica_init(struct replica *r)
{
    memset(r, 0, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
}

void replica_term(struct replica *r)
{
    limit_table_close(r->next);
    limit_table_close(r->table);
    pthread_mutex_destroy(&r->lock);
}

struct limit_table *replica_lock(struct replica *r)
{
    pthread_mutex_lock(&r->lock);
    return r->table;
}

void replica_unlock(struct replica *r)
{
    pthread_mutex_unlock(&r->lock);
}

bool replica_good(struct replica *r)
{
    struct limit_table *t = replica_lock(r);
    bool good = t && !r->rebuild && limit_table_is_ready(t);

    replica_unlock(r);
    return good;
}

void replica_doubt(struct replica *r)
{
    replica_lock(r);
    r->rebuild = true;
    replica_unlock(r);
}

struct limit_table *replica_mine(struct replica *r)
{
    return r->next ? r->next : r->table;
}

struct limit_catalogue *replica_my_catalogue(struct replica *r)
{
    return r->next ? &r->next_catalogue : &r->catalogue;
}

void replica_note_left_out(struct replica *r, const char left_out[FEED_LEFT_OUT_SIZE])
{
    if (left_out[0] && strcmp(left_out, r->left_out) != 0)
        log_error("the limit table has room for %d metrics and %d limits, and none for the %s: it is not counted or "
                  "limited until others are removed (tollgate metric remove)",
                  LIMIT_TABLE_METRICS, LIMIT_TABLE_LIMITS, left_out);
    memcpy(r->left_out, left_out, sizeof(r->left_out));
}

void replica_note_rules(struct replica *r, const struct limit_catalogue *c, const struct config *config)
{
    uint32_t left_out = 0;

    for (size_t i = 0; i < config->n_rules; i++) {
        const struct config_rule *rule = &config->rules[i];
        int metric = limit_table_metric(c, rule->metric, strlen(rule->metric));

        if (metric < 0 || limit_table_for_rules(c, metric))
            continue;
        left_out |= UINT32_C(1) << i;
        if (!(r->rules_left_out & UINT32_C(1) << i))
            log_warning("line %d of the configuration: the rule \"%s %s = %s\" is left out, because Tollgate counts %s "
                        "itself",
                        rule->line, rule->method, rule->path, rule->metric, rule->metric);
    }
    r->rules_left_out = left_out;
}

/* Is a place a tenant's that was removed? */
static bool has_removed(struct limit_table *t)
{
    struct limit_tenant tenant;

    for (uint32_t i = 0; i < limit_table_tenants(t); i++)
        if (limit_table_tenant(t, i, &tenant) == STATUS_OK && tenant.state == LIMIT_TENANT_FREE)
            return true;
    return false;
}

/* Said at most every so often, because all tenants are read again and again. A table made anew lacks those that were removed. */
static void note_no_room(struct replica *r, struct limit_table *t, const char *what, const char *id)
{
    int64_t now = clock_mono_us();

    if (r->no_room_us && now - r->no_room_us < NO_ROOM_US)
        return;
    r->no_room_us = now;
    if (has_removed(t)) {
        r->rebuild = true;
        return;
    }
    log_error("the limit table has %u places for tenants and %u for keys, and none for all of the %s %s: the gates "
              "don't know what is left out; remove tenants that are not used (tollgate tenant remove)",
              LIMIT_TABLE_PLACES, LIMIT_TABLE_KEYS, what, id);
}

enum status replica_put_tenant(struct replica *r, struct limit_table *t, const struct limit_tenant *tenant,
                               int lease_percent, const struct feed_gauge *gauges, size_t n)
{
    struct limit_tenant leased = *tenant;
    enum status s = STATUS_END;
    uint32_t index = UINT32_MAX;

    if (!t)
        return s;
    for (uint32_t i = 0; i < LIMIT_TABLE_LIMITS; i++)
        leased.limits[i].lease_percent = (uint8_t)lease_percent;
    s = limit_table_put_tenant(t, &leased, &index);
    if (s == STATUS_LIMIT) {
        note_no_room(r, t, "tenant", tenant->id);
        s = STATUS_OK;
    }
    if (index == UINT32_MAX)
        return s;
    if (s == STATUS_OK)
        s = limit_table_forget_hours(t, index, clock_wall_us());
    for (size_t i = 0; i < n && s == STATUS_OK; i++)
        s = gauges[i].posted ? limit_table_set_level(t, index, (uint8_t)gauges[i].metric, &gauges[i].level, 0)
                             : limit_table_set_gauge(t, index, (uint8_t)gauges[i].metric, gauges[i].level.level);
    return s;
}

enum status replica_put_key(struct replica *r, struct limit_table *t, const struct limit_key *key, const char *tenant)
{
    struct limit_key k = *key;
    enum status s;

    if (!t)
        return STATUS_END;
    if (!k.is_operator && limit_table_tenant_index(t, tenant, strlen(tenant), &k.tenant) != STATUS_OK)
        return STATUS_OK;
    s = limit_table_put_key(t, &k);
    if (s != STATUS_LIMIT)
        return s;
    note_no_room(r, t, "key", k.id);
    return STATUS_OK;
}
