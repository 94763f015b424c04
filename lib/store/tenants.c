/* tenants.c: tenants with their settings: lists, and what the command line changes */
#include "lib/store/tenants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/limits.h"

#define COLUMNS                                                                          \
    "SELECT t.id, t.name, s.tier_id, c.state, c.time_zone, c.anchor_day, c.schema_name," \
    " coalesce(c.storage_path, t.id), c.enforced,"                                       \
    " to_char(c.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"       \
    " CASE WHEN c.state = 'suspended' THEN c.state WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END"
#define TABLES                                                                            \
    " FROM tollgate.tenants t LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id" \
    " LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id"

static const char list_sql[] = COLUMNS TABLES " ORDER BY t.id";
static const char show_sql[] = COLUMNS ", s.usage_limits, s.current_usage" TABLES " WHERE t.id = $1";
static const char insert_sql[] = "SELECT tollgate.create_tenant($1, $2)";
static const char settings_sql[] =
    "INSERT INTO tollgate.tenant_settings (tenant_id, time_zone, anchor_day, schema_name, storage_path)"
    " VALUES ($1::text, coalesce($2, 'UTC'), coalesce($3::smallint, 1), coalesce($4::name::text, "
    "tollgate.schema_of($1::text)), $5)";
static const char subscribe_sql[] = "SELECT tollgate.set_subscription($1, $2, NULL)";
static const char periods_sql[] = "SELECT tollgate.ensure_periods($1, now(), now() + interval '40 days')";
static const char attach_sql[] = "SELECT tollgate.attach($1), tollgate.recount($1)";
static const char rename_sql[] = "SELECT WHERE tollgate.rename_tenant($1, $2)";
static const char there_sql[] = "SELECT id FROM tollgate.tenants WHERE id = $1";
static const char owns_sql[] = "SELECT CASE WHEN tollgate.is_clinic() THEN "
                               "has_table_privilege('tollgate_owner', 'public.tenants', 'DELETE') ELSE true END";
static const char change_sql[] =
    "UPDATE tollgate.tenant_settings SET time_zone = coalesce($2, time_zone), anchor_day = "
    "coalesce($3::smallint, anchor_day),"
    " storage_path = coalesce($4, storage_path), updated_at = now() WHERE tenant_id = $1";
static const char state_sql[] =
    "UPDATE tollgate.tenant_settings SET state = $2, updated_at = now() WHERE tenant_id = $1 RETURNING tenant_id";
static const char detach_sql[] = "SELECT tollgate.detach($1) WHERE EXISTS (SELECT FROM tollgate.tenants WHERE id = $1)";
static const char remove_sql[] = "SELECT WHERE tollgate.remove_tenant($1)";
static const char own_sql[] = "SELECT t.id, t.name, s.tier_id, coalesce(t.state, 'active') FROM tollgate.host_tenant t"
                              " LEFT JOIN tollgate.host_subscription s ON s.tenant_id = t.id WHERE t.id = $1";
static const char by_percent_sql[] =
    "SELECT tenant_id, name, coalesce(tier_name, tier_id, ''), state, percent, coalesce(limit_label, ''), gauge, unenforced,"
    " " DB_MILLIONTHS("used") ", max, expires, after_expiry, mode, grace_percent, grace_until"
                              " FROM tollgate.operator_tenants($1::float8, $2, $3, $4::int)";
enum {
    P_ID,
    P_NAME,
    P_TIER,
    P_STATE,
    P_PERCENT,
    P_LABEL,
    P_GAUGE,
    P_UNENFORCED,
    P_USED,
    P_MAX /* the first of limits_row */
};

enum status tenants_all(struct db *d, const char *after, int n, struct db_rows **rows)
{
    return db_query(d, "SELECT tenant_id, name, tier_id, state FROM tollgate.operator_tenant_ids($1, $2::int)",
                    DB_WITH(after, DB_INT(n)), rows);
}

enum status tenants_own(struct db *d, const char *tenant, struct db_rows **rows)
{
    return db_query_found(d, own_sql, DB_WITH(tenant), rows);
}

/* The standing with the limit of this row. */
static void read_standing(const struct db_rows *rows, size_t row, enum limit_state state, struct standing *out)
{
    const struct standing_of of = {
        .tenant = state, .gauge = db_bool(rows, row, P_GAUGE), .unenforced = db_bool(rows, row, P_UNENFORCED)};
    const struct limit limit = limits_row(rows, row, P_MAX, LIMIT_WINDOW_PERIOD);
    const struct limit_count count = {.used = db_int(rows, row, P_USED)};

    standing_of(&of, &limit, &count, clock_wall_us(), out);
}

/* The rows of one tenant from *row on: the limit that it stands worst with. */
static void read_tenant(const struct db_rows *rows, size_t *row, struct tenant_standing *t)
{
    size_t first = *row;

    snprintf(t->id, sizeof(t->id), "%s", db_text(rows, first, P_ID));
    t->name = db_text(rows, first, P_NAME);
    t->tier = db_text(rows, first, P_TIER);
    t->percent = db_text(rows, first, P_PERCENT);
    t->state = limit_state_of(db_text(rows, first, P_STATE));
    for (; *row < db_count(rows) && strcmp(db_text(rows, *row, P_ID), t->id) == 0; (*row)++) {
        struct standing s;

        read_standing(rows, *row, t->state, &s);
        if (*row > first && !standing_is_worse(&s, &t->worst))
            continue;
        t->worst = s;
        t->limit = db_text(rows, *row, P_LABEL);
    }
}

enum status tenants_by_percent(struct db *d, const char *after_percent, const char *after_id, const char *search,
                               struct tenant_page *out, size_t n)
{
    size_t row = 0;

    *out = (struct tenant_page){0};
    enum status s = db_query(d, by_percent_sql, DB_WITH(after_percent, after_id, search, DB_INT((int64_t)n)),
                             &out->rows);

    if (s == STATUS_OK && !(out->tenants = calloc(n, sizeof(*out->tenants))))
        s = STATUS_NO_MEMORY;
    while (s == STATUS_OK && row < db_count(out->rows) && out->n < n)
        read_tenant(out->rows, &row, &out->tenants[out->n++]);
    if (s != STATUS_OK)
        tenants_page_term(out);
    return s;
}

void tenants_page_term(struct tenant_page *p)
{
    free(p->tenants);
    db_rows_free(p->rows);
    *p = (struct tenant_page){0};
}

enum status tenant_list(struct db *d, struct db_rows **rows)
{
    return db_query(d, list_sql, DB_NOTHING, rows);
}

enum status tenant_show(struct db *d, const char *id, struct db_rows **rows)
{
    return db_query_found(d, show_sql, DB_WITH(id), rows);
}

enum status tenant_report(struct db *d, const char *id, struct usage_report *out)
{
    enum status s = db_query(d, "SELECT set_config('tollgate.tenant_id', $1, true)", DB_WITH(id), NULL);

    return s ? s : usage_report_read(d, id, out);
}

enum status tenant_create(struct db *d, const char *id, const struct tenant_values *v, char full[CAPACITY_TEXT])
{
    enum status s = capacity_tenant(d, full);

    if (s != STATUS_OK)
        return s;
    s = db_query(d, insert_sql, DB_WITH(id, v->name ? v->name : id), NULL);
    if (s == STATUS_CONFLICT)
        s = STATUS_EXISTS;
    if (!s)
        s = db_query(d, settings_sql, DB_WITH(id, v->zone, v->anchor, v->schema, v->storage), NULL);
    if (!s && v->tier)
        s = db_query(d, subscribe_sql, DB_WITH(id, v->tier), NULL);
    if (!s)
        s = db_query(d, periods_sql, DB_WITH(id), NULL);
    if (!s)
        s = db_query(d, attach_sql, DB_WITH(id), NULL);
    return s;
}

enum status tenant_change(struct db *d, const char *id, const struct tenant_values *v)
{
    enum status s = v->name ? db_query_found(d, rename_sql, DB_WITH(id, v->name), NULL)
                            : db_query_found(d, there_sql, DB_WITH(id), NULL);

    if (!s && (v->zone || v->anchor || v->storage))
        s = db_query(d, change_sql, DB_WITH(id, v->zone, v->anchor, v->storage), NULL);
    if (!s && v->tier)
        s = db_query(d, subscribe_sql, DB_WITH(id, v->tier), NULL);
    return s;
}

enum status tenant_set_state(struct db *d, const char *id, const char *state)
{
    return db_query_found(d, state_sql, DB_WITH(id, state), NULL);
}

enum status tenant_owns(struct db *d, bool *owns)
{
    return db_get_bool(db_query, d, owns_sql, DB_NOTHING, owns);
}

enum status tenant_any(struct db *d, bool *any)
{
    return db_get_bool(db_query, d, "SELECT EXISTS (SELECT FROM tollgate.tenants)", DB_NOTHING, any);
}

enum status tenant_remove(struct db *d, const char *id)
{
    enum status s = db_query(d, detach_sql, DB_WITH(id), NULL);

    return s ? s : db_query_found(d, remove_sql, DB_WITH(id), NULL);
}
